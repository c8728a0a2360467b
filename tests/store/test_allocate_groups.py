"""Completed groups get goods of one place, fairly and once."""

import asyncio
import time

import pytest

from groups import orders
from inventory import ledger, reservations
from inventory.tables import Bucket, MovementType
from kit.db import transaction
from kit.ids import new_id
from logistics.network import preferred_warehouses
from logistics.stranded import anchored, stranded
from operations import allocation_choice
from operations.allocate_groups import _read, allocate_groups
from operations.cover_groups import cover_groups
from tests.store.fulfilment_world import (
    NORTH,
    SOUTH,
    add_goods,
    add_inbound,
    add_network,
    complete_group,
    live_parcels,
    reserved_in,
    states,
    violations,
)
from tests.store.inventory_world import add_stock, movement
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


async def topics() -> list[tuple[str, str]]:
    return [
        (row.topic, row.key)
        for row in await sql("SELECT topic, key FROM outbox_message ORDER BY id")
        if row.topic == "orders.uncovered"
    ]


async def test_groups_leave_whole_from_the_cheapest_warehouse() -> None:
    await add_network()
    await add_goods(north=10, south=10)
    north = await complete_group(NORTH, NORTH)
    south = await complete_group(SOUTH, SOUTH, SOUTH)

    report = await allocate_groups()

    assert await reserved_in(north.orders) == ["north"] * 2
    assert await reserved_in(south.orders) == ["south"] * 3
    assert await states([*north.orders, *south.orders]) == ["allocated"] * 5
    assert (report.status, report.groups_covered, report.orders_reserved) == ("optimal", 2, 5)
    assert report.cost_fen == 5 * 600
    assert {(line.warehouse, line.province, line.orders) for line in report.places} == {
        ("north", NORTH, 2),
        ("south", SOUTH, 3),
    }
    (plan,) = await sql("SELECT * FROM fulfilment_plan")
    assert (plan.groups, plan.orders, plan.uncovered_orders, plan.cost_fen) == (2, 5, 0, 3000)
    parcels = await live_parcels(north.orders)
    assert {(p.warehouse, p.carrier, p.weight_grams, p.state) for p in parcels} == {
        ("north", "swift", 500, "planned")
    }
    assert all(p.wave_id is not None for p in parcels)
    assert await violations() == []


async def test_a_second_run_finds_nothing_to_do() -> None:
    await add_network()
    await add_goods(north=10)
    group = await complete_group(NORTH, SOUTH)
    short = await complete_group(*[NORTH] * 12)
    await allocate_groups()
    before = await sql("SELECT id, xmin FROM reservation UNION SELECT id, xmin FROM shipment")

    again = await allocate_groups()

    assert (again.groups_covered, again.parcels, again.waves_opened) == (0, 0, 0)
    assert await sql("SELECT id, xmin FROM reservation UNION SELECT id, xmin FROM shipment") == (
        before
    )
    assert len(await sql("SELECT 1 FROM fulfilment_plan")) == 1
    assert await topics() == [("orders.uncovered", "tea")]
    assert await states(group.orders) == ["allocated"] * 2
    assert await states(short.orders) == ["confirmed"] * 12


async def test_two_warehouses_with_half_a_group_each_send_no_part_of_it() -> None:
    await add_network()
    await add_goods(north=2, south=2)
    group = await complete_group(NORTH, NORTH, SOUTH)

    report = await allocate_groups()

    (line,) = report.uncovered
    assert (line.reason, line.units, line.missing_units) == ("short", 3, 1)
    assert await reserved_in(group.orders) == [None] * 3
    assert await live_parcels(group.orders) == []
    assert await topics() == [("orders.uncovered", "tea")]
    async with transaction() as session:
        assert await stranded(session) == {("tea", "north"): 1}
    assert await violations() == []


async def test_a_group_that_may_split_leaves_from_both() -> None:
    await add_network()
    await add_goods(north=2, south=1)
    group = await complete_group(NORTH, NORTH, SOUTH, policy="split_ok")

    report = await allocate_groups()

    assert report.groups_covered == 1
    assert sorted(str(w) for w in await reserved_in(group.orders)) == ["north", "north", "south"]
    assert await violations() == []


async def test_stock_and_inbound_of_one_warehouse_cover_a_group_together() -> None:
    await add_network()
    await add_goods(north=1, south=1)
    line_id = await add_inbound(units=2, warehouse="north")
    group = await complete_group(NORTH, NORTH, NORTH)

    report = await allocate_groups()

    assert (report.orders_reserved, report.orders_pegged) == (1, 2)
    assert sorted(await states(group.orders)) == ["allocated", "confirmed", "confirmed"]
    (promise,) = await sql(
        "SELECT pegged_units FROM supply_promise WHERE line_id = :id", id=line_id
    )
    assert promise.pegged_units == 2
    parcels = await live_parcels(group.orders)
    assert [p.warehouse for p in parcels] == ["north"] * 3
    assert all(p.wave_id is None for p in parcels)  # the group waits for its last member
    async with transaction() as session:
        assert await stranded(session) == {}
    assert await violations() == []


async def test_the_group_that_was_complete_first_gets_the_last_units() -> None:
    await add_network()
    await add_goods(north=5)
    late = await complete_group(*[NORTH] * 4, minutes_ago=1)
    early = await complete_group(*[SOUTH] * 4, minutes_ago=90)

    report = await allocate_groups()

    assert await states(early.orders) == ["allocated"] * 4
    assert [line.group_id for line in report.uncovered] == [late.group_id]


async def test_inbound_after_the_promise_is_taken_and_named() -> None:
    await add_network()
    await add_goods()
    await add_inbound(units=2, in_days=6)
    group = await complete_group(NORTH, NORTH)

    report = await allocate_groups()

    (line,) = report.late
    assert (line.group_id, line.warehouse) == (group.group_id, "north")
    assert line.leaves_at > line.ship_by


async def test_orders_of_one_buyer_share_a_parcel_and_heavy_ones_are_split() -> None:
    await add_network()
    await add_goods(north=200)
    ann = new_id()
    first = await complete_group(NORTH, NORTH, user_ids=[ann, new_id()])
    second = await complete_group(NORTH, SOUTH, user_ids=[ann, new_id()])
    heavy = await complete_group(NORTH, units=110)  # 55 kg; slow carries 50

    await allocate_groups()

    (shared,) = await live_parcels([first.orders[0]])
    assert [p.id for p in await live_parcels([second.orders[0]])] == [shared.id]
    assert shared.weight_grams == 1000
    parts = await live_parcels(heavy.orders)
    assert sum(p.weight_grams for p in parts) == 55_000
    assert len(parts) >= 2
    # The shared parcel ties both groups to one instant.
    rows = await sql(
        "SELECT DISTINCT w.cut_off_at FROM shipment s JOIN wave w ON w.id = s.wave_id"
        " JOIN shipment_order so ON so.shipment_id = s.id WHERE so.group_id = ANY(:ids)",
        ids=[first.group_id, second.group_id],
    )
    assert len(rows) == 1
    assert await violations() == []


async def test_two_runs_at_once_give_the_last_units_once() -> None:
    await add_network()
    await add_goods(north=3)
    groups = [await complete_group(NORTH, NORTH, minutes_ago=n) for n in range(4)]

    reports = await asyncio.gather(*(allocate_groups() for _ in range(4)))

    assert sum(report.groups_covered for report in reports) == 1
    rows = await sql("SELECT order_id FROM reservation WHERE state = 'live'")
    assert len(rows) == 2
    assert await states(groups[3].orders) == ["allocated"] * 2
    assert await violations() == []


async def test_a_group_whose_goods_went_meanwhile_gets_none_of_them() -> None:
    await add_network()
    await add_goods(north=3)
    group = await complete_group(NORTH, NORTH, NORTH)
    async with transaction() as session:
        facts = await _read(session, [group.group_id], held=[])
    plan = allocation_choice.decide(facts)
    await sql("UPDATE stock_level SET held = held + 1")

    async with transaction() as session:
        covered = await cover_groups(
            session,
            list(plan.placement.placed.values()),
            moving=(),
            network=facts.network,
            now=facts.now,
        )

    assert covered.groups == frozenset()
    assert await reserved_in(group.orders) == [None] * 3
    assert await states(group.orders) == ["confirmed"] * 3
    (budget,) = await sql("SELECT claimed_units FROM seat_budget")
    assert budget.claimed_units == 3
    await sql("UPDATE stock_level SET held = held - 1")
    assert await violations() == []


async def test_an_order_refunded_after_the_plan_leaves_its_group_to_the_next_run() -> None:
    await add_network()
    await add_goods(north=3)
    group = await complete_group(NORTH, NORTH)
    async with transaction() as session:
        facts = await _read(session, [group.group_id], held=[])
    plan = allocation_choice.decide(facts)
    await sql(
        "UPDATE buyer_order SET state = 'refund_due', claim_units = 0 WHERE id = :id",
        id=group.orders[0],
    )
    await sql("UPDATE seat_budget SET claimed_units = claimed_units - 1")

    async with transaction() as session:
        covered = await cover_groups(
            session,
            list(plan.placement.placed.values()),
            moving=(),
            network=facts.network,
            now=facts.now,
        )
    report = await allocate_groups()

    assert covered.groups == frozenset()
    assert report.orders_reserved == 1
    assert await states(group.orders) == ["refund_due", "allocated"]
    assert await violations() == []


async def test_groups_move_from_a_warehouse_on_hold_when_another_can_take_them() -> None:
    await add_network()
    await add_goods(north=5, south=3)
    moves = await complete_group(NORTH, NORTH, minutes_ago=5)
    stays = await complete_group(NORTH, NORTH)
    await allocate_groups()
    assert await reserved_in([*moves.orders, *stays.orders]) == ["north"] * 4

    await sql("UPDATE warehouse SET on_hold = true WHERE code = 'north'")
    report = await allocate_groups()

    assert report.groups_moved == 1
    assert await reserved_in(moves.orders) == ["south"] * 2
    assert await reserved_in(stays.orders) == ["north"] * 2  # nobody else has two
    assert {p.warehouse for p in await live_parcels(moves.orders)} == {"south"}
    assert await violations() == []


async def test_the_rest_of_a_group_joins_it_or_all_of_it_moves() -> None:
    await add_network()
    await add_goods(north=3, south=0)
    group = await complete_group(NORTH, NORTH, NORTH)
    await allocate_groups()
    # One unit breaks: its order is uncovered again, the north has no other.
    async with transaction() as session:
        back = await reservations.dissolve(session, [group.orders[0]])
        await orders.restore_claims(session, back)
    await sql("UPDATE stock_level SET held = held + 1 WHERE warehouse = 'north'")
    waiting = await allocate_groups()
    assert [line.warehouse for line in waiting.uncovered] == ["north"]
    async with transaction() as session:
        assert await anchored(session) == {group.group_id: {"north"}}

    async with transaction() as session:
        await add_stock(session, "tea", 3, warehouse="south")
    moved = await allocate_groups()

    assert moved.groups_moved == 1
    assert await reserved_in(group.orders) == ["south"] * 3
    assert {p.warehouse for p in await live_parcels(group.orders)} == {"south"}


async def test_goods_that_break_after_allocation_are_taken_from_the_group_completed_last() -> None:
    await add_network()
    await add_goods(north=6, south=0)
    early = await complete_group(NORTH, NORTH, NORTH, minutes_ago=9)
    late = await complete_group(NORTH, NORTH, NORTH)
    await allocate_groups()
    async with transaction() as session:
        await ledger.book(
            session,
            [
                movement(units=-1, key="break", warehouse="north", kind=MovementType.HOLD),
                movement(
                    units=1,
                    key="broken",
                    warehouse="north",
                    kind=MovementType.HOLD,
                    bucket=Bucket.HELD,
                ),
            ],
        )

    report = await allocate_groups()

    assert (report.orders_released, report.orders_uncovered) == (3, 3)
    assert await reserved_in(early.orders) == ["north"] * 3
    assert await reserved_in(late.orders) == [None] * 3
    assert await live_parcels(late.orders) == []
    (wave,) = await sql("SELECT parcels FROM wave")
    assert wave.parcels == 3
    assert ("orders.uncovered", "tea") in await topics()
    async with transaction() as session:
        assert await stranded(session) == {("tea", "north"): 1}
    assert await violations() == []

    async with transaction() as session:
        await add_stock(session, "tea", 3, warehouse="south")
    await allocate_groups()

    assert await reserved_in(late.orders) == ["south"] * 3
    assert await violations() == []


async def test_a_full_dock_lets_the_later_groups_wait() -> None:
    await add_network(daily_parcels=4)
    await sql("DELETE FROM lane WHERE warehouse = 'south'")
    await add_goods(north=100)
    for n in range(8):
        await complete_group(NORTH, NORTH, minutes_ago=n)

    report = await allocate_groups()

    waiting = [line for line in report.uncovered if line.reason == "capacity"]
    assert report.groups_covered + len(waiting) == 8
    assert report.groups_covered in {2, 4}  # one or two cut-offs before the promise
    assert await topics() == []
    assert await violations() == []


async def test_two_thousand_groups_are_covered_in_one_run() -> None:
    await add_network()
    await add_goods(north=4000, south=4000)
    first = await complete_group(NORTH, SOUTH)
    await sql(
        "INSERT INTO buying_group SELECT (r).* FROM (SELECT jsonb_populate_record(g,"
        " jsonb_build_object('id', gen_random_uuid())) AS r FROM buying_group g,"
        " generate_series(1, 1999)) n"
    )
    await sql(
        "INSERT INTO buyer_order SELECT (r).* FROM (SELECT jsonb_populate_record(o,"
        " jsonb_build_object('id', gen_random_uuid(), 'group_id', g.id,"
        "  'user_id', gen_random_uuid())) AS r FROM buyer_order o, buying_group g"
        " WHERE g.id <> o.group_id) n"
    )
    await sql("UPDATE seat_budget SET claimed_units = 4000")

    started = time.monotonic()
    report = await allocate_groups()
    seconds = time.monotonic() - started

    assert (report.groups_covered, report.orders_reserved) == (2000, 4000)
    assert await states(first.orders) == ["allocated"] * 2
    assert seconds < 30
    assert await violations() == []


async def test_the_ways_to_a_province_are_named_cheapest_first() -> None:
    await add_network()
    await sql("UPDATE warehouse SET on_hold = true WHERE code = 'south'")

    async with transaction() as session:
        ways = await preferred_warehouses(session, {NORTH, "999999"})
        everywhere = await preferred_warehouses(session)

    assert [(w.warehouse, w.carrier, w.price_fen, w.days) for w in ways[NORTH]] == [
        ("north", "swift", 600, 1),
        ("north", "slow", 800, 1),
    ]
    assert ways["999999"] == []
    assert set(everywhere) == {NORTH, SOUTH, "650000"}
