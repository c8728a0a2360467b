"""Parcels in the database: planned, replaced when their goods are gone, and closed by events."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id
from logistics.parcels import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParcel:
    """A parcel that shall leave a warehouse once its goods are there."""

    warehouse: str
    carrier: str
    province: str
    city: str
    promised_at: datetime  # expected at the buyer's
    items: tuple[Item, ...]

    @property
    def weight_grams(self) -> int:
        return sum(item.units * item.unit_grams for item in self.items)


async def plan(session: AsyncSession, parcels: Sequence[PlannedParcel]) -> list[UUID]:
    """Write planned shipments and what lies in them; return their ids in the order given."""
    if not parcels:
        return []
    ids = [new_id() for _ in parcels]
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO shipment (id, warehouse, carrier, province, city, weight_grams,"
            " promised_at) SELECT * FROM unnest(CAST(:ids AS uuid[]),"
            " CAST(:warehouses AS text[]), CAST(:carriers AS text[]), CAST(:provinces AS text[]),"
            " CAST(:cities AS text[]), CAST(:grams AS int[]), CAST(:promised AS timestamptz[]))"
        ),
        {
            "ids": ids,
            "warehouses": [parcel.warehouse for parcel in parcels],
            "carriers": [parcel.carrier for parcel in parcels],
            "provinces": [parcel.province for parcel in parcels],
            "cities": [parcel.city for parcel in parcels],
            "grams": [parcel.weight_grams for parcel in parcels],
            "promised": [parcel.promised_at for parcel in parcels],
        },
    )
    rows = [
        (shipment_id, item)
        for shipment_id, parcel in zip(ids, parcels, strict=True)
        for item in parcel.items
    ]
    await connection.execute(
        text(
            "INSERT INTO shipment_order (shipment_id, order_id, group_id, sku, units)"
            " SELECT * FROM unnest(CAST(:shipments AS uuid[]), CAST(:orders AS uuid[]),"
            " CAST(:groups AS uuid[]), CAST(:skus AS text[]), CAST(:units AS int[]))"
        ),
        {
            "shipments": [shipment_id for shipment_id, _ in rows],
            "orders": [item.order_id for _, item in rows],
            "groups": [item.group_id for _, item in rows],
            "skus": [item.sku for _, item in rows],
            "units": [item.units for _, item in rows],
        },
    )
    return ids


async def drop_unbacked(session: AsyncSession, *, wave_ids: Collection[UUID] = ()) -> int:
    """Cancel parcels that hold an order without goods; what else lay in them gets a new parcel.

    An order has goods when it holds a live reservation or peg in the parcel's warehouse. It looks
    at planned parcels, and at those locked in the waves named, which no warehouse has heard of.
    Returns how many were cancelled.
    """
    connection = await session.connection()
    dropped = await connection.execute(
        text(
            "SELECT s.id, s.wave_id FROM shipment s WHERE (s.state = 'planned'"
            "  OR (s.state = 'locked' AND s.wave_id = ANY(CAST(:waves AS uuid[]))))"
            " AND EXISTS (SELECT FROM shipment_order so WHERE so.shipment_id = s.id"
            "  AND NOT EXISTS (SELECT FROM reservation r WHERE r.order_id = so.order_id"
            "   AND r.state = 'live' AND r.warehouse = s.warehouse)"
            "  AND NOT EXISTS (SELECT FROM peg p WHERE p.order_id = so.order_id"
            "   AND p.state = 'live' AND p.warehouse = s.warehouse))"
            " ORDER BY s.id FOR UPDATE OF s"
        ),
        {"waves": list(wave_ids)},
    )
    rows = dropped.all()
    if not rows:
        return 0
    ids = [row.id for row in rows]
    await connection.execute(
        text(
            "WITH backed AS (SELECT so.* FROM shipment_order so"
            "  JOIN shipment s ON s.id = so.shipment_id"
            "  WHERE so.shipment_id = ANY(CAST(:old AS uuid[]))"
            "  AND (EXISTS (SELECT FROM reservation r WHERE r.order_id = so.order_id"
            "    AND r.state = 'live' AND r.warehouse = s.warehouse)"
            "   OR EXISTS (SELECT FROM peg p WHERE p.order_id = so.order_id"
            "    AND p.state = 'live' AND p.warehouse = s.warehouse))),"
            " renewed AS (SELECT fresh.old, fresh.new FROM unnest(CAST(:old AS uuid[]),"
            "  CAST(:new AS uuid[])) AS fresh (old, new)"
            "  WHERE EXISTS (SELECT FROM backed b WHERE b.shipment_id = fresh.old)),"
            " parcels AS (INSERT INTO shipment (id, warehouse, carrier, province, city,"
            "   weight_grams, promised_at)"
            "  SELECT renewed.new, s.warehouse, s.carrier, s.province, s.city,"
            "   (SELECT sum(b.units * p.weight_grams) FROM backed b JOIN product p USING (sku)"
            "    WHERE b.shipment_id = s.id), s.promised_at"
            "  FROM renewed JOIN shipment s ON s.id = renewed.old RETURNING id)"
            " INSERT INTO shipment_order (shipment_id, order_id, group_id, sku, units)"
            " SELECT renewed.new, b.order_id, b.group_id, b.sku, b.units"
            " FROM backed b JOIN renewed ON renewed.old = b.shipment_id"
            " JOIN parcels ON parcels.id = renewed.new"
        ),
        {"old": ids, "new": [new_id() for _ in ids]},
    )
    await cancel(session, ids)
    return len(ids)


async def cancel(session: AsyncSession, shipment_ids: Iterable[UUID]) -> None:
    """Cancel parcels that have not left; their rows stay as history."""
    await _take_out(session, shipment_ids, cancelled=True)


async def docks_of_planned(session: AsyncSession, order_ids: Iterable[UUID]) -> list[str]:
    """Return the warehouses where movable parcels of these orders wait."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT s.warehouse FROM shipment_order so"
            " JOIN shipment s ON s.id = so.shipment_id AND s.state = 'planned'"
            " WHERE so.order_id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": list(order_ids)},
    )
    return [row.warehouse for row in rows]


async def cancel_planned_of(session: AsyncSession, order_ids: Iterable[UUID]) -> None:
    """Cancel the movable parcels of orders that are planned anew, under their docks' guard."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT s.id FROM shipment_order so"
            " JOIN shipment s ON s.id = so.shipment_id AND s.state = 'planned'"
            " WHERE so.order_id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": list(order_ids)},
    )
    await cancel(session, [row.id for row in rows])


async def put_back(
    session: AsyncSession, shipment_ids: Iterable[UUID], *, another_day: Collection[UUID] = ()
) -> None:
    """Take parcels out of their waves, to leave later.

    Args:
        another_day: those that wait for a later cut-off, since trying again today is useless.
    """
    await _take_out(session, shipment_ids, cancelled=False, another_day=another_day)


async def _take_out(
    session: AsyncSession,
    shipment_ids: Iterable[UUID],
    *,
    cancelled: bool,
    another_day: Collection[UUID] = (),
) -> None:
    """Take parcels that have not left out of their waves, which count them less."""
    ids = list(shipment_ids)
    if not ids:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "WITH seen AS (SELECT id, wave_id FROM shipment WHERE id = ANY(CAST(:ids AS uuid[]))"
            "  AND state IN ('planned', 'locked') ORDER BY id FOR UPDATE),"
            " moved AS (UPDATE shipment s SET wave_id = NULL,"
            "   state = CASE WHEN CAST(:cancelled AS boolean) THEN 'cancelled' ELSE 'planned' END,"
            "   not_before = CASE WHEN s.id = ANY(CAST(:later AS uuid[])) THEN kit_now()"
            "    ELSE s.not_before END FROM seen WHERE s.id = seen.id),"
            " fewer AS (SELECT wave_id, count(*) AS parcels FROM seen"
            "  WHERE wave_id IS NOT NULL GROUP BY wave_id)"
            " UPDATE wave w SET parcels = w.parcels - fewer.parcels FROM fewer"
            " WHERE w.id = fewer.wave_id"
        ),
        {"ids": ids, "cancelled": cancelled, "later": list(another_day)},
    )
