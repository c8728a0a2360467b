"""Waves leave at their cut-off with labels bought once, from real sandbox companies."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from inventory import reservations
from kit.db import transaction
from kit.leases import lease
from logistics import labels, waves
from operations.allocate_groups import allocate_groups
from operations.errors import CannotApply
from operations.ship_waves import next_cut_off, ship_waves
from tests.store.fulfilment_world import (
    DAY,
    NORTH,
    SOUTH,
    Completed,
    add_goods,
    add_network,
    complete_group,
    hear_letter,
    live_parcels,
    move_clock,
    now,
    states,
    violations,
)
from tests.store.recording_shop import Partners, keys, partners
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")

# The shop of the tests knows these companies; ours sign with their secrets.
SECRETS = {"warehouses": "warehouses/east", "carriers": "carriers/swift"}


@asynccontextmanager
async def companies(
    *, swift: dict[str, Any] | None = None, warehouse: dict[str, Any] | None = None
) -> AsyncIterator[Partners]:
    """Run two warehouses and two carriers that know what time it is here."""
    secret = keys().secrets
    for company in ("warehouses/north", "warehouses/south", "carriers/slow"):
        secret[company] = secret[SECRETS[company.partition("/")[0]]]
    document = {
        "start": (await now()).isoformat(),
        "warehouses": [
            {
                "code": code,
                "secret": secret[SECRETS["warehouses"]],
                "handling_hours": 1,
                "behaviour": warehouse or {},
            }
            for code in ("north", "south")
        ],
        "carriers": [
            {
                "code": code,
                "secret": secret[SECRETS["carriers"]],
                "tariff": {"base_fen": 600, "step_fen": 50, "step_grams": 500},
                "default_days": 2,
                **(swift or {} if code == "swift" else {}),
            }
            for code in ("swift", "slow")
        ],
    }
    async with partners(document) as world:
        for kind, codes in (("warehouses", ("north", "south")), ("carriers", ("swift", "slow"))):
            for code in codes:
                await sql(
                    "INSERT INTO partner (kind, code, url, secret, calls_per_second,"
                    " calls_at_once) VALUES (:kind, :code, :url, :secret, 1000, 16)",
                    kind=kind,
                    code=code,
                    url=f"{str(world.client.base_url).rstrip('/')}/{kind}/{code}",
                    secret=secret[SECRETS[kind]],
                )
        yield world


async def counts(world: Partners, company: str) -> dict[str, int]:
    kind, code = company.split("/")
    state = await world.sandbox("GET", "/state")
    found: dict[str, int] = {"labels": 0, "waves": 0} | state[kind][code]
    return found


async def misbehave(world: Partners, company: str, behaviour: dict[str, Any]) -> None:
    await world.sandbox("PUT", f"/{company}/behaviour", behaviour)


async def allocated(*groups: Sequence[str], stock: int = 500) -> list[Completed]:
    """Complete groups and cover them from the warehouse in the north."""
    await add_goods(north=stock)
    made = [
        await complete_group(*provinces, minutes_ago=len(groups) - n)
        for n, provinces in enumerate(groups)
    ]
    report = await allocate_groups()
    assert report.groups_covered == len(groups)
    return made


async def reach_cut_off() -> datetime:
    """Move business time to the next cut-off."""
    async with transaction() as session:
        due = await next_cut_off(session)
    assert due is not None
    await move_clock(due)
    return due


def told(parcels: Sequence[Any], at: datetime) -> dict[str, Any]:
    """Return the warehouse's news that these parcels left."""
    return {
        "wave_id": str(parcels[0].wave_id),
        "despatched_at": at.isoformat(),
        "shipments": [{"shipment_id": str(p.id), "tracking_no": p.tracking_no} for p in parcels],
    }


def tracked(parcel: Any, number: int, status: str, at: datetime) -> dict[str, Any]:
    return {
        "tracking_no": parcel.tracking_no,
        "event_id": f"{parcel.tracking_no}-{number}",
        "status": status,
        "occurred_at": at.isoformat(),
        "place": "",
    }


async def shipped_parcels(*groups: Sequence[str]) -> tuple[list[Completed], list[Any]]:
    """Let groups leave, with labels as a carrier would have sold them."""
    made = await allocated(*groups)
    due = await reach_cut_off()
    async with transaction() as session:
        rows = await waves.lock_due(session, "north")
        await waves.set_locked(session, [row.id for row in rows])
    await sql(
        "UPDATE shipment SET label_state = 'purchased', label_id = 'L' || id,"
        " tracking_no = 'T' || id"
    )
    async with transaction() as session:
        for row in rows:
            assert await waves.set_manifested(session, row.id)
    orders = [order_id for group in made for order_id in group.orders]
    parcels = await live_parcels(orders)
    await hear_letter("warehouses:north", "shipment.despatched", told(parcels, due))
    return made, parcels


async def test_a_wave_leaves_and_arrives() -> None:
    await add_network()
    async with companies() as world:
        (first, second) = await allocated((NORTH, SOUTH), (NORTH,))
        early = await ship_waves()
        due = await reach_cut_off()
        await world.move(due)
        await world.sandbox(
            "PUT", "/warehouses/north/stock", {"lines": [{"sku": "tea", "on_hand": 500}]}
        )

        report = await ship_waves()

        assert (early.waves_locked, early.waves_manifested) == (0, 0)
        assert (report.waves_manifested, report.parcels_manifested) == (1, 3)
        assert (report.labels_bought, report.problems) == (3, ())
        assert (await counts(world, "carriers/swift"))["labels"] == 3
        await world.run_dry()
        assert sum(1 for heard in world.shop.heard if heard.kind == "shipment.despatched") == 1
        for heard in world.shop.heard:
            if heard.kind in {"shipment.despatched", "tracking.updated"}:
                source = heard.sender.replace("/", ":")
                await hear_letter(source, heard.kind, heard.data)

    assert await states([*first.orders, *second.orders]) == ["delivered"] * 3
    (wave,) = await sql("SELECT * FROM wave")
    assert (wave.state, wave.parcels, wave.cut_off_at) == ("shipped", 3, due)
    (level,) = await sql("SELECT * FROM stock_level")
    assert (level.on_hand, level.reserved) == (497, 0)
    facts = [row.topic for row in await sql("SELECT topic FROM outbox_message ORDER BY id")]
    assert facts.count("order.shipped") == facts.count("order.delivered") == 3
    assert facts.count("wave.manifested") == facts.count("wave.shipped") == 1
    parcels = await live_parcels(first.orders)
    assert {p.tracking for p in parcels} == {"delivered"}
    assert await violations() == []


async def test_a_second_run_and_two_at_once_do_nothing_more() -> None:
    await add_network()
    async with companies() as world:
        await allocated(*[(NORTH, SOUTH)] * 10)
        await reach_cut_off()

        await asyncio.gather(*(ship_waves() for _ in range(3)))
        again = await ship_waves()

        assert (await counts(world, "carriers/swift"))["labels"] == 20
        assert (await counts(world, "warehouses/north"))["waves"] == 1
        assert (again.waves_manifested, again.labels_bought) == (0, 0)
    assert await violations() == []


async def test_a_warehouse_whose_shipper_may_have_died_is_looked_at_again() -> None:
    await add_network()
    async with companies() as world:
        await allocated((NORTH, NORTH))
        await reach_cut_off()
        await sql("DELETE FROM wake_up")

        async with lease("ship:north"):
            await ship_waves()

        assert (await counts(world, "carriers/swift")).get("labels", 0) == 0
        assert await sql("SELECT due_at > now() FROM wake_up WHERE flow = 'ship'") == [(True,)]
    assert await violations() == []


async def test_killed_between_label_and_commit_the_labels_are_found_not_bought_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await add_network()
    async with companies() as world:
        (group,) = await allocated((NORTH, NORTH, SOUTH))
        await reach_cut_off()

        async def die(*_: Any, **__: Any) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as dying:
            dying.setattr(labels, "record", die)
            with pytest.raises(asyncio.CancelledError):
                await ship_waves()
        parcels = await live_parcels(group.orders)
        assert {(p.state, p.label_state, p.tracking_no) for p in parcels} == {
            ("locked", "unknown", None)
        }
        assert (await counts(world, "carriers/swift"))["labels"] == 3

        report = await ship_waves()

        assert (report.labels_found, report.labels_bought) == (3, 0)
        assert (report.waves_manifested, report.parcels_manifested) == (1, 3)
        assert (await counts(world, "carriers/swift"))["labels"] == 3
    assert await violations() == []


async def test_killed_after_the_manifest_the_wave_is_found_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await add_network()
    async with companies() as world:
        await allocated((NORTH, NORTH))
        await reach_cut_off()

        async def die(*_: Any, **__: Any) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as dying:
            dying.setattr(waves, "set_manifested", die)
            with pytest.raises(asyncio.CancelledError):
                await ship_waves()
        assert (await counts(world, "warehouses/north"))["waves"] == 1

        report = await ship_waves()

        assert report.waves_manifested == 1
        assert (await counts(world, "warehouses/north"))["waves"] == 1
    assert await violations() == []


async def test_lost_answers_buy_no_second_label() -> None:
    await add_network()
    lost = {"answers": {"lost": {"every": 3, "only": ["label"]}}}
    async with companies(swift={"behaviour": lost}) as world:
        await allocated(*[(NORTH, SOUTH)] * 15)
        await reach_cut_off()

        for _ in range(4):
            report = await ship_waves()

        assert (await counts(world, "carriers/swift"))["labels"] == 30
        assert report.labels_unknown == 0
    rows = await sql("SELECT count(DISTINCT tracking_no) AS n FROM shipment WHERE state = 'locked'")
    assert rows[0].n == 30
    assert await violations() == []


async def test_a_refused_label_keeps_its_whole_group_and_nobody_else() -> None:
    await add_network()
    async with companies(swift={"default_days": None, "days": {NORTH: 1}}) as world:
        fine, refused = await allocated((NORTH, NORTH), (NORTH, SOUTH))
        due = await reach_cut_off()

        report = await ship_waves()

        assert (report.parcels_manifested, report.labels_refused, report.put_back) == (2, 1, 2)
        assert {p.state for p in await live_parcels(fine.orders)} == {"locked"}
        back = await live_parcels(refused.orders)
        assert {(p.state, p.wave_id is None) for p in back} == {("planned", True)}
        assert sorted(p.label_state for p in back) == ["none", "purchased"]
        assert [p.label_error is None for p in back if p.label_state == "none"] == [False]

        await ship_waves()  # today it is not asked again
        assert (await counts(world, "carriers/swift"))["labels"] == 3
        async with transaction() as session:
            assert await next_cut_off(session) == due + DAY
    assert await violations() == []


async def test_a_carrier_that_is_down_at_the_cut_off_sends_a_late_wave() -> None:
    await add_network()
    async with companies() as world:
        light, heavy = await allocated((NORTH, NORTH), ("650000",))  # the latter goes slowly
        due = await reach_cut_off()
        await misbehave(
            world, "carriers/swift", {"answers": {"refused": {"every": 1, "only": ["label"]}}}
        )

        down = await ship_waves()

        assert down.parcels_manifested == 1
        assert down.put_back == 2
        (wake,) = await sql("SELECT * FROM wake_up WHERE flow = 'ship'")
        assert wake.reason == "parcels wait"
        assert {p.state for p in await live_parcels(heavy.orders)} == {"locked"}

        async with transaction() as session:
            assert await next_cut_off(session) is None  # the wake-up paces the tries
        await ship_waves()
        await misbehave(world, "carriers/swift", {})
        up = await ship_waves()

        assert (up.parcels_manifested, up.put_back) == (2, 0)
        (parcel, _) = await live_parcels(light.orders)
        (wave,) = await sql("SELECT * FROM wave WHERE id = :id", id=parcel.wave_id)
        assert (wave.state, wave.cut_off_at, wave.number) == ("manifested", due, 1)
    assert await violations() == []


async def test_a_late_label_leaves_in_a_late_wave_of_the_same_cut_off() -> None:
    await add_network()
    async with companies(swift={"behaviour": {"answers": {"refused": {"first": 1}}}}):
        groups = await allocated((NORTH,), (NORTH,), (NORTH,))
        due = await reach_cut_off()

        first = await ship_waves()
        second = await ship_waves()

        assert (first.parcels_manifested, first.put_back) == (2, 1)
        assert (second.parcels_manifested, second.put_back) == (1, 0)
    rows = await sql("SELECT number, parcels, state, cut_off_at FROM wave ORDER BY number")
    assert [tuple(row) for row in rows] == [(1, 2, "manifested", due), (2, 1, "manifested", due)]
    assert await states([group.orders[0] for group in groups]) == ["allocated"] * 3
    assert await violations() == []


async def test_a_warehouse_that_is_down_gets_its_manifest_later() -> None:
    await add_network()
    async with companies(warehouse={"answers": {"refused": {"first": 1}}}) as world:
        await allocated((NORTH,))
        await reach_cut_off()

        down = await ship_waves()
        up = await ship_waves()

        assert (down.waves_manifested, [line.outcome for line in down.lines]) == (0, ["waiting"])
        assert up.waves_manifested == 1
        assert (await counts(world, "warehouses/north"))["waves"] == 1
        assert (await counts(world, "carriers/swift"))["labels"] == 1
    assert await violations() == []


async def test_a_full_day_sends_the_rest_with_the_next_cut_off() -> None:
    await add_network(daily_parcels=5)
    async with companies():
        groups = await allocated((NORTH, NORTH), (NORTH, NORTH), (NORTH, NORTH), (NORTH,))
        due = await reach_cut_off()

        first = await ship_waves()
        await move_clock(due + DAY)
        second = await ship_waves()

        # Two groups of two, then the single one: the third pair does not fit into one place.
        assert (first.parcels_manifested, second.parcels_manifested) == (5, 2)
    rows = await sql(
        "SELECT DISTINCT w.cut_off_at FROM shipment s JOIN wave w ON w.id = s.wave_id"
        " JOIN shipment_order so ON so.shipment_id = s.id WHERE so.group_id = :id",
        id=groups[2].group_id,
    )
    assert [row.cut_off_at for row in rows] == [due + DAY]
    assert await violations() == []


async def test_an_order_refunded_before_the_manifest_does_not_leave() -> None:
    await add_network()
    async with companies() as world:
        (group,) = await allocated((NORTH, NORTH, NORTH))
        await reach_cut_off()
        await misbehave(
            world, "warehouses/north", {"answers": {"refused": {"every": 1, "only": ["despatch"]}}}
        )
        await ship_waves()
        gone, *stay = group.orders
        await sql("UPDATE buyer_order SET state = 'refund_due' WHERE id = :id", id=gone)
        async with transaction() as session:
            await reservations.free(session, [gone])
        await misbehave(world, "warehouses/north", {})

        report = await ship_waves()

        assert (report.parcels_manifested, report.labels_voided) == (2, 1)
        assert (await counts(world, "carriers/swift"))["labels_voided"] == 1
        assert await live_parcels([gone]) == []
        assert {p.state for p in await live_parcels(stay)} == {"locked"}
    assert await violations() == []


async def test_part_of_a_wave_leaves_and_the_rest_follows() -> None:
    await add_network()
    part = {"part_wave": {"first": 1, "fraction": 0.5, "rest_after_hours": 3}}
    async with companies(warehouse=part) as world:
        (one, two) = await allocated((NORTH, NORTH), (SOUTH, SOUTH))
        await reach_cut_off()
        await world.move(await now())
        await world.sandbox(
            "PUT", "/warehouses/north/stock", {"lines": [{"sku": "tea", "on_hand": 500}]}
        )
        await ship_waves()
        await world.move(await now() + timedelta(hours=2))
        await world.settled()
        (first,) = world.shop.of("shipment.despatched")
        await hear_letter("warehouses:north", "shipment.despatched", first)

        assert sorted(await states([*one.orders, *two.orders])) == ["allocated"] * 2 + (
            ["shipped"] * 2
        )
        (wave,) = await sql("SELECT state FROM wave")
        assert wave.state == "manifested"

        await world.run_dry()
        _, second = world.shop.of("shipment.despatched")
        await hear_letter("warehouses:north", "shipment.despatched", second)
        await hear_letter("warehouses:north", "shipment.despatched", first)  # told twice

    assert await states([*one.orders, *two.orders]) == ["shipped"] * 4
    (wave,) = await sql("SELECT state FROM wave")
    assert wave.state == "shipped"
    (moved,) = await sql("SELECT count(*) AS n FROM stock_movement WHERE kind = 'ship'")
    assert moved.n == 4
    assert await violations() == []


async def test_a_warehouse_speaks_only_of_its_own_waves() -> None:
    await add_network()
    _, parcels = await shipped_parcels((NORTH,))
    at = await now()

    for source, body in (
        ("warehouses:south", told(parcels, at)),
        ("warehouses:north", told(parcels, at) | {"wave_id": str(UUID(int=1))}),
        ("warehouses:north", told(parcels, at) | {"shipments": []}),
        (
            "warehouses:north",
            told(parcels, at)
            | {"shipments": [{"shipment_id": str(parcels[0].id), "tracking_no": "other"}]},
        ),
    ):
        with pytest.raises(CannotApply):
            await hear_letter(source, "shipment.despatched", body)


async def test_tracking_told_backwards_twice_and_before_the_parcel_left() -> None:
    await add_network()
    (group,) = await allocated((NORTH, SOUTH))
    due = await reach_cut_off()
    async with transaction() as session:
        rows = await waves.lock_due(session, "north")
        await waves.set_locked(session, [row.id for row in rows])
    await sql(
        "UPDATE shipment SET label_state = 'purchased', label_id = 'L' || id,"
        " tracking_no = 'T' || id"
    )
    parcels = await live_parcels(group.orders)
    journey = [
        tracked(parcel, number, status, due + timedelta(hours=number))
        for parcel in parcels
        for number, status in enumerate(["delivered", "in_transit", "collected"])
    ]

    await hear_letter("carriers:swift", "tracking.updated", {"updates": journey})
    assert await states(group.orders) == ["allocated"] * 2  # nobody said that it left
    await hear_letter("warehouses:north", "shipment.despatched", told(parcels, due))
    await hear_letter("carriers:swift", "tracking.updated", {"updates": journey[::-1] * 2})

    assert await states(group.orders) == ["delivered"] * 2
    assert {p.tracking for p in await live_parcels(group.orders)} == {"delivered"}
    (events,) = await sql("SELECT count(*) AS n FROM tracking_event")
    assert events.n == 6
    (row, _) = await sql("SELECT delivered_at FROM buyer_order ORDER BY id")
    assert row.delivered_at == due
    assert await violations() == []


async def test_a_carrier_speaks_only_of_its_own_parcels() -> None:
    await add_network()
    (group,), parcels = await shipped_parcels((NORTH,))
    at = await now()
    mine = tracked(parcels[0], 1, "delivered", at)
    stray = mine | {"tracking_no": "stray", "event_id": "stray-1"}

    for source, updates in (
        ("carriers:slow", [mine]),
        ("carriers:swift", [stray]),
        ("carriers:swift", [mine | {"status": "teleported"}]),
    ):
        with pytest.raises(CannotApply):
            await hear_letter(source, "tracking.updated", {"updates": updates})
    assert await states(group.orders) == ["shipped"]

    await hear_letter("carriers:swift", "tracking.updated", {"updates": [stray, mine]})
    assert await states(group.orders) == ["delivered"]


async def test_a_lost_or_returned_parcel_closes_without_delivering_its_order() -> None:
    await add_network()
    (group,), parcels = await shipped_parcels((NORTH, NORTH))
    at = await now()

    await hear_letter(
        "carriers:swift",
        "tracking.updated",
        {
            "updates": [
                tracked(parcels[0], 1, "lost", at),
                tracked(parcels[1], 1, "returned", at),
                tracked(parcels[1], 2, "in_transit", at),
            ]
        },
    )

    assert await states(group.orders) == ["shipped"] * 2
    assert sorted(p.state for p in await live_parcels(group.orders)) == ["lost", "returned"]


async def test_two_hundred_updates_are_one_letter_and_few_statements() -> None:
    await add_network()
    groups, parcels = await shipped_parcels(*[(NORTH, SOUTH)] * 100)
    at = await now()

    await hear_letter(
        "carriers:swift",
        "tracking.updated",
        {
            "updates": [
                tracked(parcel, 1, "delivered", at + timedelta(seconds=n))
                for n, parcel in enumerate(parcels)
            ]
        },
    )

    orders = [order_id for group in groups for order_id in group.orders]
    assert await states(orders) == ["delivered"] * 200
    (row,) = await sql("SELECT count(DISTINCT delivered_at) AS n FROM buyer_order")
    assert row.n == 200
    assert await violations() == []
