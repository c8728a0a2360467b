"""What the clock calls due is what somebody will act upon: nothing else may stop a replay."""

from datetime import datetime, timedelta

import pytest

from caravan import duties
from groups.states import GroupState
from kit.clock import business_now
from kit.db import transaction
from operations import move_clock
from operations.allocate_groups import allocate_groups
from tests.store import fulfilment_world, money_world
from tests.store.fulfilment_world import NORTH, add_goods, add_network, complete_group
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


async def _due() -> datetime | None:
    return (await move_clock.read()).next_due_at


async def _shipping_wakes() -> list[str]:
    return [row.key for row in await sql("SELECT key FROM wake_up WHERE flow = 'ship'")]


async def test_a_cut_off_on_hold_is_not_due_and_wakes_nobody_until_its_release() -> None:
    await add_network()
    await add_goods(north=5)
    await complete_group(NORTH, NORTH)
    await allocate_groups()
    await sql("UPDATE seat_budget SET recompute_at = NULL")
    (wave,) = await sql("SELECT cut_off_at FROM wave")
    planned = await _due()

    await sql("UPDATE warehouse SET on_hold = true WHERE code = 'north'")
    held = await _due()
    await fulfilment_world.move_clock(wave.cut_off_at)
    woken_on_hold = await duties.wake_for_cut_offs()
    await sql("UPDATE warehouse SET on_hold = false")
    released = await _due()
    woken = await duties.wake_for_cut_offs()
    again = await duties.wake_for_cut_offs()

    assert (planned, held, released) == (wave.cut_off_at, None, wave.cut_off_at)
    assert (woken_on_hold, woken, again) == (0, 1, 0)
    assert await _shipping_wakes() == ["north"]


async def test_a_seat_past_its_time_is_due_only_while_its_own_time_releases_it() -> None:
    async with transaction() as session:
        shop = await money_world.on_sale(session)
        now = await business_now(session)
    bought = await money_world.group_of(shop, 2, state=GroupState.OPEN)
    reserved_until = min(order.reserved_until for order in bought.orders)
    # Nobody is asked about these payments here.
    await sql("UPDATE payment SET poll_at = NULL")
    running = await _due()

    next_question = now + timedelta(days=4)
    await sql(
        "UPDATE buying_group SET state = 'closing', deadline_at = :past, due_at = :next",
        past=now + timedelta(days=2),
        next=next_question,
    )
    await fulfilment_world.move_clock(now + timedelta(days=3))
    closing = await _due()

    assert (running, closing) == (reserved_until, next_question)


async def test_a_group_that_has_ended_is_not_due_whatever_its_row_says() -> None:
    async with transaction() as session:
        shop = await money_world.on_sale(session)
        await money_world.add_group(session, shop, state=GroupState.OPEN)
    assert await _due() is not None

    await sql("UPDATE buying_group SET state = 'failed', closed_at = kit_now()")

    assert await _due() is None
