"""Open differences between what is promised, what is booked and what was counted.

`shortage`: fewer units than are promised to orders; it is booked all the same, and closes by
itself when the units are there again. `review`: a feed contradicts the ledger and waits for a
person; `units` is counted minus booked, and the seat budget uses the lower of both meanwhile.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory.levels import columns_of
from inventory.projection import Place
from kit.ids import new_id

SHORTAGE: Final = "shortage"
REVIEW: Final = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A discrepancy that nobody and nothing has resolved."""

    id: UUID
    place: Place
    kind: str
    units: int
    detail: Mapping[str, Any]
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A difference to be opened, or to be brought up to date where one is open."""

    place: Place
    units: int
    detail: Mapping[str, Any]


async def settle_shortages(session: AsyncSession, places: Sequence[Place]) -> list[Place]:
    """Open, correct and resolve the shortages of locked places; return those that are short."""
    if not places:
        return []
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT l.sku, l.warehouse, l.on_hand, l.held, l.reserved,"
            " l.reserved + l.held - l.on_hand AS short"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]))"
            "  AS place (sku, warehouse)"
            " JOIN stock_level l USING (sku, warehouse)"
            " WHERE l.reserved + l.held > l.on_hand OR EXISTS (SELECT FROM discrepancy d"
            "  WHERE d.sku = l.sku AND d.warehouse = l.warehouse AND d.kind = 'shortage'"
            "  AND d.state = 'open')"
        ),
        columns_of(places),
    )
    short: list[Finding] = []
    enough: list[Place] = []
    for row in rows:
        place = Place(row.sku, row.warehouse)
        if row.short > 0:
            detail = {"on_hand": row.on_hand, "held": row.held, "reserved": row.reserved}
            short.append(Finding(place=place, units=row.short, detail=detail))
        else:
            enough.append(place)
    await open_findings(session, SHORTAGE, short)
    await resolve(session, SHORTAGE, enough)
    return [finding.place for finding in short]


async def open_findings(session: AsyncSession, kind: str, findings: Sequence[Finding]) -> None:
    """Open a discrepancy a place, or correct the one that is open."""
    if not findings:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO discrepancy (id, sku, warehouse, kind, units, detail)"
            " SELECT n.id, n.sku, n.warehouse, :kind, n.units, n.detail::jsonb"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:skus AS text[]),"
            "  CAST(:warehouses AS text[]), CAST(:units AS int[]), CAST(:details AS text[]))"
            "  AS n (id, sku, warehouse, units, detail)"
            " ON CONFLICT (sku, warehouse, kind) WHERE state = 'open'"
            " DO UPDATE SET units = excluded.units, detail = excluded.detail"
        ),
        columns_of([finding.place for finding in findings])
        | {
            "kind": kind,
            "ids": [new_id() for _ in findings],
            "units": [finding.units for finding in findings],
            "details": [json.dumps(finding.detail) for finding in findings],
        },
    )


async def resolve(session: AsyncSession, kind: str, places: Sequence[Place]) -> None:
    """Close what is open of `kind` at `places`."""
    if not places:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE discrepancy d SET state = 'resolved', resolved_at = kit_now()"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]))"
            "  AS place (sku, warehouse)"
            " WHERE d.sku = place.sku AND d.warehouse = place.warehouse AND d.kind = :kind"
            " AND d.state = 'open'"
        ),
        columns_of(places) | {"kind": kind},
    )


async def open_of(session: AsyncSession, skus: Sequence[str]) -> list[Open]:
    """Return what is open of these SKUs, oldest first."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id, sku, warehouse, kind, units, detail, opened_at FROM discrepancy"
            " WHERE state = 'open' AND sku = ANY(CAST(:skus AS text[])) ORDER BY id"
        ),
        {"skus": list(skus)},
    )
    return [
        Open(
            id=row.id,
            place=Place(row.sku, row.warehouse),
            kind=row.kind,
            units=row.units,
            detail=row.detail,
            opened_at=row.opened_at,
        )
        for row in rows
    ]
