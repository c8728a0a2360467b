"""Take in what really left a warehouse: goods, parcels, orders and their money, in one act."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders
from inventory import ledger as goods
from inventory import reservations
from inventory.projection import BelowZero, Movement
from inventory.tables import Bucket, MovementType
from kit import outbox
from kit.inbox import Letter
from operations.errors import CannotApply
from operations.settle_deliveries import settle_deliveries
from payments import ledger as money


class _Left(Struct, frozen=True):
    shipment_id: UUID
    tracking_no: str


class _Despatched(Struct, frozen=True):
    wave_id: UUID
    despatched_at: Annotated[datetime, Meta(tz=True)]
    shipments: Annotated[tuple[_Left, ...], Meta(min_length=1)]


async def apply(session: AsyncSession, letter: Letter) -> None:
    """Apply `shipment.despatched`, all or a part of a wave; what was told before changes nothing.

    An order has shipped with the last of its parcels. Goods that left for an order whose money
    goes back are booked all the same: they are not on the shelf any more.

    Raises:
        CannotApply: the wave is another warehouse's or has not been handed over, no parcel named
            is in it, or the ledger knows of fewer goods than left.
    """
    warehouse = letter.source.partition(":")[2]
    try:
        news = msgspec.convert(letter.body, _Despatched)
    except msgspec.ValidationError as error:
        raise CannotApply(f"not in the agreed shape: {error}") from error
    await _check_wave(session, news.wave_id, warehouse=warehouse)
    left = await _parcels(session, news)
    if not left:
        raise CannotApply(f"no parcel named is in wave {news.wave_id}")
    complete = await _complete_orders(session, left)
    shipped = await orders.mark_shipped(session, complete, news.despatched_at)
    actor = letter.source
    try:
        await reservations.ship(
            session,
            sorted(shipped),
            reference=f"wave:{news.wave_id}",
            actor=actor,
            occurred_at=news.despatched_at,
        )
        await _book_astray(session, set(complete) - shipped, news=news, letter=letter)
    except BelowZero as error:
        raise CannotApply(str(error)) from error
    await money.earn(session, sorted(shipped), occurred_at=news.despatched_at)
    await _close(session, news, left)
    await _tell(session, news, shipped)
    await settle_deliveries(session, left)


async def _check_wave(session: AsyncSession, wave_id: UUID, *, warehouse: str) -> None:
    connection = await session.connection()
    # The lock lets one letter of a wave at a time see which parcels are still there.
    row = (
        await connection.execute(
            text("SELECT warehouse, state FROM wave WHERE id = :id FOR UPDATE"), {"id": wave_id}
        )
    ).one_or_none()
    if row is None or row.warehouse != warehouse:
        raise CannotApply(f"{warehouse} has no wave {wave_id}")
    # A locked one was handed over too, when the answer to its manifest was lost.
    if row.state not in {"locked", "manifested", "shipped"}:
        raise CannotApply(f"wave {wave_id} is {row.state}")


async def _parcels(session: AsyncSession, news: _Despatched) -> list[UUID]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT s.id FROM shipment s JOIN unnest(CAST(:ids AS uuid[]),"
            " CAST(:numbers AS text[])) AS n (id, tracking_no)"
            " ON n.id = s.id AND n.tracking_no = s.tracking_no"
            " WHERE s.wave_id = :wave ORDER BY s.id"
        ),
        {
            "ids": [each.shipment_id for each in news.shipments],
            "numbers": [each.tracking_no for each in news.shipments],
            "wave": news.wave_id,
        },
    )
    return [row.id for row in rows]


async def _complete_orders(session: AsyncSession, left: Collection[UUID]) -> list[UUID]:
    """Return the orders that have nothing in the warehouse any more once these parcels left."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT so.order_id FROM shipment_order so"
            " JOIN shipment s ON s.id = so.shipment_id AND s.state <> 'cancelled'"
            " WHERE so.order_id IN (SELECT x.order_id FROM shipment_order x"
            "  WHERE x.shipment_id = ANY(CAST(:left AS uuid[])))"
            " GROUP BY so.order_id HAVING bool_and(s.id = ANY(CAST(:left AS uuid[]))"
            "  OR s.state NOT IN ('planned', 'locked')) ORDER BY so.order_id"
        ),
        {"left": list(left)},
    )
    return [row.order_id for row in rows]


async def _book_astray(
    session: AsyncSession, order_ids: Collection[UUID], *, news: _Despatched, letter: Letter
) -> None:
    """Book goods that left without a reservation, such as those of an order refunded too late."""
    connection = await session.connection()
    rows = (
        await connection.execute(
            text(
                "SELECT o.id, o.sku, o.units, o.state FROM buyer_order o"
                " WHERE o.id = ANY(CAST(:ids AS uuid[]))"
                " AND o.state NOT IN ('shipped', 'delivered')"
                " AND NOT EXISTS (SELECT FROM reservation r WHERE r.order_id = o.id"
                "  AND r.state = 'shipped') ORDER BY o.id"
            ),
            {"ids": list(order_ids)},
        )
    ).all()
    waiting = [row for row in rows if row.state in {"confirmed", "won"}]
    if waiting:
        raise CannotApply(f"order {waiting[0].id} left, but its goods were taken from it")
    await goods.book(
        session,
        [
            Movement(
                sku=row.sku,
                warehouse=letter.source.partition(":")[2],
                bucket=Bucket.AVAILABLE,
                qty_delta=-row.units,
                kind=MovementType.SHIP,
                reference=f"wave:{news.wave_id}",
                key=f"ship:{row.id}",
                actor=letter.source,
                reason=f"left although {row.state}",
                occurred_at=news.despatched_at,
            )
            for row in rows
        ],
    )


async def _close(session: AsyncSession, news: _Despatched, left: Collection[UUID]) -> None:
    connection = await session.connection()
    await connection.execute(
        text(
            "WITH gone AS (SELECT id FROM shipment WHERE id = ANY(CAST(:ids AS uuid[]))"
            "  AND state = 'locked' ORDER BY id FOR UPDATE)"
            " UPDATE shipment s SET state = 'shipped', shipped_at = CAST(:at AS timestamptz)"
            " FROM gone WHERE s.id = gone.id"
        ),
        {"ids": list(left), "at": news.despatched_at},
    )
    await connection.execute(
        text(
            "UPDATE wave w SET manifested_at = coalesce(manifested_at, kit_now()),"
            " state = CASE WHEN rest.parcels = 0 THEN 'shipped' ELSE 'manifested' END,"
            " shipped_at = CASE WHEN rest.parcels = 0 THEN CAST(:at AS timestamptz) END"
            " FROM (SELECT count(*) AS parcels FROM shipment"
            "  WHERE wave_id = :wave AND state = 'locked') rest"
            " WHERE w.id = :wave AND w.state IN ('locked', 'manifested')"
        ),
        {"wave": news.wave_id, "at": news.despatched_at},
    )


async def _tell(session: AsyncSession, news: _Despatched, shipped: Collection[UUID]) -> None:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT so.order_id, so.group_id, min(s.carrier) AS carrier,"
            " array_agg(s.tracking_no ORDER BY s.id) AS numbers FROM shipment_order so"
            " JOIN shipment s ON s.id = so.shipment_id AND s.state <> 'cancelled'"
            " WHERE so.order_id = ANY(CAST(:ids AS uuid[]))"
            " GROUP BY so.order_id, so.group_id ORDER BY so.order_id"
        ),
        {"ids": list(shipped)},
    )
    facts = [
        outbox.Fact(
            topic="order.shipped",
            key=str(row.order_id),
            body={
                "order_id": str(row.order_id),
                "group_id": str(row.group_id),
                "carrier": row.carrier,
                "tracking_nos": row.numbers,
                "shipped_at": news.despatched_at.isoformat(),
            },
        )
        for row in rows
    ]
    closed = await connection.execute(
        text("SELECT parcels FROM wave WHERE id = :id AND state = 'shipped'"),
        {"id": news.wave_id},
    )
    parcels = closed.scalar_one_or_none()
    if parcels is not None and shipped:
        facts.append(
            outbox.Fact(
                topic="wave.shipped",
                key=str(news.wave_id),
                body={"wave_id": str(news.wave_id), "parcels": parcels},
            )
        )
    await outbox.emit(session, facts)
