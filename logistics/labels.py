"""Labels in the database: wanted, asked for, known. A call that may have been made is `unknown`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from logistics.gateway import Label, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A parcel that needs a label; `asked` when an earlier call may have bought it."""

    ticket: Ticket
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A carrier's no; the parcel has no label and may try another day."""

    shipment_id: UUID
    reason: str


async def carriers_wanted(session: AsyncSession, wave_ids: Collection[UUID]) -> list[str]:
    """Return the carriers that owe labels to parcels of these waves."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT carrier FROM shipment WHERE wave_id = ANY(CAST(:waves AS uuid[]))"
            " AND state = 'locked' AND label_state IN ('none', 'unknown') ORDER BY carrier"
        ),
        {"waves": list(wave_ids)},
    )
    return [row.carrier for row in rows]


async def claim(
    session: AsyncSession,
    *,
    carrier: str,
    wave_ids: Collection[UUID],
    after: UUID | None,
    limit: int,
) -> list[Wanted]:
    """Return the next parcels to ask labels for, already marked as asked.

    The mark is committed before the first call, so whoever finds it after a crash looks the
    label up and never takes it for unasked.

    Args:
        after: the last shipment of the previous call, so that a run asks once for each.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT s.id, s.label_state, s.weight_grams, w.province, w.city, s.province AS to_p,"
            "  s.city AS to_c, (SELECT o.address FROM shipment_order so"
            "   JOIN buyer_order o ON o.id = so.order_id WHERE so.shipment_id = s.id"
            "   ORDER BY o.id LIMIT 1) AS address"
            " FROM shipment s JOIN warehouse w ON w.code = s.warehouse"
            " WHERE s.wave_id = ANY(CAST(:waves AS uuid[])) AND s.carrier = :carrier"
            " AND s.state = 'locked' AND s.label_state IN ('none', 'unknown')"
            " AND (CAST(:after AS uuid) IS NULL OR s.id > CAST(:after AS uuid))"
            " ORDER BY s.id LIMIT :limit FOR UPDATE OF s"
        ),
        {"waves": list(wave_ids), "carrier": carrier, "after": after, "limit": limit},
    )
    wanted = [
        Wanted(
            ticket=Ticket(
                shipment_id=row.id,
                origin_province=row.province,
                origin_city=row.city,
                address=_address(row.address, province=row.to_p, city=row.to_c),
                weight_grams=row.weight_grams,
            ),
            asked=row.label_state == "unknown",
        )
        for row in rows
    ]
    await connection.execute(
        text(
            "UPDATE shipment SET label_state = 'unknown', label_error = NULL"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND label_state = 'none'"
        ),
        {"ids": [each.ticket.shipment_id for each in wanted if not each.asked]},
    )
    return wanted


def _address(address: dict[str, Any] | None, *, province: str, city: str) -> dict[str, Any]:
    # The adcodes on the shipment are the ones that priced it.
    return {**(address or {}), "province": province, "city": city}


async def record(
    session: AsyncSession, *, bought: Sequence[Label], refused: Sequence[Refused]
) -> None:
    """Write what carriers answered; a label that is known already stays as it is."""
    connection = await session.connection()
    if bought:
        await connection.execute(
            text(
                "UPDATE shipment s SET label_state = 'purchased', label_id = n.label_id,"
                " tracking_no = n.tracking_no, price_fen = n.price_fen, label_error = NULL"
                " FROM unnest(CAST(:ids AS uuid[]), CAST(:labels AS text[]),"
                "  CAST(:numbers AS text[]), CAST(:prices AS int[]))"
                "  AS n (id, label_id, tracking_no, price_fen)"
                " WHERE s.id = n.id AND s.label_state IN ('none', 'unknown')"
            ),
            {
                "ids": [label.shipment_id for label in bought],
                "labels": [label.label_id for label in bought],
                "numbers": [label.tracking_no for label in bought],
                "prices": [label.price_fen for label in bought],
            },
        )
    if refused:
        await connection.execute(
            text(
                "UPDATE shipment s SET label_state = 'none', label_error = n.reason"
                " FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS n (id, reason)"
                " WHERE s.id = n.id AND s.label_state = 'unknown'"
            ),
            {
                "ids": [each.shipment_id for each in refused],
                "reasons": [each.reason[:200] for each in refused],
            },
        )


async def superfluous(session: AsyncSession, *, limit: int) -> list[tuple[UUID, str, str | None]]:
    """Return (shipment, carrier, label id) of cancelled parcels whose label may still be live."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id, carrier, label_id FROM shipment WHERE state = 'cancelled'"
            " AND label_state IN ('purchased', 'unknown') ORDER BY id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [(row.id, row.carrier, row.label_id) for row in rows]


async def set_voided(session: AsyncSession, shipment_ids: Collection[UUID]) -> None:
    """Note that the labels of cancelled parcels are given back, or were never bought."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE shipment SET label_state = 'voided'"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'cancelled'"
        ),
        {"ids": list(shipment_ids)},
    )
