"""Waves in the database: opened for ready parcels, locked at their cut-off, closed by truth."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.db import LONG_STATEMENT_TIMEOUT_MS
from kit.ids import new_id
from logistics.departures import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveRow:
    """A wave under way."""

    id: UUID
    warehouse: str
    carrier: str
    cut_off_at: datetime
    number: int
    parcels: int


def _wave(row: Row[Any]) -> WaveRow:
    return WaveRow(
        id=row.id,
        warehouse=row.warehouse,
        carrier=row.carrier,
        cut_off_at=row.cut_off_at,
        number=row.number,
        parcels=row.parcels,
    )


async def guard_docks(
    session: AsyncSession, warehouses: Collection[str], *, patient: bool = False
) -> None:
    """Let one transaction at a time fill the days of a warehouse.

    Args:
        patient: wait for as long as it takes to fill many days; for a transaction that holds no
            lock yet that a buyer could wait for.
    """
    connection = await session.connection()
    if patient:
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LONG_STATEMENT_TIMEOUT_MS}")
    await connection.execute(
        text(
            "SELECT code FROM warehouse WHERE code = ANY(CAST(:codes AS text[]))"
            " ORDER BY code FOR NO KEY UPDATE"
        ),
        {"codes": sorted(warehouses)},
    )


async def parcels_by_cut_off(
    session: AsyncSession, warehouses: Collection[str], *, since: datetime
) -> Mapping[tuple[str, datetime], int]:
    """Return how many parcels already leave at each cut-off from `since` on."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT warehouse, cut_off_at, sum(parcels) AS parcels FROM wave"
            " WHERE warehouse = ANY(CAST(:codes AS text[])) AND cut_off_at >= :since"
            " AND state <> 'cancelled' GROUP BY warehouse, cut_off_at"
        ),
        {"codes": list(warehouses), "since": since},
    )
    return {(row.warehouse, row.cut_off_at): int(row.parcels) for row in rows}


async def board(session: AsyncSession, slots: Mapping[Slot, Sequence[UUID]]) -> int:
    """Put planned parcels into the open waves of their slots, opening those that are missing.

    A slot whose wave has left already gets a wave of the next number. Call it under
    `guard_docks`. Returns how many waves were opened.
    """
    if not slots:
        return 0
    connection = await session.connection()
    wanted = sorted(slots, key=lambda s: (s.warehouse, s.carrier, s.cut_off_at))
    place = {
        "warehouses": [slot.warehouse for slot in wanted],
        "carriers": [slot.carrier for slot in wanted],
        "cut_offs": [slot.cut_off_at for slot in wanted],
    }
    # A wave that was emptied, such as by a carrier that is down, is used again: trying for hours
    # does not leave a trail of cancelled ones.
    revived = await connection.execute(
        text(
            "UPDATE wave SET state = 'open' WHERE id IN (SELECT DISTINCT ON (w.warehouse,"
            "   w.carrier, w.cut_off_at) w.id FROM wave w"
            "  WHERE (w.warehouse, w.carrier, w.cut_off_at) IN (SELECT * FROM unnest("
            "   CAST(:warehouses AS text[]), CAST(:carriers AS text[]),"
            "   CAST(:cut_offs AS timestamptz[])))"
            "  AND w.state = 'cancelled' AND w.parcels = 0 AND w.manifested_at IS NULL"
            "  AND NOT EXISTS (SELECT FROM wave o WHERE o.warehouse = w.warehouse"
            "   AND o.carrier = w.carrier AND o.cut_off_at = w.cut_off_at AND o.state = 'open')"
            "  ORDER BY w.warehouse, w.carrier, w.cut_off_at, w.number)"
        ),
        place,
    )
    opened = await connection.execute(
        text(
            "INSERT INTO wave (id, warehouse, carrier, cut_off_at, number)"
            " SELECT slot.id, slot.warehouse, slot.carrier, slot.cut_off_at,"
            "  (SELECT coalesce(max(w.number), 0) + 1 FROM wave w"
            "   WHERE w.warehouse = slot.warehouse AND w.carrier = slot.carrier"
            "   AND w.cut_off_at = slot.cut_off_at)"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:warehouses AS text[]),"
            "  CAST(:carriers AS text[]), CAST(:cut_offs AS timestamptz[]))"
            "  AS slot (id, warehouse, carrier, cut_off_at)"
            " WHERE NOT EXISTS (SELECT FROM wave w WHERE w.warehouse = slot.warehouse"
            "  AND w.carrier = slot.carrier AND w.cut_off_at = slot.cut_off_at"
            "  AND w.state = 'open')"
        ),
        {"ids": [new_id() for _ in wanted], **place},
    )
    pairs = [(number, each) for number, slot in enumerate(wanted) for each in slots[slot]]
    await connection.execute(
        text(
            "UPDATE shipment s SET wave_id = w.id"
            " FROM unnest(CAST(:shipments AS uuid[]), CAST(:numbers AS int[]))"
            "  AS boarding (shipment_id, number)"
            " JOIN unnest(CAST(:slots AS int[]), CAST(:warehouses AS text[]),"
            "  CAST(:carriers AS text[]), CAST(:cut_offs AS timestamptz[]))"
            "  AS slot (number, warehouse, carrier, cut_off_at) USING (number)"
            " JOIN wave w ON w.warehouse = slot.warehouse AND w.carrier = slot.carrier"
            "  AND w.cut_off_at = slot.cut_off_at AND w.state = 'open'"
            " WHERE s.id = boarding.shipment_id AND s.state = 'planned' AND s.wave_id IS NULL"
        ),
        {
            "shipments": [each for _, each in pairs],
            "numbers": [number for number, _ in pairs],
            "slots": list(range(len(wanted))),
            **place,
        },
    )
    await recount(session, slots=wanted)
    return revived.rowcount + opened.rowcount


async def recount(
    session: AsyncSession, *, slots: Sequence[Slot] = (), wave_ids: Collection[UUID] = ()
) -> None:
    """Set the parcels of waves to what is in them."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE wave w SET parcels = (SELECT count(*) FROM shipment s"
            "  WHERE s.wave_id = w.id AND s.state <> 'cancelled')"
            " WHERE w.id = ANY(CAST(:ids AS uuid[])) OR (w.state = 'open'"
            "  AND (w.warehouse, w.carrier, w.cut_off_at) IN (SELECT * FROM unnest("
            "   CAST(:warehouses AS text[]), CAST(:carriers AS text[]),"
            "   CAST(:cut_offs AS timestamptz[]))))"
        ),
        {
            "ids": list(wave_ids),
            "warehouses": [slot.warehouse for slot in slots],
            "carriers": [slot.carrier for slot in slots],
            "cut_offs": [slot.cut_off_at for slot in slots],
        },
    )


async def due_warehouses(session: AsyncSession) -> list[str]:
    """Return the warehouses with a wave that is due or was left half done."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT w.warehouse FROM wave w JOIN warehouse h ON h.code = w.warehouse"
            " WHERE (w.state = 'open' AND w.cut_off_at <= kit_now() AND NOT h.on_hold)"
            " OR w.state = 'locked' ORDER BY w.warehouse"
        )
    )
    return [row.warehouse for row in rows]


async def lock_due(session: AsyncSession, warehouse: str) -> list[WaveRow]:
    """Lock the rows of a warehouse's open waves whose cut-off has come; return them."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id, warehouse, carrier, cut_off_at, number, parcels FROM wave"
            " WHERE warehouse = :warehouse AND state = 'open'"
            " AND cut_off_at <= kit_now() ORDER BY id FOR UPDATE"
        ),
        {"warehouse": warehouse},
    )
    return [_wave(row) for row in rows]


async def set_locked(session: AsyncSession, wave_ids: Collection[UUID]) -> None:
    """Close waves to more parcels: what is in them is locked, what is empty is cancelled."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE shipment SET state = 'locked'"
            " WHERE wave_id = ANY(CAST(:ids AS uuid[])) AND state = 'planned'"
        ),
        {"ids": list(wave_ids)},
    )
    await recount(session, wave_ids=wave_ids)
    await connection.execute(
        text(
            "UPDATE wave SET state = CASE WHEN parcels = 0 THEN 'cancelled' ELSE 'locked' END"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'open'"
        ),
        {"ids": list(wave_ids)},
    )


async def locked_waves(session: AsyncSession, warehouse: str) -> list[WaveRow]:
    """Return the waves of a warehouse that are locked and not yet manifested."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id, warehouse, carrier, cut_off_at, number, parcels FROM wave"
            " WHERE warehouse = :warehouse AND state = 'locked' ORDER BY cut_off_at, id"
        ),
        {"warehouse": warehouse},
    )
    return [_wave(row) for row in rows]


async def cancel_empty(session: AsyncSession, wave_ids: Collection[UUID]) -> None:
    """Cancel locked waves that everything was taken out of; what comes back opens them again."""
    await recount(session, wave_ids=wave_ids)
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE wave SET state = 'cancelled' WHERE id = ANY(CAST(:ids AS uuid[]))"
            " AND state = 'locked' AND parcels = 0"
        ),
        {"ids": list(wave_ids)},
    )


async def set_manifested(session: AsyncSession, wave_id: UUID) -> bool:
    """Note that the warehouse has the list; False when it was noted before."""
    connection = await session.connection()
    moved = await connection.execute(
        text(
            "UPDATE wave SET state = 'manifested', manifested_at = kit_now()"
            " WHERE id = :id AND state = 'locked'"
        ),
        {"id": wave_id},
    )
    return moved.rowcount == 1


async def next_cut_off(session: AsyncSession) -> datetime | None:
    """Return when the next open wave is due (it may be past); None when there is none."""
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT min(w.cut_off_at) FROM wave w JOIN warehouse h ON h.code = w.warehouse"
            " WHERE w.state = 'open' AND NOT h.on_hold"
        )
    )
    moment: datetime | None = found.scalar_one()
    return moment
