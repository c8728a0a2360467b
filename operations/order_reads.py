"""What a buyer sees of their orders: seat, money and parcel in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """Where a parcel was."""

    status: str
    place: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenShipment:
    """The parcel an order travels in."""

    id: UUID
    state: str
    carrier: str
    tracking_no: str | None
    tracking: str
    promised_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOrder:
    """An order as its buyer sees it."""

    id: UUID
    group_id: UUID
    campaign_id: UUID
    sku: str
    product: str
    quantity: int
    price_fen: int
    amount_fen: int
    final_price_fen: int | None  # tiered: what it cost in the end
    state: str
    group_state: str
    reserved_until: datetime
    created_at: datetime
    paid_at: datetime | None
    confirmed_at: datetime | None
    ship_by: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    closed_reason: str | None
    refunded_fen: int  # what has reached the buyer
    shipment: SeenShipment | None


async def list_orders(
    session: AsyncSession, *, user_id: UUID, before: UUID | None = None, limit: int
) -> list[SeenOrder]:
    """Return a buyer's orders, newest first.

    Args:
        before: the last one of the page before.
    """
    return await _read(session, user_id=user_id, before=before, order_id=None, limit=limit)


async def one_order(session: AsyncSession, *, user_id: UUID, order_id: UUID) -> SeenOrder | None:
    """Return a buyer's order; None when there is none, or it is somebody else's."""
    found = await _read(session, user_id=user_id, before=None, order_id=order_id, limit=1)
    return found[0] if found else None


async def tracked(session: AsyncSession, shipment_id: UUID) -> list[SeenEvent]:
    """Return what a carrier said of a parcel, oldest first."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT status, place, occurred_at FROM tracking_event"
            " WHERE shipment_id = :id ORDER BY occurred_at, event_id"
        ),
        {"id": shipment_id},
    )
    return [
        SeenEvent(status=row.status, place=row.place, occurred_at=row.occurred_at) for row in rows
    ]


async def _read(
    session: AsyncSession,
    *,
    user_id: UUID,
    before: UUID | None,
    order_id: UUID | None,
    limit: int,
) -> list[SeenOrder]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT o.id, o.group_id, o.campaign_id, o.sku, p.name AS product, o.quantity,"
            " o.price_fen, o.amount_fen, g.final_price_fen, o.state, g.state AS group_state,"
            " o.reserved_until, o.created_at, o.paid_at, o.confirmed_at, g.ship_by, o.shipped_at,"
            " o.delivered_at, o.closed_reason, (SELECT coalesce(sum(r.amount_fen), 0)"
            "  FROM refund r WHERE r.order_id = o.id AND r.state = 'succeeded') AS refunded_fen,"
            " s.id AS shipment_id, s.state AS shipment_state, s.carrier, s.tracking_no,"
            " s.tracking, s.promised_at, s.shipped_at AS parcel_shipped_at,"
            " s.delivered_at AS parcel_delivered_at FROM buyer_order o"
            " JOIN buying_group g ON g.id = o.group_id JOIN product p ON p.sku = o.sku"
            " LEFT JOIN LATERAL (SELECT s.* FROM shipment_order so"
            "  JOIN shipment s ON s.id = so.shipment_id WHERE so.order_id = o.id"
            "  AND s.state <> 'cancelled' ORDER BY s.id DESC LIMIT 1) s ON true"
            " WHERE o.user_id = :user_id"
            " AND (CAST(:order_id AS uuid) IS NULL OR o.id = CAST(:order_id AS uuid))"
            " AND (CAST(:before AS uuid) IS NULL OR o.id < CAST(:before AS uuid))"
            " ORDER BY o.id DESC LIMIT :limit"
        ),
        {"user_id": user_id, "order_id": order_id, "before": before, "limit": limit},
    )
    return _seen(rows.all())


def _seen(rows: Sequence[Any]) -> list[SeenOrder]:
    return [
        SeenOrder(
            id=row.id,
            group_id=row.group_id,
            campaign_id=row.campaign_id,
            sku=row.sku,
            product=row.product,
            quantity=row.quantity,
            price_fen=row.price_fen,
            amount_fen=row.amount_fen,
            final_price_fen=row.final_price_fen,
            state=row.state,
            group_state=row.group_state,
            reserved_until=row.reserved_until,
            created_at=row.created_at,
            paid_at=row.paid_at,
            confirmed_at=row.confirmed_at,
            ship_by=row.ship_by,
            shipped_at=row.shipped_at,
            delivered_at=row.delivered_at,
            closed_reason=row.closed_reason,
            refunded_fen=int(row.refunded_fen),
            shipment=None
            if row.shipment_id is None
            else SeenShipment(
                id=row.shipment_id,
                state=row.shipment_state,
                carrier=row.carrier,
                tracking_no=row.tracking_no,
                tracking=row.tracking,
                promised_at=row.promised_at,
                shipped_at=row.parcel_shipped_at,
                delivered_at=row.parcel_delivered_at,
            ),
        )
        for row in rows
    ]
