"""What supply promises: inbound units of sent purchase orders, and what could still be bought.

Suppliers write both here, so that the seat budget needs nothing from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRow:
    """A purchase order line on its way: `units` is what is still to come, 0 closes it."""

    line_id: UUID
    sku: str
    warehouse: str
    units: int
    promised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRow:
    """What a supplier could deliver of a SKU, before anything is ordered."""

    supplier: str
    sku: str
    capacity_per_day: int
    days_to_sell: int
    lead_days: int
    """Including hard safety days."""
    moq_units: int
    """Smallest order, minimum order value included."""
    valid_to: datetime | None


async def put(session: AsyncSession, rows: Sequence[PromiseRow]) -> dict[UUID, int]:
    """Write what is still to come of each line; return lines with more pegged than that.

    Those shrank under their pegs: the caller dissolves them with
    `pegs.dissolve(line_id=..., units_left=...)` in the same transaction. Until then the line
    stays open, and what is pegged too much lowers the budget.

    Returns:
        By line the units that are pegged beyond what is still to come.
    """
    if not rows:
        return {}
    ordered = sorted(rows, key=lambda row: row.line_id)
    connection = await session.connection()
    put_rows = await connection.execute(
        text(
            "INSERT INTO supply_promise AS p (line_id, sku, warehouse, units, promised_at, state)"
            " SELECT line_id, sku, warehouse, units, promised_at,"
            "  CASE WHEN units > 0 THEN 'open' ELSE 'closed' END"
            " FROM unnest(CAST(:lines AS uuid[]), CAST(:skus AS text[]),"
            "  CAST(:warehouses AS text[]), CAST(:units AS int[]),"
            "  CAST(:promised AS timestamptz[]))"
            "  AS n (line_id, sku, warehouse, units, promised_at)"
            " ON CONFLICT (line_id) DO UPDATE SET units = excluded.units,"
            " promised_at = excluded.promised_at,"
            " state = CASE WHEN excluded.units > 0 OR p.pegged_units > 0"
            "  THEN 'open' ELSE 'closed' END"
            " RETURNING p.line_id, p.pegged_units - p.units AS over"
        ),
        {
            "lines": [row.line_id for row in ordered],
            "skus": [row.sku for row in ordered],
            "warehouses": [row.warehouse for row in ordered],
            "units": [row.units for row in ordered],
            "promised": [row.promised_at for row in ordered],
        },
    )
    over = {row.line_id: row.over for row in put_rows if row.over > 0}
    await budgets.mark_dirty(session, {row.sku for row in rows})
    return over


async def put_capabilities(session: AsyncSession, rows: Sequence[CapabilityRow]) -> int:
    """Write what suppliers could deliver; return how many rows changed.

    What is ordered or was rejected stays counted, except that a supplier who states another
    capacity has spoken anew: what it rejected before is forgotten.
    """
    if not rows:
        return 0
    ordered = sorted(rows, key=lambda row: (row.supplier, row.sku))
    connection = await session.connection()
    changed = await connection.execute(
        text(
            "INSERT INTO supply_capability AS c (supplier, sku, capacity_per_day, days_to_sell,"
            " lead_days, moq_units, valid_to)"
            " SELECT * FROM unnest(CAST(:suppliers AS text[]), CAST(:skus AS text[]),"
            "  CAST(:per_day AS int[]), CAST(:days AS int[]), CAST(:lead AS int[]),"
            "  CAST(:moq AS int[]), CAST(:valid_to AS timestamptz[]))"
            " ON CONFLICT (supplier, sku) DO UPDATE SET"
            " lost_units = CASE WHEN c.capacity_per_day = excluded.capacity_per_day"
            "  THEN c.lost_units ELSE 0 END,"
            " capacity_per_day = excluded.capacity_per_day, days_to_sell = excluded.days_to_sell,"
            " lead_days = excluded.lead_days, moq_units = excluded.moq_units,"
            " valid_to = excluded.valid_to"
            " WHERE (c.capacity_per_day, c.days_to_sell, c.lead_days, c.moq_units, c.valid_to)"
            "  IS DISTINCT FROM (excluded.capacity_per_day, excluded.days_to_sell,"
            "  excluded.lead_days, excluded.moq_units, excluded.valid_to)"
            " RETURNING c.sku"
        ),
        {
            "suppliers": [row.supplier for row in ordered],
            "skus": [row.sku for row in ordered],
            "per_day": [row.capacity_per_day for row in ordered],
            "days": [row.days_to_sell for row in ordered],
            "lead": [row.lead_days for row in ordered],
            "moq": [row.moq_units for row in ordered],
            "valid_to": [row.valid_to for row in ordered],
        },
    )
    skus = [row.sku for row in changed]
    await budgets.mark_dirty(session, set(skus))
    return len(skus)


async def spend_capability(
    session: AsyncSession, supplier: str, ordered: Mapping[str, int]
) -> None:
    """An order was sent: its units, by SKU, leave capability (and count as inbound)."""
    await _move(session, supplier, open_units=ordered, lost_units={})


async def settle_capability(
    session: AsyncSession,
    supplier: str,
    *,
    done: Mapping[str, int] | None = None,
    rejected: Mapping[str, int] | None = None,
) -> None:
    """Units that were spent are no longer open.

    Args:
        done: received, or cancelled by us: the supplier can make as many again.
        rejected: refused by the supplier: they do not come back as capability.
    """
    done, rejected = done or {}, rejected or {}
    opened = {
        sku: -(done.get(sku, 0) + rejected.get(sku, 0)) for sku in done.keys() | rejected.keys()
    }
    await _move(session, supplier, open_units=opened, lost_units=rejected)


async def _move(
    session: AsyncSession,
    supplier: str,
    *,
    open_units: Mapping[str, int],
    lost_units: Mapping[str, int],
) -> None:
    skus = sorted(open_units.keys() | lost_units.keys())
    if not skus:
        return
    connection = await session.connection()
    columns = {"supplier": supplier, "skus": skus}
    await connection.execute(
        text(
            "SELECT 1 FROM supply_capability WHERE supplier = :supplier"
            " AND sku = ANY(CAST(:skus AS text[])) ORDER BY sku FOR UPDATE"
        ),
        columns,
    )
    await connection.execute(
        text(
            # An order received in parts and over may settle more than it opened.
            "UPDATE supply_capability c SET open_units = greatest(0, c.open_units + n.opened),"
            " lost_units = c.lost_units + n.lost"
            " FROM unnest(CAST(:skus AS text[]), CAST(:opened AS int[]), CAST(:lost AS int[]))"
            "  AS n (sku, opened, lost) WHERE c.supplier = :supplier AND c.sku = n.sku"
        ),
        columns
        | {
            "opened": [open_units.get(sku, 0) for sku in skus],
            "lost": [lost_units.get(sku, 0) for sku in skus],
        },
    )
    await budgets.mark_dirty(session, skus)
