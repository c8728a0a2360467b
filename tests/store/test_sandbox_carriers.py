"""The carriers of the sandbox, over real HTTP, with parcels handed over by a warehouse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.store.recording_shop import MORNING, Partners, keys, partners

EAST = "warehouses/east"
SWIFT = "carriers/swift"
DAY = timedelta(days=1)
SHANGHAI = {"province": "上海", "city": "上海"}


@asynccontextmanager
async def carrier(**swift: Any) -> AsyncIterator[Partners]:
    document = {
        "warehouses": [{"code": "east", "secret": keys().secrets[EAST], "handling_hours": 0}],
        "carriers": [
            {
                "code": "swift",
                "secret": keys().secrets[SWIFT],
                "tariff": {"base_fen": 600, "step_fen": 30},
                "days": {"浙江": 1, "新疆": 6},
                "lanes": [{"from_province": "新疆", "to_province": "浙江", "days": 7}],
            }
            | swift
        ],
    }
    async with partners(document) as world:
        yield world


def parcel(shipment_id: str = "s-1", *, province: str = "浙江", grams: int = 800) -> dict[str, Any]:
    return {
        "shipment_id": shipment_id,
        "from": SHANGHAI,
        "to": {
            "province": province,
            "city": "某市",
            "district": "",
            "detail": "1 Tea Street",
            "name": "Ann",
            "phone": "13800000000",
        },
        "weight_grams": grams,
    }


async def buy(world: Partners, document: dict[str, Any]) -> httpx.Response:
    key = document["shipment_id"]
    return await world.call(SWIFT, "POST", "/labels", document, idempotency_key=key)


async def ship(world: Partners, *tracking_nos: str, wave_id: str = "w-1") -> None:
    count = len(tracking_nos)
    await world.sandbox(
        "PUT", "/warehouses/east/stock", {"lines": [{"sku": "tea", "on_hand": count}]}
    )
    wave = {
        "wave_id": wave_id,
        "carrier": "swift",
        "cut_off_at": MORNING.isoformat(),
        "shipments": [
            {
                "shipment_id": f"{wave_id}-{number}",
                "tracking_no": tracking_no,
                "lines": [{"sku": "tea", "units": 1}],
            }
            for number, tracking_no in enumerate(tracking_nos)
        ],
    }
    answer = await world.call(EAST, "POST", "/despatches", wave, idempotency_key=wave_id)
    assert answer.status_code == 202, answer.text


async def bought_and_shipped(world: Partners, *shipment_ids: str) -> None:
    labels = [(await buy(world, parcel(name))).json() for name in shipment_ids]
    await ship(world, *(label["tracking_no"] for label in labels))


def updates(world: Partners) -> list[dict[str, Any]]:
    return [update for data in world.shop.of("tracking.updated") for update in data["updates"]]


@pytest.mark.parametrize(
    ("origin", "province", "grams", "price_fen", "days"),
    [
        ("上海", "浙江", 1000, 600, 1),
        ("上海", "浙江", 1001, 630, 1),
        ("上海", "新疆", 1500, 750, 6),
        ("新疆", "浙江", 1, 600, 7),
        ("上海", "四川", 1, 600, 3),
    ],
)
async def test_a_rate_has_first_and_continued_weight_and_lane_days(
    origin: str, province: str, grams: int, price_fen: int, days: int
) -> None:
    async with carrier() as world:
        answer = await world.call(
            SWIFT,
            "POST",
            "/rates",
            {
                "from": {"province": origin, "city": "x"},
                "to": {"province": province, "city": "y"},
                "weight_grams": grams,
            },
        )

        assert answer.json() == {"service": "standard", "price_fen": price_fen, "days": days}


async def test_one_shipment_has_one_label() -> None:
    async with carrier() as world:
        first = await buy(world, parcel())
        again = await buy(world, parcel())
        other = await buy(world, parcel(grams=900))
        known = await world.call(SWIFT, "GET", "/labels?client_ref=s-1")
        unknown = await world.call(SWIFT, "GET", "/labels?client_ref=s-2")

        assert first.status_code == 201
        assert again.json() == first.json()
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reuse")
        assert known.json()["items"] == [{**first.json(), "voided": False}]
        assert unknown.json()["items"] == []


async def test_a_label_is_voided_until_the_parcel_is_under_way() -> None:
    async with carrier() as world:
        kept, dropped = [(await buy(world, parcel(name))).json() for name in ("s-1", "s-2")]
        path = f"/labels/{dropped['label_id']}/void"
        voided = [(await world.call(SWIFT, "POST", path)).status_code for _ in range(2)]
        await ship(world, kept["tracking_no"], dropped["tracking_no"])
        await world.run_dry()

        late = await world.call(SWIFT, "POST", f"/labels/{kept['label_id']}/void")
        unknown = await world.call(SWIFT, "POST", "/labels/none/void")
        listed = await world.call(SWIFT, "GET", "/labels?client_ref=s-2")
        state = await world.sandbox("GET", "/state")
        assert voided == [200, 200]
        assert listed.json()["items"][0]["voided"] is True
        assert (late.status_code, unknown.status_code) == (409, 404)
        assert {update["tracking_no"] for update in updates(world)} == {kept["tracking_no"]}
        assert state["carriers"]["swift"]["parcels_refused"] == 1


async def test_a_parcel_moves_until_it_is_delivered() -> None:
    milestones = ["label_created", "collected", "in_transit", "out_for_delivery", "delivered"]
    async with carrier(milestones=milestones) as world:
        label = (await buy(world, parcel())).json()
        await ship(world, label["tracking_no"])
        await world.run_dry()

        told = updates(world)
        assert [update["status"] for update in told] == milestones
        assert {update["tracking_no"] for update in told} == {label["tracking_no"]}
        assert len({update["event_id"] for update in told}) == 5
        assert told[1]["occurred_at"] == MORNING.isoformat()
        assert told[1]["place"] == "上海 上海"
        assert told[4]["occurred_at"] == (MORNING + DAY).isoformat()
        assert told[4]["place"] == "浙江 某市"


async def test_updates_of_one_instant_share_webhooks_of_at_most_200() -> None:
    async with carrier() as world:
        names = [f"s-{number}" for number in range(450)]
        await bought_and_shipped(world, *names)
        await world.run_dry()

        sizes = [len(data["updates"]) for data in world.shop.of("tracking.updated")]
        assert sum(sizes) == 3 * 450
        assert max(sizes) <= 200
        assert len(sizes) == 9  # three instants of three webhooks


async def test_a_lost_label_answer_is_found_again_by_its_shipment() -> None:
    async with carrier(behaviour={"answers": {"lost": {"first": 1}}}) as world:
        with pytest.raises(httpx.RemoteProtocolError):
            await buy(world, parcel())

        found = (await world.call(SWIFT, "GET", "/labels?client_ref=s-1")).json()["items"]
        again = await buy(world, parcel())
        assert len(found) == 1
        assert again.json()["label_id"] == found[0]["label_id"]


async def test_a_lookup_fails_only_when_it_is_named() -> None:
    behaviour = {"answers": {"refused": {"first": 1, "only": ["lookup"]}}}
    async with carrier(behaviour=behaviour) as world:
        bought = await buy(world, parcel())
        failed = await world.call(SWIFT, "GET", "/labels?client_ref=s-1")
        found = await world.call(SWIFT, "GET", "/labels?client_ref=s-1")

        assert [bought.status_code, failed.status_code, found.status_code] == [201, 503, 200]


async def test_events_come_backwards_repeated_and_about_unknown_parcels() -> None:
    behaviour = {
        "backwards": {"first": 1},
        "repeated": {"first": 1, "after_seconds": 60},
        "unknown_parcel": {"first": 1},
    }
    async with carrier(behaviour=behaviour) as world:
        label = (await buy(world, parcel())).json()
        await ship(world, label["tracking_no"])
        await world.run_dry()

        told = updates(world)
        ours = [update for update in told if update["tracking_no"] == label["tracking_no"]]
        strays = [update for update in told if update["tracking_no"] != label["tracking_no"]]
        assert [update["status"] for update in ours] == [
            "collected",
            "collected",
            "in_transit",
            "delivered",
            "in_transit",
        ]
        assert ours[0] == ours[1]
        assert ours[4]["occurred_at"] < ours[3]["occurred_at"]
        assert len(strays) == 1


@pytest.mark.parametrize(
    ("fate", "statuses"),
    [
        ("trouble", ["collected", "in_transit", "exception", "delivered"]),
        ("returned", ["collected", "in_transit", "returned"]),
        ("lost", ["collected", "in_transit", "lost"]),
    ],
)
async def test_a_parcel_can_have_trouble_return_or_vanish(fate: str, statuses: list[str]) -> None:
    async with carrier(behaviour={fate: {"only": ["s-1"]}}) as world:
        await bought_and_shipped(world, "s-1", "s-2")
        await world.run_dry()

        tracking_nos = sorted({update["tracking_no"] for update in updates(world)})
        unlucky, fine = (
            [update["status"] for update in updates(world) if update["tracking_no"] == number]
            for number in tracking_nos
        )
        assert unlucky == statuses
        assert fine == ["collected", "in_transit", "delivered"]


async def test_places_that_are_not_served_are_refused() -> None:
    async with carrier(default_days=None) as world:
        answer = await buy(world, parcel(province="四川"))

        assert (answer.status_code, answer.json()["code"]) == (422, "not_served")
        assert (await world.call(SWIFT, "GET", "/labels?client_ref=s-1")).json()["items"] == []
