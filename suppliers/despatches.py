"""Despatch advices and receipts in the store: what is said to be on its way, and what came."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a supplier says is on its way; a cancelled one has no lines."""

    po_id: UUID
    asn_no: str
    revision: int
    cancelled: bool
    expected_at: datetime | None
    units: Mapping[int, int]  # by line number


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedLine:
    """What a warehouse counted for one line."""

    line_no: int
    good_units: int
    damaged_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A receipt a warehouse posted."""

    warehouse: str
    receipt_no: str
    po_id: UUID
    asn_no: str | None
    received_at: datetime
    lines: tuple[CountedLine, ...]


async def put_advice(session: AsyncSession, advice: Advice) -> bool:
    """Keep an advice; False when a later revision of it is known already."""
    connection = await session.connection()
    kept = await connection.execute(
        text(
            "INSERT INTO despatch_advice (po_id, asn_no, revision, cancelled, expected_at, lines)"
            " VALUES (:po_id, :asn_no, :revision, :cancelled,"
            " coalesce(CAST(:expected AS timestamptz), kit_now()), CAST(:lines AS jsonb))"
            " ON CONFLICT (po_id, asn_no) DO UPDATE SET revision = excluded.revision,"
            " cancelled = excluded.cancelled, expected_at = excluded.expected_at,"
            " lines = excluded.lines WHERE despatch_advice.revision < excluded.revision"
        ),
        {
            "po_id": advice.po_id,
            "asn_no": advice.asn_no,
            "revision": advice.revision,
            "cancelled": advice.cancelled,
            "expected": advice.expected_at,
            "lines": json.dumps(
                [{"line_no": no, "units": units} for no, units in sorted(advice.units.items())]
            ),
        },
    )
    return kept.rowcount == 1


async def expected(session: AsyncSession, po_id: UUID) -> dict[int, datetime]:
    """Return by line number when the last goods that are on their way should arrive."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT CAST(line->>'line_no' AS integer) AS line_no, max(a.expected_at) AS expected_at"
            " FROM despatch_advice a CROSS JOIN jsonb_array_elements(a.lines) AS line"
            " WHERE a.po_id = :id AND NOT a.cancelled GROUP BY 1"
        ),
        {"id": po_id},
    )
    return {row.line_no: row.expected_at for row in rows}


async def keep_receipt(session: AsyncSession, delivery: Delivery) -> bool:
    """Keep a receipt; False when the warehouse posted this number before."""
    connection = await session.connection()
    kept = await connection.execute(
        text(
            "INSERT INTO receipt (id, warehouse, receipt_no, po_id, asn_no, lines, received_at)"
            " VALUES (:id, :warehouse, :number, :po_id, :asn_no, CAST(:lines AS jsonb), :received)"
            " ON CONFLICT (warehouse, receipt_no) DO NOTHING"
        ),
        {
            "id": new_id(),
            "warehouse": delivery.warehouse,
            "number": delivery.receipt_no,
            "po_id": delivery.po_id,
            "asn_no": delivery.asn_no,
            "lines": json.dumps(
                [
                    {
                        "line_no": line.line_no,
                        "good_units": line.good_units,
                        "damaged_units": line.damaged_units,
                    }
                    for line in delivery.lines
                ]
            ),
            "received": delivery.received_at,
        },
    )
    return kept.rowcount == 1


async def last_receipts(
    session: AsyncSession, po_ids: Sequence[UUID]
) -> dict[tuple[UUID, str], datetime]:
    """Return when each warehouse last received goods of each order."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT po_id, warehouse, max(received_at) AS received_at FROM receipt"
            " WHERE po_id = ANY(CAST(:ids AS uuid[])) GROUP BY po_id, warehouse"
        ),
        {"ids": list(po_ids)},
    )
    return {(row.po_id, row.warehouse): row.received_at for row in rows}
