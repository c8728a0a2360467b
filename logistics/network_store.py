"""Saves the network: carriers, warehouses and the lanes between them and the provinces."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.upserts import Saved, upsert
from logistics.tables import Carrier, Lane, Warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLanes:
    """Lanes that were added or changed, and how many went away."""

    saved: Saved
    removed: int


async def save_carriers(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Saved:
    """Save carriers by code; rows hold columns of `carrier`."""
    return await upsert(session, Carrier, rows, key=["code"])


async def save_warehouses(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Saved:
    """Save warehouses by code; rows hold columns of `warehouse`, times as text.

    Whether a warehouse is on hold is for operations to say: leave it out of the rows.
    """
    return await upsert(session, Warehouse, rows, key=["code"])


async def replace_lanes(
    session: AsyncSession, rows: Sequence[Mapping[str, Any]], *, warehouses: Collection[str]
) -> SavedLanes:
    """Make `rows` all the lanes that `warehouses` have; parcels under way keep their carrier.

    Args:
        rows: columns of `lane`.
    """
    connection = await session.connection()
    gone = await connection.execute(
        text(
            "DELETE FROM lane WHERE warehouse = ANY(CAST(:warehouses AS text[]))"
            " AND (warehouse, carrier, province) NOT IN (SELECT * FROM unnest("
            "  CAST(:froms AS text[]), CAST(:carriers AS text[]), CAST(:tos AS text[])))"
        ),
        {
            "warehouses": list(warehouses),
            "froms": [row["warehouse"] for row in rows],
            "carriers": [row["carrier"] for row in rows],
            "tos": [row["province"] for row in rows],
        },
    )
    saved = await upsert(session, Lane, rows, key=["warehouse", "carrier", "province"])
    return SavedLanes(saved=saved, removed=gone.rowcount)
