"""The warehouse systems of the sandbox, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx

from tests.store.recording_shop import MORNING, Partners, keys, partners

EAST = "warehouses/east"
SWIFT = "carriers/swift"
HOUR = timedelta(hours=1)


@asynccontextmanager
async def warehouse(**east: Any) -> AsyncIterator[Partners]:
    document = {
        "warehouses": [{"code": "east", "secret": keys().secrets[EAST]} | east],
        "carriers": [
            {"code": "swift", "secret": keys().secrets[SWIFT], "tariff": {"base_fen": 600}}
        ],
    }
    async with partners(document) as world:
        yield world


async def fill(world: Partners, **on_hand: int) -> None:
    lines = [{"sku": sku, "on_hand": units} for sku, units in on_hand.items()]
    await world.sandbox("PUT", "/warehouses/east/stock", {"lines": lines})


def wave(wave_id: str = "w-1", *, parcels: int = 2, units: int = 3) -> dict[str, Any]:
    return {
        "wave_id": wave_id,
        "carrier": "swift",
        "cut_off_at": MORNING.isoformat(),
        "shipments": [
            {
                "shipment_id": f"{wave_id}-{number}",
                "tracking_no": f"tn-{wave_id}-{number}",
                "lines": [{"sku": "tea", "units": units}],
            }
            for number in range(parcels)
        ],
    }


async def despatch(world: Partners, document: dict[str, Any]) -> httpx.Response:
    key = document["wave_id"]
    return await world.call(EAST, "POST", "/despatches", document, idempotency_key=key)


async def on_hand(world: Partners) -> dict[str, int]:
    lines = (await world.call(EAST, "GET", "/stock")).json()["lines"]
    return {line["sku"]: line["on_hand"] for line in lines}


async def test_filling_the_shelves_sends_a_complete_snapshot() -> None:
    async with warehouse() as world:
        await fill(world, tea=10, cup=4)

        (heard,) = await world.shop.count(1)
        assert heard.sender == EAST
        assert heard.kind == "inventory.snapshot"
        assert heard.data == {
            "as_of": MORNING.isoformat(),
            "complete": True,
            "lines": [
                {"sku": "cup", "on_hand": 4, "held": 0},
                {"sku": "tea", "on_hand": 10, "held": 0},
            ],
        }


async def test_a_large_snapshot_comes_in_parts_of_one_instant_that_fit() -> None:
    async with warehouse() as world:
        await fill(world, **{f"sku-{number:05d}": number for number in range(4000)})
        await world.settled()

        parts = world.shop.of("inventory.snapshot")
        lines = [line["sku"] for part in parts for line in part["lines"]]
        assert set(world.shop.answered) == {202}  # the shop answers 413 above 64 KiB
        assert len(parts) > 1
        assert {part["complete"] for part in parts} == {False}
        assert {part["as_of"] for part in parts} == {MORNING.isoformat()}
        assert lines == sorted(lines)
        assert len(set(lines)) == 4000


async def test_stock_is_read_in_pages_and_only_when_it_changed() -> None:
    async with warehouse() as world:
        await fill(world, cup=4, pot=2, tea=10)

        first = await world.call(EAST, "GET", "/stock?limit=2")
        second = await world.call(EAST, "GET", f"/stock?limit=2&after={first.json()['next']}")
        same = await world.call(EAST, "GET", "/stock", if_none_match=first.headers["etag"])
        await world.sandbox(
            "POST", "/warehouses/east/changes", {"changes": [{"sku": "tea", "units": -1}]}
        )
        changed = await world.call(EAST, "GET", "/stock", if_none_match=first.headers["etag"])
        bad = await world.call(EAST, "GET", "/stock?limit=0")

        assert [line["sku"] for line in first.json()["lines"]] == ["cup", "pot"]
        assert [line["sku"] for line in second.json()["lines"]] == ["tea"]
        assert (first.json()["next"], second.json()["next"]) == ("pot", None)
        assert (same.status_code, same.content) == (304, b"")
        assert changed.status_code == 200
        assert bad.status_code == 422


async def test_breakage_is_told_as_a_delta_and_nothing_goes_below_zero() -> None:
    async with warehouse() as world:
        await fill(world, tea=10)
        aside = [
            {"sku": "tea", "units": -2, "reason": "damaged"},
            {"sku": "tea", "units": 2, "bucket": "held", "reason": "damaged"},
        ]
        await world.sandbox("POST", "/warehouses/east/changes", {"changes": aside})
        too_much = await world.client.post(
            "/sandbox/warehouses/east/changes", json={"changes": [{"sku": "tea", "units": -9}]}
        )
        await world.settled()

        (delta,) = world.shop.of("inventory.delta")
        stock = (await world.call(EAST, "GET", "/stock")).json()["lines"]
        assert [(line["units"], line["bucket"]) for line in delta["deltas"]] == [
            (-2, "available"),
            (2, "held"),
        ]
        assert len({line["id"] for line in delta["deltas"]}) == 2
        assert (too_much.status_code, too_much.json()["code"]) == (409, "not_there")
        assert stock == [{"sku": "tea", "on_hand": 10, "held": 2}]


async def test_a_wave_leaves_after_handling_and_is_told_once() -> None:
    async with warehouse(handling_hours=3) as world:
        await fill(world, tea=10)

        first = await despatch(world, wave())
        again = await despatch(world, wave())
        other = await despatch(world, wave(parcels=1))
        waiting = await world.call(EAST, "GET", "/despatches?client_ref=w-1")
        await world.run_dry()

        (told,) = world.shop.of("shipment.despatched")
        gone = await world.call(EAST, "GET", "/despatches?client_ref=w-1")
        assert (first.status_code, first.json()) == (202, {"wave_id": "w-1", "status": "queued"})
        assert again.json() == first.json()
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reuse")
        assert waiting.json()["items"] == [{"wave_id": "w-1", "status": "queued"}]
        assert gone.json()["items"] == [{"wave_id": "w-1", "status": "despatched"}]
        assert told == {
            "wave_id": "w-1",
            "despatched_at": (MORNING + 3 * HOUR).isoformat(),
            "shipments": [
                {"shipment_id": "w-1-0", "tracking_no": "tn-w-1-0"},
                {"shipment_id": "w-1-1", "tracking_no": "tn-w-1-1"},
            ],
        }
        assert await on_hand(world) == {"tea": 4}


async def test_a_wave_does_not_leave_before_its_cut_off() -> None:
    async with warehouse() as world:
        await fill(world, tea=10)
        document = wave() | {"cut_off_at": (MORNING + 8 * HOUR).isoformat()}

        await despatch(world, document)
        await world.run_dry()

        (told,) = world.shop.of("shipment.despatched")
        assert told["despatched_at"] == (MORNING + 8 * HOUR).isoformat()


async def test_parcels_without_goods_wait_for_them() -> None:
    async with warehouse() as world:
        await fill(world, tea=4)
        await despatch(world, wave())
        await world.run_dry()
        listed = await world.call(EAST, "GET", "/despatches?client_ref=w-1")

        await world.sandbox(
            "POST", "/warehouses/east/changes", {"changes": [{"sku": "tea", "units": 5}]}
        )
        await world.run_dry()

        told = [
            [shipment["shipment_id"] for shipment in data["shipments"]]
            for data in world.shop.of("shipment.despatched")
        ]
        assert listed.json()["items"] == [{"wave_id": "w-1", "status": "partly_despatched"}]
        assert told == [["w-1-0"], ["w-1-1"]]
        assert await on_hand(world) == {"tea": 3}


async def test_a_part_of_a_wave_leaves_a_day_later() -> None:
    async with warehouse(behaviour={"part_wave": {"first": 1, "fraction": 0.5}}) as world:
        await fill(world, tea=20)
        await despatch(world, wave(parcels=4))
        await world.run_dry()

        first, rest = world.shop.of("shipment.despatched")
        assert len(first["shipments"]) == len(rest["shipments"]) == 2
        assert rest["despatched_at"] == (MORNING + 26 * HOUR).isoformat()


async def test_an_unknown_carrier_or_a_stranger_is_refused() -> None:
    async with warehouse() as world:
        nobody = await despatch(world, wave() | {"carrier": "nobody"})
        stranger = await world.client.post(f"/{EAST}/despatches", json=wave())

        assert (nobody.status_code, nobody.json()["code"]) == (422, "unknown_carrier")
        assert stranger.status_code == 401


async def test_a_miscount_says_less_and_a_recount_is_right() -> None:
    async with warehouse(behaviour={"miscount": {"first": 1, "units": 3}}) as world:
        await fill(world, tea=10)
        await world.sandbox("POST", "/warehouses/east/count")
        await world.settled()

        told = [data["lines"][0]["on_hand"] for data in world.shop.of("inventory.snapshot")]
        assert told == [7, 10]


async def test_a_full_count_comes_at_its_hours() -> None:
    async with warehouse(snapshot_hours=6) as world:
        await fill(world, tea=10)
        await world.move(MORNING + 13 * HOUR)
        await world.settled()

        counted_at = [data["as_of"] for data in world.shop.of("inventory.snapshot")]
        assert counted_at == [(MORNING + hours * HOUR).isoformat() for hours in (0, 6, 12)]
