"""A member leaves, or is sent away: the seat, the goods and the money each go back at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import departures, lifecycle, orders, settlement
from groups.orders import Moved
from groups.settlement import LockedGroup
from groups.states import OrderState
from inventory import budgets, pegs, reservations
from kit.db import repeat_on_deadlock, transaction
from kit.errors import Conflict, NotFound
from payments import attempts, refunds

BUYER_CANCELLED: Final = "buyer_cancelled"
AFTER_SALE: Final = "after_sale"
_UNSHIPPED: Final = frozenset({OrderState.CONFIRMED, OrderState.WON, OrderState.ALLOCATED})
_ENDED: Final = frozenset(
    {
        OrderState.RELEASED,
        OrderState.REFUND_DUE,
        OrderState.REFUNDING,
        OrderState.REFUNDED,
        OrderState.REFUND_ATTENTION,
    }
)


class NoSuchOrder(NotFound):
    """An order that does not exist, or is not the buyer's."""

    code: ClassVar[str] = "not_found"


class OrderUnderWay(Conflict):
    """The parcel is being made or has left: too late to cancel."""

    code: ClassVar[str] = "order_under_way"

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"the parcel of order {order_id} is under way")
        self.order_id = order_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An order under its lock."""

    id: UUID
    group_id: UUID
    sku: str
    state: OrderState


async def cancel_order(*, user_id: UUID, order_id: UUID) -> OrderState:
    """Let a buyer give up an order; return its state. Cancelling twice is cancelling once.

    An unpaid seat is released. Before the group's success a paid one is refunded and a leader
    hands over; after it, it is an after-sale refund that never undoes the success.

    Raises:
        NoSuchOrder: it is unknown or somebody else's.
        OrderUnderWay: its parcel is being made or has left.
    """
    return await repeat_on_deadlock(lambda: _cancel(user_id, order_id))


async def _cancel(user_id: UUID, order_id: UUID) -> OrderState:
    async with transaction() as session:
        connection = await session.connection()
        found = await connection.execute(
            text("SELECT 1 FROM buyer_order WHERE id = :id AND user_id = :user_id"),
            {"id": order_id, "user_id": user_id},
        )
        if found.one_or_none() is None:
            raise NoSuchOrder("there is no such order")
        groups, seen = await _lock(session, [order_id])
        (order,) = seen
        if order.state in _ENDED:
            return order.state
        if order.state is OrderState.RESERVED:
            await _release(session, [order_id], groups)
        elif order.state is OrderState.PAID:
            await _refund(session, seen, groups, reason=BUYER_CANCELLED)
        elif order.state in _UNSHIPPED:
            await _refund(session, seen, groups, reason=AFTER_SALE)
        else:
            raise OrderUnderWay(order_id)
        state = await connection.execute(
            text("SELECT state FROM buyer_order WHERE id = :id"), {"id": order_id}
        )
        return OrderState(state.scalar_one())


async def refund_orders(session: AsyncSession, order_ids: Sequence[UUID], *, reason: str) -> int:
    """Owe back everything paid for live, unshipped orders; return how many that were.

    The whole act, in the caller's transaction, which holds no lock yet: seats, claims,
    reservations, pegs and money. Orders that are not live and unshipped are passed over.

    Raises:
        OrderUnderWay: a parcel is being made or has left.
    """
    groups, seen = await _lock(session, order_ids)
    owing = [order for order in seen if order.state in {OrderState.PAID, *_UNSHIPPED}]
    return len(await _refund(session, owing, groups, reason=reason))


async def _lock(
    session: AsyncSession, order_ids: Sequence[UUID]
) -> tuple[dict[UUID, LockedGroup], list[_Seen]]:
    """Lock budgets, groups and orders, in this order; SKU and group of an order never change."""
    connection = await session.connection()
    ids = {"ids": list(order_ids)}
    rows = (
        await connection.execute(
            text("SELECT sku, group_id FROM buyer_order WHERE id = ANY(CAST(:ids AS uuid[]))"), ids
        )
    ).all()
    await budgets.lock(session, {row.sku for row in rows})
    groups = await settlement.lock(session, {row.group_id for row in rows})
    locked = await connection.execute(
        text(
            "SELECT id, group_id, sku, state FROM buyer_order"
            " WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
        ),
        ids,
    )
    seen = [
        _Seen(id=row.id, group_id=row.group_id, sku=row.sku, state=OrderState(row.state))
        for row in locked
    ]
    return groups, seen


async def _release(
    session: AsyncSession, order_ids: Sequence[UUID], groups: dict[UUID, LockedGroup]
) -> None:
    released = await orders.release(session, order_ids, BUYER_CANCELLED)
    await settlement.give_back(session, released)
    # The provider shall not take money for it any more.
    await attempts.hurry(session, order_ids)
    await settlement.tell_released(session, released)
    await departures.leave(session, released, groups)


async def _refund(
    session: AsyncSession,
    seen: Sequence[_Seen],
    groups: dict[UUID, LockedGroup],
    *,
    reason: str,
) -> list[Moved]:
    if not seen:
        return []
    ids = [order.id for order in seen]
    moved = await orders.owe_refund(session, ids, reason)
    await settlement.give_back(session, moved)
    now = max(group.now for group in groups.values())
    await refunds.queue_orders(session, ids, reason=reason, occurred_at=now)
    await reservations.free(session, ids)
    await pegs.free(session, ids)
    await _refuse_under_way(session, ids)
    running = [order for order in moved if groups[order.group_id].view.state in lifecycle.RUNNING]
    await departures.leave(session, running, groups)
    return moved


async def _refuse_under_way(session: AsyncSession, order_ids: Sequence[UUID]) -> None:
    """Refuse when a parcel is past planning; a planned one is made anew without the order."""
    connection = await session.connection()
    parcels = await connection.execute(
        text(
            "SELECT so.order_id, s.state FROM shipment_order so"
            " JOIN shipment s ON s.id = so.shipment_id"
            " WHERE so.order_id = ANY(CAST(:ids AS uuid[])) AND s.state <> 'cancelled'"
            " ORDER BY s.id FOR UPDATE OF s"
        ),
        {"ids": list(order_ids)},
    )
    for row in parcels:
        if row.state != "planned":
            raise OrderUnderWay(row.order_id)
