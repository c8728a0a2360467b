"""Where SKUs stand, read together for people: budget, levels and what is open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import discrepancies
from inventory.discrepancies import Open


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Units of one SKU in one warehouse; `free` is negative in a shortage."""

    warehouse: str
    on_hand: int
    held: int
    reserved: int

    @property
    def free(self) -> int:
        return self.on_hand - self.held - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One SKU: what may be promised and why, what is promised, where the units are."""

    sku: str
    name: str
    budget_units: int
    claimed_units: int
    cap_seats: int | None
    taken_seats: int
    ship_by_seconds: int | None
    computed_at: datetime | None
    parts: Mapping[str, Any]
    shelves: Sequence[Shelf]
    open: Sequence[Open]


async def page(
    session: AsyncSession, *, sku: str | None, after: str | None, limit: int
) -> list[Overview]:
    """Return SKUs in order, `limit` at most.

    Args:
        sku: only this one.
        after: only those behind this one, for the next page.
    """
    connection = await session.connection()
    rows = (
        await connection.execute(
            text(
                "SELECT p.sku, p.name, coalesce(b.budget_units, 0) AS budget_units,"
                " coalesce(b.claimed_units, 0) AS claimed_units, b.cap_seats,"
                " coalesce(b.taken_seats, 0) AS taken_seats, b.ship_by_seconds, b.computed_at,"
                " coalesce(b.parts, '{}') AS parts"
                " FROM product p LEFT JOIN seat_budget b USING (sku)"
                " WHERE (CAST(:sku AS text) IS NULL OR p.sku = :sku)"
                " AND (CAST(:after AS text) IS NULL OR p.sku > :after)"
                " ORDER BY p.sku LIMIT :limit"
            ),
            {"sku": sku, "after": after, "limit": limit},
        )
    ).all()
    skus = [row.sku for row in rows]
    shelves = await _shelves(session, skus)
    opened: dict[str, list[Open]] = {}
    for found in await discrepancies.open_of(session, skus):
        opened.setdefault(found.place.sku, []).append(found)
    return [
        Overview(
            sku=row.sku,
            name=row.name,
            budget_units=row.budget_units,
            claimed_units=row.claimed_units,
            cap_seats=row.cap_seats,
            taken_seats=row.taken_seats,
            ship_by_seconds=row.ship_by_seconds,
            computed_at=row.computed_at,
            parts=row.parts,
            shelves=shelves.get(row.sku, []),
            open=opened.get(row.sku, []),
        )
        for row in rows
    ]


async def _shelves(session: AsyncSession, skus: Sequence[str]) -> dict[str, list[Shelf]]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT sku, warehouse, on_hand, held, reserved FROM stock_level"
            " WHERE sku = ANY(CAST(:skus AS text[])) ORDER BY sku, warehouse"
        ),
        {"skus": list(skus)},
    )
    found: dict[str, list[Shelf]] = {}
    for row in rows:
        shelf = Shelf(
            warehouse=row.warehouse, on_hand=row.on_hand, held=row.held, reserved=row.reserved
        )
        found.setdefault(row.sku, []).append(shelf)
    return found
