"""Inbox: a partner's message is taken in once per (source, external_id) and applied once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id

LEASE_SECONDS: Final = 30
MAX_TRIES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A claimed inbox row."""

    id: UUID
    source: str
    external_id: str
    kind: str
    body: Mapping[str, Any]
    occurred_at: datetime
    attempts: int


async def take_in(
    session: AsyncSession,
    *,
    source: str,
    external_id: str,
    kind: str,
    body: Mapping[str, Any],
    occurred_at: datetime,
    applied: bool = False,
) -> bool:
    """Keep a message; return False when it was taken in before.

    Args:
        source: who says it, such as `suppliers:huaxin`.
        applied: True when the caller applies its effect in this same transaction.
    """
    connection = await session.connection()
    kept = await connection.execute(
        text(
            "INSERT INTO inbox_message (id, source, external_id, kind, body, occurred_at, state,"
            " settled_at) VALUES (:id, :source, :external_id, :kind, CAST(:body AS jsonb),"
            " :occurred_at, :state, CASE WHEN :applied THEN now() END)"
            " ON CONFLICT (source, external_id) DO NOTHING"
        ),
        {
            "id": new_id(),
            "source": source,
            "external_id": external_id,
            "kind": kind,
            "body": json.dumps(body),
            "occurred_at": occurred_at,
            "state": "applied" if applied else "received",
            "applied": applied,
        },
    )
    return kept.rowcount == 1


async def claim(session: AsyncSession, *, limit: int = 100) -> list[Letter]:
    """Lease the oldest waiting messages of all sources; several clerks may claim at once."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE inbox_message SET lease_until = now() + :lease * interval '1 second',"
            " attempts = attempts + 1 WHERE id IN ("
            "  SELECT id FROM inbox_message WHERE state = 'received'"
            "  AND (lease_until IS NULL OR lease_until < now())"
            "  ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)"
            " RETURNING id, source, external_id, kind, body, occurred_at, attempts"
        ),
        {"lease": LEASE_SECONDS, "limit": limit},
    )
    return sorted(
        (
            Letter(
                id=row.id,
                source=row.source,
                external_id=row.external_id,
                kind=row.kind,
                body=row.body,
                occurred_at=row.occurred_at,
                attempts=row.attempts,
            )
            for row in rows
        ),
        key=lambda letter: letter.id,
    )


async def mark_applied(session: AsyncSession, letter_id: UUID) -> bool:
    """Mark a message applied, in the transaction of its effect; False when it already was.

    Call it first: its row lock makes a second clerk wait and then find nothing to do.
    """
    connection = await session.connection()
    marked = await connection.execute(
        text(
            "UPDATE inbox_message SET state = 'applied', settled_at = now(), lease_until = NULL,"
            " reason = NULL WHERE id = :id AND state <> 'applied'"
        ),
        {"id": letter_id},
    )
    return marked.rowcount == 1


async def park(session: AsyncSession, letter_id: UUID, *, reason: str) -> None:
    """Set a message aside for a person: it is understood, but cannot be applied."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE inbox_message SET state = 'parked', settled_at = now(), lease_until = NULL,"
            " reason = :reason WHERE id = :id AND state <> 'applied'"
        ),
        {"id": letter_id, "reason": reason[:1000]},
    )


async def replay(session: AsyncSession, letter_id: UUID) -> bool:
    """Hand a parked message to the clerk again; False when it is not parked."""
    connection = await session.connection()
    moved = await connection.execute(
        text(
            "UPDATE inbox_message SET state = 'received', settled_at = NULL, attempts = 0"
            " WHERE id = :id AND state = 'parked'"
        ),
        {"id": letter_id},
    )
    return moved.rowcount == 1
