"""The ledger, refunds and the moves of orders, each function on the real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from groups import orders, progress
from groups.states import OrderState
from kit.db import transaction
from kit.ids import new_id
from operations.capture_payment import capture
from payments import ledger, refunds
from payments.ledger import Entry, Unbalanced
from payments.provider import close_provider, use_provider
from payments.refunds import Owed, Postponed, Settled
from payments.tables import Account, RefundKind
from payments.wechat_client import WechatPay
from tests.store import money_world
from tests.store.money_world import (
    Bought,
    Shop,
    broken,
    group_of,
    money_for,
    on_sale,
    order_states,
    pass_time,
)
from tests.store.rows import count_of, sql

NOON = datetime(2011, 12, 5, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def _provider(store: str) -> AsyncIterator[None]:
    del store
    use_provider(
        WechatPay(money_world.pay_keys(), url="http://127.0.0.1:9", notify_url="http://shop")
    )
    yield
    await close_provider()


async def shop(capacity: int = 2) -> Shop:
    async with transaction() as session:
        return await on_sale(session, capacity=capacity)


async def confirmed(members: int = 2) -> Bought:
    bought = await group_of(await shop(members), members)
    for attempt in bought.attempts:
        await capture(money_for(attempt))
    assert set(await order_states(bought.orders)) == {OrderState.CONFIRMED}
    return bought


async def balances() -> dict[str, int]:
    rows = await sql("SELECT account, sum(amount_fen) FROM ledger_entry GROUP BY account")
    return {account: int(amount) for account, amount in rows if amount}


# --- ledger ---------------------------------------------------------------------------


async def test_a_posting_is_made_once_and_only_in_balance() -> None:
    order_id = new_id()
    sides = [
        Entry(account=Account.PROVIDER, order_id=order_id, amount_fen=5),
        Entry(account=Account.DEPOSITS, order_id=order_id, amount_fen=-5),
    ]
    async with transaction() as session:
        posted = [
            await ledger.post(session, "capture", "capture:1", occurred_at=NOON, entries=sides)
            for _ in range(2)
        ]
        for wrong in (sides[:1], []):
            with pytest.raises(Unbalanced):
                await ledger.post(session, "x", "x", occurred_at=NOON, entries=wrong)

    assert posted == [True, False]
    assert await balances() == {"provider": 5, "deposits": -5}


async def test_shipping_earns_what_rests_on_an_order_once() -> None:
    bought = await confirmed()
    ids = [order.id for order in bought.orders]
    line_id = bought.attempts[0].lines[0].id
    async with transaction() as session:
        owed = Owed(line_id=line_id, kind=RefundKind.DIFFERENCE, amount_fen=100)
        await refunds.queue(session, [owed], reason="tier_difference", occurred_at=NOON)
        earned = [await ledger.earn(session, ids, occurred_at=NOON) for _ in range(2)]

    assert earned == [2, 0]
    assert await balances() == {"provider": 2000, "refunds_due": -100, "sales": -1900}
    assert await broken() == []


# --- refunds --------------------------------------------------------------------------


async def test_a_refund_is_queued_once_whoever_asks_and_never_exceeds_the_capture() -> None:
    bought = await confirmed()
    order, line_id = bought.orders[0], bought.attempts[0].lines[0].id

    async def ask() -> int:
        async with transaction() as session:
            await orders.owe_refund(session, [order.id], "after_sale")
            queued = await refunds.queue_orders(
                session, [order.id], reason="after_sale", occurred_at=NOON
            )
            return len(queued)

    async with transaction() as session:
        difference = Owed(line_id=line_id, kind=RefundKind.DIFFERENCE, amount_fen=300)
        await refunds.queue(session, [difference], reason="tier", occurred_at=NOON)
    asked = await asyncio.gather(*(ask() for _ in range(8)))

    amounts = await sql("SELECT kind, amount_fen FROM refund ORDER BY kind")
    assert sum(asked) == 1
    assert [tuple(row) for row in amounts] == [("difference", 300), ("whole", 700)]
    told = "SELECT count(*) FROM outbox_message WHERE topic = 'refund.queued'"
    assert await count_of(told) == 2


async def test_nothing_goes_back_for_what_was_not_captured() -> None:
    bought = await group_of(await shop(), 1)
    async with transaction() as session:
        owed = Owed(line_id=bought.attempts[0].lines[0].id, kind=RefundKind.WHOLE, amount_fen=None)
        assert await refunds.queue(session, [owed], reason="x", occurred_at=NOON) == []


async def test_money_of_a_shipped_order_goes_back_out_of_sales() -> None:
    bought = await confirmed()
    ids = [order.id for order in bought.orders]
    async with transaction() as session:
        await orders.mark_allocated(session, ids)
        await orders.mark_shipped(session, ids, NOON)
        await ledger.earn(session, ids, occurred_at=NOON)
        await orders.owe_refund(session, ids[:1], "lost_parcel")
        await refunds.queue_orders(session, ids[:1], reason="lost_parcel", occurred_at=NOON)

    assert await balances() == {"provider": 2000, "sales": -1000, "refunds_due": -1000}


async def test_a_refund_settles_once() -> None:
    bought = await confirmed()
    async with transaction() as session:
        await orders.owe_refund(session, [bought.orders[0].id], "after_sale")
        (refund_id,) = await refunds.queue_orders(
            session, [bought.orders[0].id], reason="after_sale", occurred_at=NOON
        )
    settled = Settled(id=refund_id, provider_refund_id="5030", settled_at=NOON)

    async def settle() -> int:
        async with transaction() as session:
            return len(await refunds.settle(session, [settled]))

    assert sum(await asyncio.gather(*(settle() for _ in range(8)))) == 1
    assert await balances() == {"provider": 1000, "deposits": -1000}


async def test_a_due_refund_is_claimed_by_one_and_an_answer_begins_its_count_anew() -> None:
    bought = await confirmed()
    ids = [order.id for order in bought.orders]
    async with transaction() as session:
        await orders.owe_refund(session, ids, "after_sale")
        await refunds.queue_orders(session, ids, reason="after_sale", occurred_at=NOON)

    async def claim() -> int:
        async with transaction() as session:
            return len(await refunds.claim(session, await refunds.due_orders(session, limit=9)))

    assert sum(await asyncio.gather(*(claim() for _ in range(4)))) == 2
    async with transaction() as session:
        rows = await sql("SELECT id, attempts FROM refund")
        postponed = [Postponed(id=row.id, accepted=True, attempts=1) for row in rows]
        await refunds.postpone(session, postponed)
        aside = await refunds.set_aside(session, {rows[0].id: "ABNORMAL"})
    assert aside == {rows[0].id}
    states = await sql("SELECT state, attempts FROM refund ORDER BY state")
    assert [tuple(row) for row in states] == [("accepted", 0), ("refund_attention", 0)]


# --- orders ---------------------------------------------------------------------------


async def test_orders_go_their_way_with_a_journal_row_each_step() -> None:
    bought = await confirmed()
    ids = [order.id for order in bought.orders]
    async with transaction() as session:
        assert await orders.mark_allocated(session, ids) == set(ids)
        assert await orders.mark_allocated(session, ids) == set()
        assert await orders.mark_shipped(session, ids, NOON) == set(ids)
        assert await orders.mark_delivered(session, ids, NOON) == set(ids)

    kinds = await sql("SELECT kind FROM order_journal WHERE order_id = :id ORDER BY id", id=ids[0])
    assert [row.kind for row in kinds] == ["pay", "confirm", "allocate", "ship", "deliver"]
    (row,) = await sql(
        "SELECT claim_units, shipped_at, delivered_at FROM buyer_order WHERE id = :id", id=ids[0]
    )
    assert tuple(row) == (0, NOON, NOON)


async def test_uncovered_orders_leave_the_list_by_goods_or_peg_and_come_back() -> None:
    bought = await confirmed()
    first, second = (order.id for order in bought.orders)

    async def listed(**given: object) -> list[object]:
        async with transaction() as session:
            return [row.order_id for row in await orders.uncovered(session, **given)]  # type: ignore[arg-type] # passed through

    assert await listed() == [first, second]
    assert await listed(limit=1) == [first]
    assert await listed(skus=["mug"]) == []
    async with transaction() as session:
        await orders.mark_allocated(session, [first])
        await orders.mark_pegged(session, [second])
    assert await listed() == []
    assert await order_states(bought.orders) == ["allocated", "confirmed"]
    async with transaction() as session:
        assert await orders.restore_claims(session, {first: 1, second: 1}) == {first, second}
    assert await listed(skus=["tea"]) == [first, second]
    assert await broken() == []


async def test_forming_groups_are_demand_by_their_chance_to_complete() -> None:
    bought = await group_of(await shop(capacity=4), 3)
    await capture(money_for(bought.attempts[0]))
    await pass_time(money_world.WINDOW_SECONDS - 600)

    async with transaction() as session:
        (demand,) = await progress.forming(session)
        seen = await progress.read_progress(session, bought.group_id)

    assert (demand.sku, demand.units) == ("tea", 3)
    assert 0.0 < demand.probability < 1.0
    assert seen is not None
    assert (seen.paid, seen.held, seen.capacity) == (1, 2, 4)
    assert [(member.leader, member.paid) for member in seen.members] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert all("***" in member.name for member in seen.members)
