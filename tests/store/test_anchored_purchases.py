"""What a group that leaves whole still lacks is bought for the warehouse where its rest waits."""

import pytest

from kit.db import transaction
from logistics import waves
from logistics.stranded import anchored
from operations.allocate_groups import allocate_groups
from operations.plan_purchases import plan_purchases
from suppliers.orders import SupplyOrder
from tests.store import supply_world as world
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


async def _shop() -> None:
    await world.build_network()
    await world.add_products("tea")
    await world.add_supplier("jade")
    await world.agree("jade", "tea")


async def _group_of_the_north() -> world.Waiting:
    """Complete a group of four; the last of them lives in the east."""
    group = await world.succeed(members=4, province=world.NORTH)
    await sql(
        "UPDATE buyer_order SET province = :east WHERE id = :id",
        east=world.EAST,
        id=group.order_ids[-1],
    )
    return group


async def _buy(key: str) -> tuple[SupplyOrder, list[tuple[str, int]]]:
    """Plan, send, have it accepted and pegged; return the order and what goes where."""
    await plan_purchases(key=key)
    order = (await world.all_orders())[-1]
    order = await world.mark_sent(order.id)
    await world.said_by(
        "jade", "purchase_order.accepted", order.id, lines=world.accepted_lines(order)
    )
    await allocate_groups()
    return order, [(line.warehouse, line.units.ordered_units) for line in order.lines]


async def test_the_rest_of_a_short_receipt_comes_to_where_the_group_waits() -> None:
    await _shop()
    group = await _group_of_the_north()
    first, bought_first = await _buy("first")
    await world.counted_by("north", first.id, (1, 3, 1))
    async with transaction() as session:
        waits_in = await anchored(session)

    second, bought_next = await _buy("rest")
    await world.counted_by("north", second.id, (1, 1, 0), receipt_no="r-2")
    await allocate_groups()

    # East would be the cheapest for the one order that is left, and no use to its group.
    assert (bought_first, bought_next) == ([("north", 4)], [("north", 1)])
    assert waits_in == {group.group_id: frozenset({"north"})}
    async with transaction() as session:
        due_at = await waves.next_cut_off(session)
    leaving = await sql(
        "SELECT w.warehouse, w.cut_off_at, w.parcels, count(DISTINCT so.order_id) AS orders"
        " FROM wave w JOIN shipment s ON s.wave_id = w.id"
        " JOIN shipment_order so ON so.shipment_id = s.id AND so.group_id = :id"
        " WHERE w.state = 'open' GROUP BY w.id",
        id=group.group_id,
    )
    assert [tuple(row) for row in leaving] == [("north", due_at, 4, 4)]
    assert await world.broken() == []


async def test_members_of_a_group_that_may_split_are_bound_to_no_place() -> None:
    await _shop()
    await _group_of_the_north()
    await sql("UPDATE buying_group SET warehouse_policy = 'split_ok'")

    first, bought = await _buy("first")
    by_place = {line.warehouse: line.line_no for line in first.lines}
    await world.counted_by("north", first.id, (by_place["north"], 2, 1))

    assert sorted(bought) == [("east", 1), ("north", 3)]
    async with transaction() as session:
        assert await anchored(session) == {}
