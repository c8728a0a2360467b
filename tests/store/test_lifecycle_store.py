"""Seats expire, groups end at their deadline, members leave: on the real database."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text

from groups import orders
from groups.states import GroupState, Mode, OrderState
from inventory import reservations
from inventory.reservations import Want
from kit.clock import business_now
from kit.db import transaction
from kit.ids import new_id
from logistics.tables import Carrier, Shipment, ShipmentOrder, ShipmentState, Warehouse
from operations.cancel_order import (
    NoSuchOrder,
    OrderUnderWay,
    cancel_order,
    refund_orders,
)
from operations.capture_payment import capture
from operations.expire_groups import release_expired, settle_due, sweep
from payments.provider import close_provider, use_provider
from payments.wechat_client import WechatPay
from tests.store import inventory_world, money_world
from tests.store.money_world import (
    TTL_SECONDS,
    WINDOW_SECONDS,
    Bought,
    Shop,
    broken,
    group_of,
    group_row,
    money_for,
    on_sale,
    order_states,
    pass_time,
)
from tests.store.rows import count_of, sql


@pytest.fixture(autouse=True)
async def _provider(store: str) -> AsyncIterator[None]:
    """A provider that cannot be reached."""
    del store
    use_provider(
        WechatPay(money_world.pay_keys(), url="http://127.0.0.1:9", notify_url="http://shop")
    )
    yield
    await close_provider()


async def shop(**terms: object) -> Shop:
    async with transaction() as session:
        return await on_sale(session, **terms)  # type: ignore[arg-type] # passed through


async def pay(bought: Bought, *members: int) -> None:
    for member in members:
        await capture(money_for(bought.attempts[member]))


async def budget() -> tuple[int, int]:
    ((claimed, taken),) = await sql("SELECT claimed_units, taken_seats FROM seat_budget")
    return claimed, taken


# --- seats ----------------------------------------------------------------------------


async def test_seats_that_were_not_paid_in_time_are_given_back() -> None:
    bought = await group_of(await shop(), 3)
    await pay(bought, 0)
    assert await release_expired() == 0
    await pass_time(TTL_SECONDS + 1)

    assert await release_expired() == 2

    assert await order_states(bought.orders) == ["paid", "released", "released"]
    assert await budget() == (1, 1)
    assert (await group_row(bought.group_id)).state == "open"
    assert await broken() == []


async def test_a_draft_that_nobody_paid_for_is_cancelled_with_its_last_seat() -> None:
    bought = await group_of(await shop(), 1)
    await pass_time(TTL_SECONDS + 1)

    await release_expired()

    group = await group_row(bought.group_id)
    assert (group.state, group.due_at) == ("cancelled", None)
    assert (
        await count_of("SELECT count(*) FROM outbox_message WHERE topic = 'group.cancelled'") == 1
    )
    assert await budget() == (0, 0)
    assert await broken() == []


async def test_a_draft_whose_leader_never_pays_goes_to_the_first_who_did() -> None:
    bought = await group_of(await shop(), 3)
    await pay(bought, 2)
    await pass_time(TTL_SECONDS + 1)

    await release_expired()

    group = await group_row(bought.group_id)
    assert (group.state, group.leader_id) == ("open", bought.orders[2].user_id)
    assert group.due_at == group.deadline_at
    assert await broken() == []


async def test_two_sweepers_release_a_seat_once() -> None:
    bought = [await group_of(await shop(capacity=9), 5)]
    await pass_time(TTL_SECONDS + 1)

    await asyncio.gather(release_expired(), release_expired(), release_expired())

    assert set(await order_states(bought[0].orders)) == {OrderState.RELEASED}
    assert await budget() == (0, 0)
    assert await broken() == []


# --- deadlines ------------------------------------------------------------------------


async def test_a_group_short_at_its_deadline_fails_and_owes_everything_back() -> None:
    bought = await group_of(await shop(), 3)
    await pay(bought, 0, 1)
    await pass_time(TTL_SECONDS + 1)
    await release_expired()
    await pass_time(WINDOW_SECONDS)

    assert await settle_due() == 1

    group = await group_row(bought.group_id)
    refunds = await sql("SELECT amount_fen, kind, state FROM refund")
    assert (group.state, group.held_seats, group.paid_seats) == ("failed", 0, 0)
    assert await order_states(bought.orders) == ["refund_due", "refund_due", "released"]
    assert [tuple(row) for row in refunds] == [(1000, "whole", "queued")] * 2
    assert await budget() == (0, 0)
    assert await settle_due() == 0
    assert await broken() == []


async def test_a_group_with_money_on_its_way_closes_until_its_grace_is_over() -> None:
    bought = await group_of(await shop(), 3)
    await pay(bought, 0)
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE buyer_order SET reserved_until = reserved_until + interval '2 days'"
        )
    await pass_time(WINDOW_SECONDS + 1)

    await settle_due()
    assert (await group_row(bought.group_id)).state == "closing"
    await pay(bought, 1)  # the notify comes after all
    await settle_due()
    assert (await group_row(bought.group_id)).state == "closing"
    await pass_time(700)
    await settle_due()

    assert (await group_row(bought.group_id)).state == "failed"
    await pay(bought, 2)  # and this one too late
    assert await order_states(bought.orders) == ["refund_due", "refund_due", "released"]
    assert await count_of("SELECT count(*) FROM refund") == 3
    assert await broken() == []


async def test_the_last_payment_completes_a_closing_group() -> None:
    bought = await group_of(await shop(capacity=2), 2)
    await pay(bought, 0)
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE buyer_order SET reserved_until = reserved_until + interval '2 days'"
        )
    await pass_time(WINDOW_SECONDS + 1)
    await settle_due()

    await pay(bought, 1)

    assert (await group_row(bought.group_id)).state == "succeeded"
    assert await broken() == []


async def test_a_tiered_group_succeeds_at_its_deadline_at_the_tier_it_reached() -> None:
    ladder = [{"members": 2, "price_fen": 899}, {"members": 3, "price_fen": 777}]
    bought = await group_of(await shop(capacity=4, min_size=2, mode=Mode.TIERED, tiers=ladder), 3)
    await pay(bought, 0, 1)
    await pass_time(TTL_SECONDS + 1)
    await release_expired()
    await pass_time(WINDOW_SECONDS)

    await settle_due()

    group = await group_row(bought.group_id)
    refunds = await sql("SELECT kind, amount_fen FROM refund")
    assert (group.state, group.final_price_fen, group.paid_seats) == ("succeeded", 899, 2)
    assert [tuple(row) for row in refunds] == [("difference", 101)] * 2
    assert await order_states(bought.orders) == ["confirmed", "confirmed", "released"]
    assert await budget() == (2, 2)
    assert await broken() == []


async def test_a_thousand_groups_that_end_together_queue_every_refund_once() -> None:
    on = await shop(capacity=2, budget_units=10_000, per_user_limit=10_000)
    async with transaction(long=True) as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "WITH u AS (INSERT INTO buyer (id, openid) SELECT gen_random_uuid(), 'u' || n"
                "  FROM generate_series(1, 1000) n RETURNING id),"
                " g AS (INSERT INTO buying_group (id, campaign_id, version, sku, mode, state,"
                "  capacity, min_size, price_fen, units_per_seat, per_user_limit,"
                "  seat_ttl_seconds, ship_within_seconds, late_payment_policy, warehouse_policy,"
                "  leader_id, paid_seats, deadline_at, due_at) SELECT gen_random_uuid(),"
                "  :campaign, 1, 'tea', 'fixed', 'open', 2, 2, 1000, 1, 1, 900, 86400,"
                "  'refund', 'whole', id, 1, kit_now(), kit_now() FROM u RETURNING id, leader_id),"
                " o AS (INSERT INTO buyer_order (id, group_id, campaign_id, user_id, sku,"
                "  quantity, units, price_fen, amount_fen, state, claim_units, province, city,"
                "  address, reserved_until, paid_at) SELECT gen_random_uuid(), id, :campaign,"
                "  leader_id, 'tea', 1, 1, 1000, 1000, 'paid', 1, '31', '31', '{}', kit_now(),"
                "  kit_now() FROM g RETURNING id, user_id),"
                " p AS (INSERT INTO payment (id, user_id, provider, state, amount_fen, expires_at)"
                "  SELECT id, user_id, 'sandbox', 'captured', 1000, kit_now() FROM o),"
                " l AS (INSERT INTO payment_line (id, payment_id, order_id, amount_fen, state,"
                "  transaction_id, captured_at) SELECT id, id, id, 1000, 'captured', id::text,"
                "  kit_now() FROM o),"
                " j AS (INSERT INTO order_journal (id, order_id, group_id, kind)"
                "  SELECT id, id, id, 'pay' FROM o),"
                " t AS (INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
                "  SELECT id, 'capture', 'capture:' || id, kit_now() FROM o),"
                " e AS (INSERT INTO ledger_entry (id, transaction_id, account, order_id,"
                "  amount_fen) SELECT gen_random_uuid(), o.id, s.account, o.id, s.fen FROM o,"
                "  (VALUES ('provider', 1000), ('deposits', -1000)) AS s (account, fen))"
                " UPDATE seat_budget SET claimed_units = 1000, taken_seats = 1000"
            ),
            {"campaign": on.campaign_id},
        )

    reports = await asyncio.gather(sweep(), sweep())

    assert sum(report.groups.get("fail", 0) for report in reports) == 1000
    assert await count_of("SELECT count(*) FROM refund") == 1000
    assert await budget() == (0, 0)
    assert await broken() == []


# --- leaving --------------------------------------------------------------------------


async def test_giving_up_an_unpaid_seat_releases_it() -> None:
    bought = await group_of(await shop(), 2)
    user_id, order_id = bought.orders[1].user_id, bought.orders[1].id

    for _ in range(2):
        assert await cancel_order(user_id=user_id, order_id=order_id) is OrderState.RELEASED

    assert await budget() == (1, 1)
    assert (await group_row(bought.group_id)).held_seats == 1
    assert await count_of("SELECT count(*) FROM payment WHERE poll_at <= kit_now()") == 1
    assert await broken() == []


async def test_a_leader_who_leaves_hands_over_to_the_earliest_paid_member() -> None:
    bought = await group_of(await shop(capacity=4), 3)
    await pay(bought, 0, 2, 1)
    before = await group_row(bought.group_id)

    state = await cancel_order(user_id=bought.orders[0].user_id, order_id=bought.orders[0].id)

    group = await group_row(bought.group_id)
    assert state is OrderState.REFUND_DUE
    assert (group.state, group.leader_id) == ("open", bought.orders[2].user_id)
    assert (group.paid_seats, group.deadline_at) == (2, before.deadline_at)
    assert await count_of("SELECT count(*) FROM refund") == 1
    assert await broken() == []


async def test_a_leader_who_leaves_alone_ends_the_group() -> None:
    bought = await group_of(await shop(), 1)
    await pay(bought, 0)

    await cancel_order(user_id=bought.orders[0].user_id, order_id=bought.orders[0].id)

    assert (await group_row(bought.group_id)).state == "cancelled"
    assert await budget() == (0, 0)
    assert await broken() == []


async def test_leaving_after_success_is_a_refund_that_leaves_the_success() -> None:
    bought = await group_of(await shop(capacity=2), 2)
    await pay(bought, 0, 1)

    state = await cancel_order(user_id=bought.orders[0].user_id, order_id=bought.orders[0].id)

    group = await group_row(bought.group_id)
    assert state is OrderState.REFUND_DUE
    assert (group.state, group.paid_seats) == ("succeeded", 2)
    assert await budget() == (1, 1)
    assert await broken() == []


async def test_goods_of_an_allocated_order_are_free_again_when_it_is_given_up() -> None:
    bought = await group_of(await shop(capacity=2, budget_units=0), 2)
    await pay(bought, 0, 1)
    ids = [order.id for order in bought.orders]
    async with transaction() as session:
        await inventory_world.add_stock(session, money_world.SKU, 5)
        reserved = await reservations.reserve(
            session,
            [Want(order_id=one, sku=money_world.SKU, warehouse="east", units=1) for one in ids],
        )
        assert await orders.mark_allocated(session, sorted(reserved)) == set(ids)
        before = await inventory_world.standing(session, money_world.SKU)
    assert (before.claimed, before.taken, before.reserved) == (0, 2, 2)

    await cancel_order(user_id=bought.orders[0].user_id, order_id=ids[0])

    async with transaction() as session:
        after = await inventory_world.standing(session, money_world.SKU)
    assert (after.claimed, after.taken, after.reserved) == (0, 1, 1)
    assert after.budget == before.budget + 1
    assert await broken() == []


async def test_a_parcel_under_way_is_too_late_and_changes_nothing() -> None:
    bought = await group_of(await shop(capacity=2), 2)
    await pay(bought, 0, 1)
    await _ship(bought.orders[0].id, bought.group_id, state=ShipmentState.LOCKED)

    with pytest.raises(OrderUnderWay):
        await cancel_order(user_id=bought.orders[0].user_id, order_id=bought.orders[0].id)

    assert await order_states(bought.orders) == ["confirmed", "confirmed"]
    assert await count_of("SELECT count(*) FROM refund") == 0
    assert await broken() == []


async def _ship(order_id: UUID, group_id: UUID, *, state: ShipmentState) -> None:
    async with transaction() as session:
        session.add(
            Warehouse(
                code="east", name="East", province="31", city="31", lon=0, lat=0, daily_parcels=9
            )
        )
        session.add(Carrier(code="swift", name="Swift"))
        await session.flush()
        parcel = Shipment(
            warehouse="east",
            carrier="swift",
            province="31",
            city="31",
            weight_grams=500,
            state=state,
            created_at=await business_now(session),
        )
        session.add(parcel)
        await session.flush()
        session.add(
            ShipmentOrder(
                shipment_id=parcel.id, order_id=order_id, group_id=group_id, sku="tea", units=1
            )
        )


async def test_nobody_gives_up_what_is_not_theirs() -> None:
    bought = await group_of(await shop(), 1)

    with pytest.raises(NoSuchOrder):
        await cancel_order(user_id=new_id(), order_id=bought.orders[0].id)
    with pytest.raises(NoSuchOrder):
        await cancel_order(user_id=bought.orders[0].user_id, order_id=new_id())


async def test_operations_refund_live_orders_whole_and_pass_over_the_dead() -> None:
    bought = await group_of(await shop(capacity=2), 2)
    await pay(bought, 0, 1)
    ids = [order.id for order in bought.orders]
    await cancel_order(user_id=bought.orders[0].user_id, order_id=ids[0])

    async with transaction() as session:
        assert await refund_orders(session, ids, reason="shortage") == 1

    assert await count_of("SELECT count(*) FROM refund") == 2
    assert (await group_row(bought.group_id)).state == GroupState.SUCCEEDED
    assert await broken() == []


async def test_leaving_races_with_the_last_payment_fifty_rounds() -> None:
    on = await shop(capacity=2, per_user_limit=100)
    for _ in range(50):
        bought = await group_of(on, 2)
        await pay(bought, 0)
        leader = bought.orders[0]

        await asyncio.gather(
            capture(money_for(bought.attempts[1])),
            cancel_order(user_id=leader.user_id, order_id=leader.id),
        )

        group = await group_row(bought.group_id)
        assert group.state in {"succeeded", "open"}
        assert (await order_states(bought.orders))[0] is OrderState.REFUND_DUE
    assert await broken() == []
