"""The rules by which the sandbox companies misbehave, answer and count."""

from datetime import date

import msgspec
import pytest
from pydantic import ValidationError

from sandbox.config import SandboxConfig, SupplierItem
from sandbox.delivery import backoff_pauses
from sandbox.envelopes import PART_BYTES, in_parts
from sandbox.misbehaviour import Chances, Occasion
from sandbox.orders import Item
from sandbox.wechat import NOTIFY_PAUSES_SECONDS

TODAY = date(2011, 12, 5)


def struck(occasion: Occasion, *, times: int, seed: str = "1") -> list[int]:
    chances = Chances(seed=seed)
    return [nth for nth in range(1, times + 1) if chances.strikes("it", occasion)]


@pytest.mark.parametrize(
    ("occasion", "expected"),
    [
        (Occasion(), []),
        (Occasion(first=2), [1, 2]),
        (Occasion(every=3), [3, 6, 9]),
        (Occasion(first=1, every=4), [1, 4, 8]),
        (Occasion(share=1.0), list(range(1, 11))),
    ],
)
def test_an_occasion_comes_when_it_says(occasion: Occasion, expected: list[int]) -> None:
    assert struck(occasion, times=10) == expected


def test_a_share_is_drawn_from_the_seed() -> None:
    occasion = Occasion(share=0.2)

    first, again, other = (struck(occasion, times=1000, seed=seed) for seed in ("1", "1", "2"))

    assert first == again != other
    assert 150 < len(first) < 250


def test_only_what_is_concerned_is_counted() -> None:
    chances, occasion = Chances(seed="1"), Occasion(every=2, only=frozenset({"tea"}))

    strikes = [
        chances.strikes("it", occasion, subjects=[sku]) for sku in ("tea", "cup", "cup", "tea")
    ]

    assert strikes == [False, False, False, True]


def test_naming_alone_is_always_and_names_are_counted_apart() -> None:
    chances = Chances(seed="1")
    named, once = Occasion(only=frozenset({"tea"})), Occasion(first=1)

    assert [chances.strikes("a", named, subjects=["tea"]) for _ in range(3)] == [True] * 3
    assert [chances.strikes("b", once), chances.strikes("c", once)] == [True, True]
    assert chances.strikes("b", once) is False
    chances.forget()
    assert chances.strikes("b", once) is True


def test_capacity_is_taken_day_by_day() -> None:
    item = Item(SupplierItem(sku="tea", capacity_per_day=100), lead_days=2)

    days = [item.book(units, today=TODAY) for units in (60, 60, 200, 0)]

    assert days == [0, 1, 3, 0]


def test_what_a_year_cannot_make_is_not_promised_and_takes_nothing() -> None:
    item = Item(SupplierItem(sku="tea", capacity_per_day=1), lead_days=2)

    assert item.book(366, today=TODAY) is None
    assert item.book(365, today=TODAY) == 364


def test_parts_keep_order_and_stay_within_a_webhook() -> None:
    items = [{"sku": "x" * 100, "on_hand": number} for number in range(2000)]

    parts = list(in_parts(items))

    assert [item for part in parts for item in part] == items
    assert all(len(msgspec.json.encode(part)) <= PART_BYTES + 2 for part in parts)
    assert len(parts) > 1
    assert list(in_parts([])) == [[]]
    assert [len(part) for part in in_parts(range(5), longest=2)] == [2, 2, 1]


def test_pauses_double_up_to_the_longest() -> None:
    assert backoff_pauses(first_seconds=1.0, longest_seconds=5.0, attempts=6) == (1, 2, 4, 5, 5)
    assert backoff_pauses(first_seconds=1.0, longest_seconds=5.0, attempts=1) == ()


def test_notifies_are_repeated_for_a_day_and_four_minutes() -> None:
    assert sum(NOTIFY_PAUSES_SECONDS) == (24 * 60 + 4) * 60


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"start": "2011-12-05T09:00:00"},
        {"carriers": [{"code": "Swift!", "secret": "whsec_", "tariff": {"base_fen": 1}}]},
        {
            "carriers": 2
            * [{"code": "a", "secret": "whsec_" + "QUJD" * 11, "tariff": {"base_fen": 1}}]
        },
    ],
)
def test_a_wrong_configuration_is_refused(change: dict[str, object]) -> None:
    document = {"caravan_url": "http://127.0.0.1:1", "start": "2011-12-05T09:00:00Z"}

    assert SandboxConfig.model_validate(document).suppliers == ()
    with pytest.raises(ValidationError):
        SandboxConfig.model_validate(document | change)
