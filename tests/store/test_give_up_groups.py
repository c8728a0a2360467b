"""Groups that nothing can cover are refunded whole at their ship-by date, and no other."""

from datetime import timedelta

import pytest

from kit.db import transaction
from operations import give_up_groups as promises
from operations.allocate_groups import allocate_groups
from tests.store import fulfilment_world as world

pytestmark = pytest.mark.usefixtures("store")


async def test_an_uncovered_group_is_given_up_at_its_ship_by_and_not_before() -> None:
    await world.add_network()
    await world.add_goods("tea")
    waiting = await world.complete_group(world.NORTH, world.SOUTH)
    async with transaction() as session:
        due = await promises.next_due(session)
    assert due is not None

    assert await promises.give_up_groups() == 0
    await world.move_clock(due)

    assert await promises.give_up_groups() == 1
    assert await promises.give_up_groups() == 0
    assert await world.states(waiting.orders) == ["refund_due", "refund_due"]
    async with transaction() as session:
        assert await promises.next_due(session) is None


async def test_a_covered_group_is_kept_past_its_ship_by() -> None:
    await world.add_network()
    await world.add_goods("tea", north=2)
    covered = await world.complete_group(world.NORTH, world.SOUTH)
    await allocate_groups()

    await world.move_clock(await world.now() + timedelta(days=4))

    assert await promises.give_up_groups() == 0
    assert set(await world.states(covered.orders)) == {"allocated"}


async def test_a_group_waits_as_long_as_goods_may_come() -> None:
    await world.add_network()
    await world.add_goods("tea")
    await world.add_inbound("tea", units=1)
    waiting = await world.complete_group(world.NORTH, world.SOUTH)

    await world.move_clock(await world.now() + timedelta(days=4))

    assert await promises.give_up_groups() == 0
    assert await world.states(waiting.orders) == ["confirmed", "confirmed"]
