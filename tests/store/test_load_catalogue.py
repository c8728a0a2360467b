"""Loading a catalogue into a real database: all or nothing, and nothing twice."""

import copy
import json
import time
from typing import Any

import pytest
from sqlalchemy import text

from kit.clock import business_now
from kit.db import transaction
from operations.load_catalogue import CatalogueInvalid, Counts, load_catalogue, schema
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("store")

EXAMPLE = ROOT / "examples" / "catalogue.yaml"


async def rows(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    async with transaction() as session:
        connection = await session.connection()
        return [tuple(row) for row in await connection.execute(text(sql), parameters)]


def shop() -> dict[str, Any]:
    tiers = [{"min_units": 10, "unit_price_fen": 50}, {"min_units": 100, "unit_price_fen": 40}]
    agreement = {"sku": "tea", "moq": 10, "capacity_per_day": 100, "lead_days": 2, "tiers": tiers}
    return {
        "products": [{"sku": "tea", "name": "Tea", "weight_grams": 100, "volume_cm3": 100}],
        "carriers": [{"code": "quick", "name": "Quick", "endpoint": {"url": "http://127.0.0.1/q"}}],
        "warehouses": [
            {
                "code": "east",
                "name": "East",
                "province": "320000",
                "city": "320200",
                "lon": 120.3,
                "lat": 31.6,
                "daily_parcels": 100,
                "lanes": [
                    {
                        "carrier": "quick",
                        "provinces": ["*"],
                        "first_fen": 5,
                        "step_fen": 2,
                        "days": 3,
                    }
                ],
            }
        ],
        "suppliers": [{"code": "jade", "name": "Jade", "agreements": [agreement]}],
        "campaigns": [
            {
                "code": "pair",
                "sku": "tea",
                "title": "Pair",
                "capacity": 2,
                "seat_cap": 40,
                "list_price_fen": 120,
                "price_fen": 100,
                "ship_within_seconds": 604_800,
            }
        ],
    }


async def load(document: Any) -> dict[str, Counts]:
    report = await load_catalogue(json.dumps(document).encode(), name="shop.json")
    return dict(report.counts)


async def test_the_example_shop_loads_and_loading_it_again_changes_nothing() -> None:
    document = EXAMPLE.read_bytes()

    first = await load_catalogue(document, name="catalogue.yaml")
    written = await rows("SELECT max(xmin::text::bigint) FROM campaign_version")
    again = await load_catalogue(document, name="catalogue.yaml")

    assert first.counts["products"] == Counts(added=9)
    assert first.counts["agreements"] == Counts(added=10)
    # Three pairs of a carrier and a warehouse reach all 31 provinces, two only some.
    assert first.counts["lanes"] == Counts(added=3 * 31 + 6 + 1)
    assert first.changed_anything
    assert not again.changed_anything
    assert again.counts["campaigns"] == Counts(unchanged=9)
    assert await rows("SELECT max(xmin::text::bigint) FROM campaign_version") == written
    assert "products 9 added" in first.sentence


async def test_a_load_says_at_once_what_may_be_promised() -> None:
    await load(shop())

    assert await rows("SELECT sku, ship_by_seconds, cap_seats FROM seat_budget") == [
        ("tea", 604_800, 40)
    ]
    assert await rows(
        "SELECT supplier, sku, capacity_per_day, lead_days, moq_units FROM supply_capability"
    ) == [("jade", "tea", 100, 2, 10)]
    assert await rows("SELECT DISTINCT sku FROM budget_mark") == [("tea",)]
    assert await rows("SELECT flow FROM wake_up") == [("cap_groups",)]
    assert await rows("SELECT kind, code, url, secret FROM partner") == [
        ("carriers", "quick", "http://127.0.0.1/q", None)
    ]


async def test_loading_the_same_again_disturbs_nobody() -> None:
    await load(shop())
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("DELETE FROM budget_mark")
        await connection.exec_driver_sql("DELETE FROM wake_up")

    counts = await load(shop())

    assert not any(each.added or each.changed or each.removed for each in counts.values())
    assert await rows("SELECT sku FROM budget_mark") == []
    assert await rows("SELECT flow FROM wake_up") == []


async def test_a_changed_agreement_is_a_new_version_and_the_old_one_ends() -> None:
    await load(shop())
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE supply_agreement SET released_units = 30")
    dearer = shop()
    dearer["suppliers"][0]["agreements"][0]["tiers"][1]["unit_price_fen"] = 45

    counts = await load(dearer)

    assert counts["agreements"] == Counts(changed=1)
    found = await rows(
        "SELECT a.version, a.valid_to IS NULL, a.released_units,"
        " array_agg(t.unit_price_fen ORDER BY t.min_units)"
        " FROM supply_agreement a JOIN price_tier t ON t.agreement_id = a.id"
        " GROUP BY a.id ORDER BY a.version"
    )
    assert found == [(1, False, 30, [50, 40]), (2, True, 30, [50, 45])]
    assert await rows(
        "SELECT old.valid_to = new.valid_from FROM supply_agreement old"
        " JOIN supply_agreement new USING (supplier, sku)"
        " WHERE old.version = 1 AND new.version = 2"
    ) == [(True,)]


async def test_an_ended_agreement_sells_nothing_and_may_begin_anew() -> None:
    await load(shop())
    ended = shop()
    ended["suppliers"][0]["agreements"][0]["ended"] = True

    assert (await load(ended))["agreements"] == Counts(removed=1)
    assert (await load(ended))["agreements"] == Counts(unchanged=1)
    assert await rows("SELECT days_to_sell FROM supply_capability") == [(0,)]

    assert (await load(shop()))["agreements"] == Counts(added=1)
    assert await rows("SELECT version FROM supply_agreement WHERE valid_to IS NULL") == [(2,)]


async def test_a_changed_campaign_is_a_new_version_and_its_state_is_not() -> None:
    await load(shop())
    changed, paused = shop(), shop()
    changed["campaigns"][0]["seat_cap"] = 10
    paused["campaigns"][0] |= {"seat_cap": 10, "state": "paused"}

    assert (await load(changed))["campaigns"] == Counts(changed=1)
    assert (await load(paused))["campaigns"] == Counts(changed=1)

    assert await rows("SELECT version, seat_cap FROM campaign_version ORDER BY version") == [
        (1, 40),
        (2, 10),
    ]
    assert await rows("SELECT version, state FROM campaign") == [(2, "paused")]
    assert await rows("SELECT ship_by_seconds, cap_seats FROM seat_budget") == [(None, None)]


async def test_lanes_are_those_of_the_document_and_a_hold_stays() -> None:
    await load(shop())
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE warehouse SET on_hold = true")
    fewer = shop()
    fewer["warehouses"][0]["lanes"][0]["provinces"] = ["上海", "320000"]
    fewer["warehouses"][0]["daily_parcels"] = 7

    counts = await load(fewer)

    assert counts["lanes"] == Counts(unchanged=2, removed=29)
    assert await rows("SELECT province FROM lane ORDER BY 1") == [("310000",), ("320000",)]
    assert await rows("SELECT daily_parcels, on_hold FROM warehouse") == [(7, True)]


async def test_a_document_may_hold_only_what_changes() -> None:
    await load(shop())
    terms = {"code": "jade", "name": "Jade", "min_order_value_fen": 1_000}

    counts = await load({"suppliers": [terms]})

    assert counts["suppliers"] == Counts(changed=1)
    # 20 units at 50 fen are the smallest order now.
    assert await rows("SELECT moq_units FROM supply_capability") == [(20,)]
    assert await rows("SELECT count(*) FROM campaign") == [(1,)]


async def test_a_broken_document_names_every_problem_and_changes_nothing() -> None:
    text_of_it = """products:
  - sku: tea
    name: Tea
    weight_grams: 100
    volume_cm3: 100
suppliers:
  - code: jade
    name: Jade
    agreements:
      - sku: coffee
        moq: 50
        max_units: 20
        capacity_per_day: 10
        lead_days: 1
        tiers:
          - {min_units: 50, unit_price_fen: 30}
          - {min_units: 40, unit_price_fen: 20}
"""
    negative = text_of_it.replace("unit_price_fen: 30", "unit_price_fen: -30")

    with pytest.raises(CatalogueInvalid) as rules:
        await load_catalogue(text_of_it.encode(), name="shop.yaml")
    with pytest.raises(CatalogueInvalid) as types:
        await load_catalogue(negative.encode(), name="shop.yaml")

    ascend = "steps ascend, each from a new number"
    positive = "input should be greater than or equal to 1"
    at = "suppliers[0].agreements[0]"
    assert [str(problem) for problem in rules.value.problems] == [
        f"shop.yaml:10: {at}.sku: there is no product coffee",
        f"shop.yaml:11: {at}.moq: the MOQ 50 is above max_units 20",
        f"shop.yaml:17: {at}.tiers[1].min_units: 40 follows 50: {ascend}",
        f"shop.yaml:17: {at}.tiers[1].min_units: no order reaches 40 units: max_units is 20",
    ]
    assert [str(problem) for problem in types.value.problems] == [
        f"shop.yaml:16: {at}.tiers[0].unit_price_fen: {positive} (it is -30)"
    ]
    assert await rows("SELECT sku FROM product") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- 1\n", "shop.yaml:1: "),
        (b"products: [\n", "shop.yaml:2: not YAML"),
        (b"productz: []\n", "shop.yaml:1: productz: there is no such field"),
        (b'{"products": [{"sku": 1.5}]}', "shop.yaml:1: products[0].sku: "),
        (b"", "shop.yaml:1: "),
    ],
)
async def test_what_is_no_catalogue_is_told_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(CatalogueInvalid) as caught:
        await load_catalogue(content, name="shop.yaml")

    assert str(caught.value.problems[0]).startswith(said)


async def test_what_sold_before_limits_the_list_price() -> None:
    await load(shop())
    async with transaction() as session:
        connection = await session.connection()
        now = await business_now(session)
        campaign_id = (await connection.exec_driver_sql("SELECT id FROM campaign")).scalar_one()
        await connection.execute(
            text(
                "INSERT INTO buying_group (id, campaign_id, version, sku, mode, capacity, min_size,"
                " price_fen, units_per_seat, per_user_limit, seat_ttl_seconds, ship_within_seconds,"
                " late_payment_policy, warehouse_policy, leader_id, deadline_at) VALUES"
                " (gen_random_uuid(), :campaign, 1, 'tea', 'fixed', 2, 2, 80, 1, 1, 900, 604800,"
                " 'refund', 'whole', gen_random_uuid(), :now)"
            ),
            {"campaign": campaign_id, "now": now},
        )
        await connection.execute(
            text(
                "INSERT INTO buyer_order (id, group_id, campaign_id, user_id, sku, quantity, units,"
                " price_fen, amount_fen, claim_units, province, city, address, reserved_until,"
                " paid_at) SELECT gen_random_uuid(), id, campaign_id, gen_random_uuid(), 'tea', 1,"
                " 1, 80, 80, 1, '320000', '320200', '{}', :now, :now FROM buying_group"
            ),
            {"now": now},
        )
    dearer = shop()
    dearer["campaigns"][0]["list_price_fen"] = 115

    await load(shop())  # unchanged: it was judged when it was made
    with pytest.raises(CatalogueInvalid, match="30-day median price, 80 fen"):
        await load(dearer)


async def test_three_thousand_products_load_in_seconds() -> None:
    base = shop()
    tiers = [{"min_units": n, "unit_price_fen": 60 - n // 50} for n in (10, 100, 500)]
    large = copy.deepcopy(base)
    skus = [f"sku-{number:05d}" for number in range(3_000)]
    large["products"] = [{**base["products"][0], "sku": sku} for sku in skus]
    agreement = {"moq": 10, "capacity_per_day": 100, "lead_days": 2, "tiers": tiers}
    large["suppliers"] = [
        {"code": code, "name": code, "agreements": [{"sku": sku, **agreement} for sku in skus]}
        for code in ("jade", "harvest")
    ]
    large["campaigns"] = [{**base["campaigns"][0], "code": f"pair-{s}", "sku": s} for s in skus]

    began = time.monotonic()
    counts = await load(large)
    seconds = time.monotonic() - began

    assert counts["agreements"] == Counts(added=6_000)
    assert await rows("SELECT count(*) FROM price_tier") == [(18_000,)]
    assert seconds < 30  # a few on an idle machine; the bar is against row-by-row work
    again = await load(large)
    assert again["agreements"] == Counts(unchanged=6_000)


def test_the_schema_describes_every_section() -> None:
    described = schema()

    assert set(described["properties"]) == {
        "products",
        "carriers",
        "warehouses",
        "suppliers",
        "campaigns",
    }
    assert described["additionalProperties"] is False
