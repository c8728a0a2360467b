import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest

from caravan.day import Day, Line, NoDay, generated_day, pay_delay, province, read_day
from caravan.figures import ORDERS_BY_HOUR, PROVINCES
from caravan.shoppers import address_of, baskets
from groups.addresses import checked_city, province_adcode

_HEADER = "invoice,ts,sku,qty,unit_price_gbp,customer,country,kind\n"


def write_lines(folder: Path, *lines: str) -> Path:
    path = folder / "lines.csv"
    path.write_text(_HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def line(sku: str, *, invoice: str = "1", customer: str = "li", minute: int = 0) -> Line:
    return Line(
        invoice=invoice,
        at=timedelta(hours=9, minutes=minute),
        sku=sku,
        customer=customer,
        price_pence=100,
    )


def test_sale_lines_of_the_date_are_seats_and_repetitions_are_counted(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path,
        "7,2011-12-05T09:30,tea,6,2.55,li,UK,sale",
        "7,2011-12-05T09:30,tea,6,2.55,li,UK,sale",
        "7,2011-12-05T08:15,cup,1,0.39,,UK,sale",
        "8,2011-12-05T09:31,tea,6,2.55,li,UK,cancel",
        "9,2011-12-06T09:30,tea,6,2.55,li,UK,sale",
    )

    day = read_day(path)

    assert [(each.sku, each.customer, each.price_pence) for each in day.lines] == [
        ("cup", "7", 39),
        ("tea", "li", 255),
    ]
    assert day.duplicates == 1
    assert day.lines[0].at == timedelta(hours=8, minutes=15)


def test_without_a_date_the_busiest_day_is_taken(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path,
        "1,2011-12-06T09:30,tea,6,2.55,li,UK,sale",
        "2,2011-12-07T09:30,tea,6,2.55,li,UK,sale",
        "3,2011-12-07T09:31,tea,6,2.55,li,UK,sale",
    )

    assert len(read_day(path, date=None).lines) == 2


def test_a_file_without_the_day_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = write_lines(tmp_path, "1,2011-12-06T09:30,tea,6,2.55,li,UK,sale")

    with pytest.raises(NoDay, match="has no sale lines of 2011-12-05"):
        read_day(path)
    with pytest.raises(NoDay, match="cannot read order lines"):
        read_day(tmp_path / "nothing.csv")


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")

    with pytest.raises(NoDay, match="invoice"):
        read_day(path)


def test_the_generated_day_repeats_and_follows_the_hours() -> None:
    day = generated_day()

    assert day == generated_day()
    assert day.source == "generated from published figures"
    assert len(day.lines) + day.duplicates == 5_281
    busiest = ORDERS_BY_HOUR.index(max(ORDERS_BY_HOUR))
    evening = sum(1 for each in day.lines if abs(each.at / timedelta(hours=1) - busiest) < 4)
    night = sum(1 for each in day.lines if each.at < timedelta(hours=6))
    assert evening > 3 * night


def test_payments_take_seconds_mostly_and_hours_rarely() -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose

    delays = sorted(pay_delay(chance).total_seconds() for _ in range(20_000))

    assert median(delays) == pytest.approx(8, abs=1)
    assert delays[int(len(delays) * 0.94)] == pytest.approx(163, rel=0.2)
    assert sum(1 for delay in delays if delay > 900) / len(delays) == pytest.approx(0.047, abs=0.01)


def test_parcels_go_where_orders_came_from() -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose

    drawn = Counter(province(chance).name for _ in range(20_000))

    whole = sum(each.orders for each in PROVINCES)
    shanghai = next(each.orders for each in PROVINCES if each.name == "上海")
    assert drawn["上海"] / 20_000 == pytest.approx(shanghai / whole, rel=0.1)


def test_a_basket_is_one_customer_at_one_moment() -> None:
    day = Day(
        source="test",
        duplicates=0,
        lines=(
            line("tea"),
            line("cup"),
            line("tea", invoice="2", customer="wang"),
            line("pot", minute=1),
        ),
    )

    found = [(b.invoice, b.customer, [each.sku for each in b.lines]) for b in baskets(day)]

    assert found == [
        ("1", "li", ["tea", "cup"]),
        ("2", "wang", ["tea"]),
        ("1", "li", ["pot"]),
    ]


@pytest.mark.parametrize("name", ["li", "580729", "王"])
def test_everybody_lives_where_parcels_go(name: str) -> None:
    address = address_of(name, seed=1)

    assert address == address_of(name, seed=1)
    adcode = province_adcode(address["province"])
    assert checked_city(address["city"], province=adcode) == address["city"]
