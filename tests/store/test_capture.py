"""Money comes in: once, whatever is repeated, late, wrong or at the same moment."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from groups.states import GroupState, LatePayment, Mode, OrderState
from kit.db import transaction
from kit.ids import new_id
from operations.capture_books import Captured
from operations.capture_payment import Heard, capture
from operations.expire_groups import release_expired
from payments.anomalies import WrongMoney
from payments.attempts import Attempt
from payments.provider import close_provider, use_provider
from payments.wechat_client import WechatPay
from tests.store import money_world
from tests.store.money_world import (
    TTL_SECONDS,
    Shop,
    broken,
    group_of,
    group_row,
    money_for,
    on_sale,
    order_states,
    pass_time,
    sit_down,
    try_to_pay,
)
from tests.store.rows import count_of, sql

REFUNDS = "SELECT count(*) FROM refund"
SUCCESSES = "SELECT count(*) FROM outbox_message WHERE topic = 'group.succeeded'"


@pytest.fixture(autouse=True)
async def _provider(store: str) -> AsyncIterator[None]:
    del store
    use_provider(
        WechatPay(money_world.pay_keys(), url="http://127.0.0.1:9", notify_url="http://shop")
    )
    yield
    await close_provider()


async def shop(**terms: object) -> Shop:
    async with transaction() as session:
        return await on_sale(session, **terms)  # type: ignore[arg-type] # passed through


def heard(name: str = "n-1") -> Heard:
    return Heard(external_id=name, kind="TRANSACTION.SUCCESS")


async def test_the_leaders_money_opens_the_group_and_starts_its_window() -> None:
    bought = await group_of(await shop(), 2)
    await pass_time(600)

    assert await capture(money_for(bought.attempts[0]), heard=heard()) is Captured.APPLIED

    group = await group_row(bought.group_id)
    ((window,),) = await sql("SELECT extract(epoch FROM deadline_at - kit_now()) FROM buying_group")
    assert (group.state, group.held_seats, group.paid_seats) == ("open", 1, 1)
    assert group.due_at == group.deadline_at
    assert 86_390 < window <= 86_400
    topics = [row[0] for row in await sql("SELECT topic FROM outbox_message ORDER BY id")]
    assert topics == ["order.paid", "group.opened"]
    assert await broken() == []


async def test_another_members_money_leaves_a_draft_waiting_for_its_leader() -> None:
    bought = await group_of(await shop(), 2)

    await capture(money_for(bought.attempts[1]))

    group = await group_row(bought.group_id)
    assert (group.state, group.leader_id) == ("draft", bought.orders[0].user_id)


async def test_the_last_paid_seat_completes_the_group_once() -> None:
    bought = await group_of(await shop(capacity=3), 3)

    for attempt in bought.attempts:
        await capture(money_for(attempt))

    group = await group_row(bought.group_id)
    assert (group.state, group.held_seats, group.paid_seats) == ("succeeded", 0, 3)
    assert group.due_at is None
    assert (group.ship_by - group.closed_at).total_seconds() == 86_400
    assert set(await order_states(bought.orders)) == {OrderState.CONFIRMED}
    assert await count_of(SUCCESSES) == 1
    assert await broken() == []


@pytest.mark.parametrize("copies", [2, 10])
async def test_a_notify_told_many_times_at_once_has_one_effect(copies: int) -> None:
    bought = await group_of(await shop(), 1)
    news = money_for(bought.attempts[0])

    told = await asyncio.gather(*(capture(news, heard=heard()) for _ in range(copies)))

    assert told.count(Captured.APPLIED) == 1
    assert await count_of("SELECT count(*) FROM ledger_transaction") == 1
    assert await count_of("SELECT count(*) FROM inbox_message WHERE state = 'applied'") == 1
    assert await broken() == []


async def test_ten_different_notifies_and_a_poll_of_one_payment_have_one_effect() -> None:
    bought = await group_of(await shop(), 1)
    news = money_for(bought.attempts[0])

    told = await asyncio.gather(
        capture(news), *(capture(news, heard=heard(f"n-{n}")) for n in range(10))
    )

    assert told.count(Captured.APPLIED) == 1
    assert await count_of("SELECT count(*) FROM ledger_entry") == 2
    assert await broken() == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"amount_fen": 999}, "wrong amount"),
        ({"currency": "USD"}, "wrong currency"),
        ({"merchant_id": "1900000000"}, "wrong merchant"),
        ({"app_id": "wx0"}, "wrong app"),
    ],
)
async def test_wrong_money_is_recorded_and_changes_nothing(
    wrong: dict[str, Any], reason: str
) -> None:
    bought = await group_of(await shop(), 1)

    for _ in range(2):
        with pytest.raises(WrongMoney, match=reason):
            await capture(money_for(bought.attempts[0], **wrong), heard=heard())

    anomalies = await sql("SELECT external_id, reason FROM payment_anomaly")
    assert [tuple(row) for row in anomalies] == [("n-1", reason)]
    assert await order_states(bought.orders) == [OrderState.RESERVED]
    assert await count_of("SELECT count(*) FROM ledger_transaction") == 0
    assert await count_of("SELECT count(*) FROM inbox_message") == 0


async def test_money_for_an_unknown_order_or_twice_for_one_is_recorded() -> None:
    bought = await group_of(await shop(), 2)
    await capture(money_for(bought.attempts[0]))
    first, second = (money_for(attempt) for attempt in bought.attempts)
    stranger = replace(second, lines=(replace(second.lines[0], line_id=new_id()),))
    used = first.lines[0].transaction_id
    taken = replace(second, lines=(replace(second.lines[0], transaction_id=used),))

    with pytest.raises(WrongMoney, match="unknown order"):
        await capture(stranger)
    with pytest.raises(WrongMoney, match="paid twice"):
        await capture(money_for(bought.attempts[0], mark="other"))
    with pytest.raises(WrongMoney, match="transaction used before"):
        await capture(taken)

    assert await count_of("SELECT count(*) FROM payment_anomaly") == 3
    assert await broken() == []


async def test_one_payment_pays_seats_in_several_groups() -> None:
    tea = await shop(sku="tea", capacity=2)
    mug = await shop(sku="mug", capacity=2)
    first, second = await group_of(tea, 1), await group_of(mug, 1)
    async with transaction() as session:
        leader = first.orders[0].user_id
        group_ids = [
            await money_world.add_group(session, on, state=GroupState.DRAFT) for on in (tea, mug)
        ]
        orders = [await sit_down(session, group_id, user_id=leader) for group_id in group_ids]
        attempt = await try_to_pay(session, *orders)
    assert attempt.combined

    told = await asyncio.gather(*(capture(money_for(attempt), heard=heard()) for _ in range(4)))

    assert told.count(Captured.APPLIED) == 1
    assert set(await order_states(orders)) == {OrderState.PAID}
    assert await order_states([*first.orders, *second.orders]) == [OrderState.RESERVED] * 2
    assert await broken() == []


async def _late(bought: money_world.Bought) -> None:
    await pass_time(TTL_SECONDS + 1)
    await release_expired()
    assert OrderState.RELEASED in await order_states(bought.orders)


async def test_late_money_takes_a_seat_again_when_there_is_room() -> None:
    bought = await group_of(await shop(capacity=3), 2)
    await capture(money_for(bought.attempts[0]))
    await _late(bought)

    await capture(money_for(bought.attempts[1]))

    assert set(await order_states(bought.orders)) == {OrderState.PAID}
    assert (await group_row(bought.group_id)).paid_seats == 2
    assert await count_of(REFUNDS) == 0
    assert await broken() == []


@pytest.mark.parametrize("obstacle", ["policy", "full", "budget", "rejoined", "terminal"])
async def test_late_money_without_room_goes_back(obstacle: str) -> None:
    policy = LatePayment.REFUND if obstacle == "policy" else LatePayment.REOPEN_IF_ROOM
    bought = await group_of(await shop(capacity=2, late_payment=policy), 2)
    await capture(money_for(bought.attempts[0]))
    await _late(bought)
    late_user = bought.orders[1].user_id
    async with transaction() as session:
        connection = await session.connection()
        if obstacle == "full":
            await sit_down(session, bought.group_id)
        elif obstacle == "rejoined":
            # The same buyer holds a live seat elsewhere, and the limit is one.
            other = await money_world.add_group(
                session, Shop(campaign_id=bought.orders[0].campaign_id, sku="tea", capacity=2)
            )
            await sit_down(session, other, user_id=late_user)
        elif obstacle == "budget":
            await connection.exec_driver_sql("UPDATE seat_budget SET budget_units = 1")
    if obstacle == "terminal":
        async with transaction() as session:
            order = await sit_down(session, bought.group_id)
            attempt = await try_to_pay(session, order)
        await capture(money_for(attempt))

    await capture(money_for(bought.attempts[1]))

    ((state,),) = await sql(
        "SELECT state FROM payment_line WHERE id = :id", id=bought.attempts[1].lines[0].id
    )
    (refund,) = await sql("SELECT amount_fen, state, reason FROM refund")
    assert state == "orphaned"
    assert tuple(refund) == (1000, "queued", "late_payment")
    assert (await order_states(bought.orders))[1] is OrderState.RELEASED
    assert await broken() == []


async def test_a_tiered_group_at_capacity_pays_differences_back_to_the_fen() -> None:
    ladder = [{"members": 2, "price_fen": 899}, {"members": 3, "price_fen": 777}]
    tiered = await shop(capacity=3, min_size=2, mode=Mode.TIERED, tiers=ladder)
    bought = await group_of(tiered, 3, quantity=3)

    for attempt in bought.attempts:
        await capture(money_for(attempt))

    group = await group_row(bought.group_id)
    refunds = await sql("SELECT kind, amount_fen FROM refund")
    assert (group.state, group.final_price_fen) == ("succeeded", 777)
    assert [tuple(row) for row in refunds] == [("difference", 3000 - 3 * 777)] * 3
    assert set(await order_states(bought.orders)) == {OrderState.CONFIRMED}
    assert await broken() == []


async def test_a_capture_of_one_order_takes_two_statements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bought = await group_of(await shop(), 1)
    statements = _count_statements(monkeypatch)

    await capture(money_for(bought.attempts[0]), heard=heard())

    assert len(statements) == 2


def _count_statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from sqlalchemy.ext.asyncio import AsyncConnection  # noqa: PLC0415 - patched here only

    seen: list[str] = []
    really = AsyncConnection.execute

    async def counting(self: AsyncConnection, statement: object, *given: object) -> object:
        seen.append(str(statement))
        return await really(self, statement, *given)  # type: ignore[call-overload] # as given

    monkeypatch.setattr(AsyncConnection, "execute", counting)
    return seen


async def test_eight_payers_on_three_seats_flip_the_group_once_in_a_hundred_rounds() -> None:
    on = await shop(capacity=3, per_user_limit=8)
    for _ in range(100):
        bought = await group_of(on, 3)
        # Five more hold seats that were released: their money comes at the same moment.
        late = await _released_seats(bought.group_id, 5)

        told = await asyncio.gather(
            *(capture(money_for(attempt)) for attempt in (*bought.attempts, *late))
        )

        assert told == [Captured.APPLIED] * 8
        assert (await group_row(bought.group_id)).paid_seats == 3
    assert await count_of(SUCCESSES) == 100
    assert await count_of(REFUNDS) == 500
    assert await broken() == []


async def _released_seats(group_id: UUID, count: int) -> list[Attempt]:
    made = []
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("UPDATE buying_group SET capacity = 99 WHERE id = :id"), {"id": group_id}
        )
        orders = [await sit_down(session, group_id) for _ in range(count)]
        made = [await try_to_pay(session, order) for order in orders]
        await connection.execute(
            text(
                "WITH r AS (UPDATE buyer_order SET state = 'released', claim_units = 0"
                " WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING id, group_id), j AS ("
                " INSERT INTO order_journal (id, order_id, group_id, kind)"
                " SELECT gen_random_uuid(), id, group_id, 'release' FROM r), b AS ("
                " UPDATE seat_budget SET claimed_units = claimed_units - :n,"
                " taken_seats = taken_seats - :n)"
                " UPDATE buying_group SET held_seats = held_seats - :n, capacity = 3"
                " WHERE id = :group_id"
            ),
            {"ids": [order.id for order in orders], "n": count, "group_id": group_id},
        )
    return made


async def test_pay_against_expiry_two_hundred_rounds_loses_nothing() -> None:
    on = await shop(capacity=5, per_user_limit=1000, budget_units=100_000)
    rounds = [await group_of(on, 2) for _ in range(200)]
    for bought in rounds:
        await capture(money_for(bought.attempts[0]))
    await pass_time(TTL_SECONDS + 1)

    async def pay(bought: money_world.Bought) -> None:
        await capture(money_for(bought.attempts[1]))

    async def expire() -> None:
        for _ in range(60):
            await release_expired(limit=5)

    for start in range(0, 200, 20):
        await asyncio.gather(expire(), *(pay(bought) for bought in rounds[start : start + 20]))

    states = await order_states([bought.orders[1] for bought in rounds])
    # In time or late with room: every payer sits in the end.
    assert states == [OrderState.PAID] * 200
    assert await count_of(REFUNDS) == 0
    assert await broken() == []
