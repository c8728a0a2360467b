"""Goods that belong to nobody yet, as the inventory has them."""

from collections.abc import Collection

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from logistics.shelves import Source


async def read_sources(session: AsyncSession, skus: Collection[str]) -> list[Source]:
    """Return stock and inbound that belongs to nobody yet."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT warehouse, sku, on_hand - held - reserved AS units,"
            "  CAST(NULL AS uuid) AS line_id, CAST(NULL AS timestamptz) AS promised_at"
            " FROM stock_level WHERE sku = ANY(CAST(:skus AS text[]))"
            "  AND on_hand - held - reserved > 0"
            " UNION ALL SELECT warehouse, sku, units - pegged_units, line_id, promised_at"
            " FROM supply_promise WHERE sku = ANY(CAST(:skus AS text[])) AND state = 'open'"
            "  AND units > pegged_units"
        ),
        {"skus": sorted(set(skus))},
    )
    return [
        Source(
            warehouse=row.warehouse,
            sku=row.sku,
            units=row.units,
            line_id=row.line_id,
            available_at=row.promised_at,
        )
        for row in rows
    ]
