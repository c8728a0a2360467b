"""What is noted on a purchase order beside its state: answers, dates, rests, commitments."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# A supplier that refused, or was refused here, is not asked for the same goods again for so long.
REST: Final = timedelta(hours=24)


async def set_answer(
    session: AsyncSession,
    po_id: UUID,
    *,
    revision: int,
    supplier_ref: str,
    proposal: Mapping[str, Any] | None,
) -> None:
    """Note which answer of the supplier is the last one, and the proposal it leaves open."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE purchase_order SET supplier_revision = :revision, supplier_ref = :ref,"
            " proposal = CAST(:proposal AS jsonb) WHERE id = :id"
        ),
        {
            "id": po_id,
            "revision": revision,
            "ref": supplier_ref,
            "proposal": None if proposal is None else json.dumps(dict(proposal)),
        },
    )


async def set_due(session: AsyncSession, po_id: UUID, due_at: datetime | None) -> None:
    """Note when something is expected of the order; None when nothing is."""
    connection = await session.connection()
    await connection.execute(
        text("UPDATE purchase_order SET due_at = CAST(:due AS timestamptz) WHERE id = :id"),
        {"id": po_id, "due": due_at},
    )


async def set_closed_reason(session: AsyncSession, po_id: UUID, reason: str) -> None:
    """Note why the order came to nothing, or to less than was ordered."""
    connection = await session.connection()
    await connection.execute(
        text("UPDATE purchase_order SET closed_reason = :reason WHERE id = :id"),
        {"id": po_id, "reason": reason[:500]},
    )


async def begin_rest(session: AsyncSession, po_id: UUID) -> None:
    """Let the supplier rest with what it refused of the order, or was refused of it here."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE purchase_order SET rest_until = kit_now() + CAST(:rest AS interval)"
            " WHERE id = :id"
        ),
        {"id": po_id, "rest": REST},
    )


async def end_rests(session: AsyncSession) -> int:
    """Forget the rests that are over and return how many there were."""
    connection = await session.connection()
    ended = await connection.execute(
        text("UPDATE purchase_order SET rest_until = NULL WHERE rest_until <= kit_now()")
    )
    return ended.rowcount


async def release_committed(session: AsyncSession, units: Mapping[UUID, int]) -> None:
    """Give back units of agreements that were released by orders and will not be delivered."""
    if not units:
        return
    ids = sorted(units)
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE supply_agreement a SET released_units = a.released_units - back.units"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:units AS integer[])) AS back (id, units)"
            " WHERE a.id = back.id"
        ),
        {"ids": ids, "units": [units[agreement_id] for agreement_id in ids]},
    )
