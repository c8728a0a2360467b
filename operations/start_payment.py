"""A buyer starts to pay: one attempt for the orders named, prepared at the provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import GroupState, OrderState
from kit.db import sqlstate, transaction
from kit.errors import Conflict, NotFound, Unavailable, Unprocessable
from kit.settings import settings
from operations.poll_payments import Resolved, resolve
from payments import attempts
from payments.attempts import Attempt
from payments.provider import provider
from payments.wechat_client import ProviderRefused
from payments.wechat_messages import PrepayLine, PrepayTerms

# WeChat Pay: a combined payment has 2 to 10 orders; a single one is an ordinary payment.
MOST_ORDERS: Final = 10
_UNIQUE_VIOLATION: Final = "23505"
_ROUNDS: Final = 3
_OVER: Final = frozenset({"ORDER_CLOSED", "ORDERCLOSED", "PARAM_ERROR"})
_PAID: Final = frozenset({"ORDERPAID", "ORDER_PAID"})


class NoSuchOrder(NotFound):
    """An order that does not exist, or is not the buyer's."""

    code: ClassVar[str] = "not_found"


class NotPayable(Conflict):
    """The order was paid, released or refunded, or its group has ended."""

    code: ClassVar[str] = "order_not_payable"

    def __init__(self, order_id: UUID, *, why: str) -> None:
        super().__init__(f"order {order_id} cannot be paid: {why}")
        self.order_id = order_id


class WrongOrders(Unprocessable):
    """No order, the same one twice, or more than one payment takes."""

    code: ClassVar[str] = "wrong_orders"


class EarlierAttempt(Unavailable):
    """Another attempt for one of the orders could not be closed; try again."""

    code: ClassVar[str] = "earlier_payment_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the mini-program needs to let the buyer pay."""

    payment_id: UUID
    provider: str
    amount_fen: int
    expires_at: datetime
    pay_params: dict[str, str]
    lines: tuple[attempts.Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    attempt: Attempt
    openid: str
    descriptions: dict[UUID, str]  # by order


async def start_payment(*, user_id: UUID, order_ids: Sequence[UUID]) -> Started:
    """Return the attempt to pay these orders; repeated for the same orders it is the same one.

    An attempt for another choice of orders is closed first, so that no order has two.

    Raises:
        NoSuchOrder: an order is unknown or somebody else's.
        NotPayable: an order is not waiting for money.
        WrongOrders: none, too many, or one twice.
        Unavailable: the provider does not answer; repeating is safe.
    """
    if not 1 <= len(set(order_ids)) == len(order_ids) <= MOST_ORDERS:
        raise WrongOrders(f"a payment is for 1 to {MOST_ORDERS} different orders")
    for _ in range(_ROUNDS):
        prepared = await _prepare(user_id, order_ids)
        if isinstance(prepared, _Prepared):
            return await _start(prepared)
        for payment_id in prepared:
            if await resolve(payment_id, close=True) in {Resolved.OPEN, Resolved.UNKNOWN}:
                raise EarlierAttempt("an earlier payment of these orders cannot be closed now")
    raise EarlierAttempt("these orders are being paid in another way at this moment")


async def _prepare(user_id: UUID, order_ids: Sequence[UUID]) -> _Prepared | list[UUID]:
    """Return the attempt, or the ids of others that stand in its way."""
    try:
        async with transaction() as session:
            return await _make(session, user_id, order_ids)
    except DBAPIError as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
    # Somebody made an attempt for one of the orders at the same time.
    async with transaction() as session:
        return await _make(session, user_id, order_ids)


async def _make(
    session: AsyncSession, user_id: UUID, order_ids: Sequence[UUID]
) -> _Prepared | list[UUID]:
    connection = await session.connection()
    rows = (
        await connection.execute(
            text(
                "SELECT o.id, o.state, o.amount_fen, o.reserved_until,"
                " o.reserved_until <= kit_now() AS late, g.state AS group_state, b.openid, p.name,"
                " l.payment_id FROM buyer_order o JOIN buying_group g ON g.id = o.group_id"
                " JOIN buyer b ON b.id = o.user_id JOIN product p ON p.sku = o.sku"
                " LEFT JOIN payment_line l ON l.order_id = o.id AND l.state = 'pending'"
                " WHERE o.id = ANY(CAST(:orders AS uuid[])) AND o.user_id = :user_id"
                " ORDER BY o.id FOR UPDATE OF o"
            ),
            {"orders": list(order_ids), "user_id": user_id},
        )
    ).all()
    if len(rows) != len(order_ids):
        raise NoSuchOrder("there is no such order")
    for row in rows:
        _check_payable(row)
    descriptions = {row.id: row.name for row in rows}
    openid = rows[0].openid
    standing = {row.payment_id for row in rows if row.payment_id is not None}
    if not standing:
        attempt = await attempts.make(
            session,
            user_id=user_id,
            provider=settings().pay_provider,
            amounts_fen={row.id: row.amount_fen for row in rows},
            expires_at=min(row.reserved_until for row in rows),
        )
        return _Prepared(attempt=attempt, openid=openid, descriptions=descriptions)
    found = await attempts.read(session, sorted(standing))
    if len(found) == 1 and found[0].order_ids == set(order_ids):
        return _Prepared(attempt=found[0], openid=openid, descriptions=descriptions)
    return [attempt.id for attempt in found]


def _check_payable(row: Any) -> None:
    if row.state != OrderState.RESERVED:
        raise NotPayable(row.id, why=f"it is {row.state}")
    if row.late:
        raise NotPayable(row.id, why="its time to pay has passed")
    if row.group_state not in {GroupState.DRAFT, GroupState.OPEN}:
        raise NotPayable(row.id, why=f"its group is {row.group_state}")


async def _start(prepared: _Prepared) -> Started:
    attempt = prepared.attempt
    prepay_id = attempt.prepay_id or await _prepay(prepared)
    return Started(
        payment_id=attempt.id,
        provider=settings().pay_provider,
        amount_fen=attempt.amount_fen,
        expires_at=attempt.expires_at,
        pay_params=provider().pay_params(prepay_id),
        lines=attempt.lines,
    )


async def _prepay(prepared: _Prepared) -> str:
    attempt = prepared.attempt
    terms = PrepayTerms(
        payment_id=attempt.id,
        openid=prepared.openid,
        expires_at=attempt.expires_at,
        lines=[
            PrepayLine(
                line_id=line.id,
                amount_fen=line.amount_fen,
                description=prepared.descriptions[line.order_id],
            )
            for line in attempt.lines
        ],
    )
    first = attempt.lines[0].order_id
    try:
        prepay_id = await provider().prepay(terms)
    except ProviderRefused as refused:
        if refused.reason in _PAID:
            await resolve(attempt.id)
            raise NotPayable(first, why="it is paid") from refused
        if refused.reason in _OVER:
            await resolve(attempt.id, close=True)
            raise NotPayable(first, why="its time to pay has passed") from refused
        raise
    async with transaction() as session:
        await attempts.keep_prepay(session, attempt.id, prepay_id)
    return prepay_id
