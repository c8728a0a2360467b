"""Take in what a carrier says of its parcels: every event once, the highest rank wins."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.inbox import Letter
from logistics.tables import TrackingStatus
from logistics.tracking import highest
from operations.errors import CannotApply
from operations.settle_deliveries import settle_deliveries


class _Update(Struct, frozen=True):
    tracking_no: str
    event_id: str
    status: TrackingStatus
    occurred_at: Annotated[datetime, Meta(tz=True)]
    place: str = ""


class _News(Struct, frozen=True):
    updates: Annotated[tuple[_Update, ...], Meta(min_length=1)]


async def apply(session: AsyncSession, letter: Letter) -> None:
    """Apply `tracking.updated`.

    A carrier speaks only of its own parcels: updates of numbers that it has not given us are
    passed over, and a letter with nothing else in it is parked. News of a parcel that has not
    left its warehouse, as far as we have heard, is kept and counts when it has.

    Raises:
        CannotApply: it names no parcel of this carrier, or is not in the agreed shape.
    """
    carrier = letter.source.partition(":")[2]
    try:
        updates = msgspec.convert(letter.body, _News).updates
    except msgspec.ValidationError as error:
        raise CannotApply(f"not in the agreed shape: {error}") from error
    named = await _parcels(session, carrier, updates)
    if not named:
        raise CannotApply(f"{carrier} has given us no parcel of {len(updates)} named")
    known = [update for update in updates if update.tracking_no in named]
    await _lock(session, sorted(named.values()))
    await _keep(session, carrier, [(named[each.tracking_no], each) for each in known])
    await _raise_status(session, sorted(named.values()))
    await settle_deliveries(session, list(named.values()))


async def _parcels(
    session: AsyncSession, carrier: str, updates: tuple[_Update, ...]
) -> dict[str, UUID]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id, tracking_no FROM shipment WHERE carrier = :carrier"
            " AND tracking_no = ANY(CAST(:numbers AS text[]))"
        ),
        {"carrier": carrier, "numbers": sorted({update.tracking_no for update in updates})},
    )
    return {row.tracking_no: row.id for row in rows}


async def _lock(session: AsyncSession, shipment_ids: list[UUID]) -> None:
    """Lock the orders in the parcels, then the parcels; decide in the next statement."""
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM buyer_order WHERE id IN (SELECT order_id FROM shipment_order"
            " WHERE shipment_id = ANY(CAST(:ids AS uuid[]))) ORDER BY id FOR UPDATE"
        ),
        {"ids": shipment_ids},
    )
    await connection.execute(
        text("SELECT 1 FROM shipment WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"),
        {"ids": shipment_ids},
    )


async def _keep(session: AsyncSession, carrier: str, events: list[tuple[UUID, _Update]]) -> None:
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO tracking_event (carrier, event_id, shipment_id, status, place,"
            " occurred_at) SELECT :carrier, * FROM unnest(CAST(:events AS text[]),"
            " CAST(:shipments AS uuid[]), CAST(:statuses AS text[]), CAST(:places AS text[]),"
            " CAST(:moments AS timestamptz[])) ON CONFLICT (carrier, event_id) DO NOTHING"
        ),
        {
            "carrier": carrier,
            "events": [update.event_id for _, update in events],
            "shipments": [shipment_id for shipment_id, _ in events],
            "statuses": [update.status.value for _, update in events],
            "places": [update.place[:200] for _, update in events],
            "moments": [update.occurred_at for _, update in events],
        },
    )


async def _raise_status(session: AsyncSession, shipment_ids: list[UUID]) -> None:
    """Set each parcel's status to the highest ever heard of it."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT shipment_id, array_agg(DISTINCT status) AS heard FROM tracking_event"
            " WHERE shipment_id = ANY(CAST(:ids AS uuid[])) GROUP BY shipment_id"
        ),
        {"ids": shipment_ids},
    )
    reached = {
        row.shipment_id: highest(TrackingStatus(status) for status in row.heard) for row in rows
    }
    await connection.execute(
        text(
            "UPDATE shipment s SET tracking = n.status FROM unnest(CAST(:ids AS uuid[]),"
            " CAST(:statuses AS text[])) AS n (id, status)"
            " WHERE s.id = n.id AND s.tracking <> n.status"
        ),
        {"ids": list(reached), "statuses": [status.value for status in reached.values()]},
    )
