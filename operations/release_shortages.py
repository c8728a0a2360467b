"""Take goods that are not there back from the groups completed last, to be planned anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders
from inventory import budgets, pegs, reservations


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    """An order that holds units where too many are reserved."""

    sku: str
    warehouse: str
    short_units: int
    group_id: UUID
    whole: bool
    order_id: UUID
    units: int


async def release_shortages(session: AsyncSession) -> int:
    """Dissolve reservations where more is reserved than lies there; return how many orders.

    The groups completed last give way, whole when they leave whole, until the rest is covered.
    Parcels in locked waves are left alone: the warehouse is packing them and will say what left.
    The orders are uncovered again, in the same transaction.
    """
    giving_way = _giving_way(await _holders(session))
    if not giving_way:
        return 0
    await budgets.lock(session, {holder.sku for holder in giving_way})
    group_ids = sorted({holder.group_id for holder in giving_way if holder.whole})
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM buying_group WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
        ),
        {"ids": group_ids},
    )
    rows = await connection.execute(
        text(
            "SELECT id FROM buyer_order WHERE state IN ('confirmed', 'won', 'allocated')"
            " AND (group_id = ANY(CAST(:groups AS uuid[])) OR id = ANY(CAST(:orders AS uuid[])))"
            " ORDER BY id FOR UPDATE"
        ),
        {"groups": group_ids, "orders": [holder.order_id for holder in giving_way]},
    )
    order_ids = [row.id for row in rows]
    returned = await reservations.dissolve(session, order_ids)
    returned |= await pegs.dissolve(session, order_ids=order_ids)
    await orders.restore_claims(session, returned)
    return len(returned)


def _giving_way(holders: Sequence[_Holder]) -> list[_Holder]:
    """Choose from holders, those completed last first, as many groups as each shortage needs."""
    left = {(holder.sku, holder.warehouse): holder.short_units for holder in holders}
    chosen: dict[UUID, _Holder] = {}
    groups: set[UUID] = set()
    for holder in holders:
        place = (holder.sku, holder.warehouse)
        if left[place] <= 0 and not (holder.whole and holder.group_id in groups):
            continue
        chosen[holder.order_id] = holder
        groups.add(holder.group_id)
        left[place] -= holder.units
    return list(chosen.values())


async def _holders(session: AsyncSession) -> list[_Holder]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT l.sku, l.warehouse, l.reserved - (l.on_hand - l.held) AS short_units,"
            "  g.id AS group_id, g.warehouse_policy = 'whole' AS whole, r.order_id, r.units"
            " FROM stock_level l JOIN reservation r ON r.sku = l.sku"
            "  AND r.warehouse = l.warehouse AND r.state = 'live'"
            " JOIN buyer_order o ON o.id = r.order_id JOIN buying_group g ON g.id = o.group_id"
            " WHERE l.reserved > l.on_hand - l.held AND NOT EXISTS (SELECT FROM buyer_order m"
            "  JOIN shipment_order so ON so.order_id = m.id"
            "  JOIN shipment s ON s.id = so.shipment_id"
            "  WHERE s.state NOT IN ('planned', 'cancelled') AND (m.id = o.id"
            "   OR (g.warehouse_policy = 'whole' AND m.group_id = o.group_id)))"
            " ORDER BY coalesce(g.closed_at, g.opened_at) DESC, g.id DESC, r.order_id DESC"
        )
    )
    return [
        _Holder(
            sku=row.sku,
            warehouse=row.warehouse,
            short_units=row.short_units,
            group_id=row.group_id,
            whole=row.whole,
            order_id=row.order_id,
            units=row.units,
        )
        for row in rows
    ]
