"""Transactional outbox: facts are written with their cause and told after it committed.

Order is kept per key: a message is claimed only when no earlier one of its key is waiting
elsewhere, so one claimer works at a time and a failed message holds back its key, not the rest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id

LEASE_SECONDS: Final = 30
MAX_TRIES: Final = 12
_MAX_PAUSE_SECONDS: Final = 300
_CLAIM_LOCK: Final = 0x0B0C5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened, to be told: `topic` says what, `key` what it is ordered by."""

    topic: str
    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A claimed outbox row."""

    id: UUID
    topic: str
    key: str
    body: Mapping[str, Any]
    occurred_at: datetime
    attempts: int


async def emit(session: AsyncSession, facts: Iterable[Fact]) -> None:
    """Write facts in the caller's transaction, in order; call it after taking the rows' locks."""
    rows = [(new_id(), fact.topic, fact.key, json.dumps(fact.body)) for fact in facts]
    if not rows:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO outbox_message (id, topic, key, body)"
            " SELECT id, topic, key, body::jsonb FROM unnest(CAST(:ids AS uuid[]),"
            " CAST(:topics AS text[]), CAST(:keys AS text[]), CAST(:bodies AS text[]))"
            " AS fact (id, topic, key, body)"
        ),
        {
            "ids": [row[0] for row in rows],
            "topics": [row[1] for row in rows],
            "keys": [row[2] for row in rows],
            "bodies": [row[3] for row in rows],
        },
    )


async def claim(session: AsyncSession, *, limit: int = 500) -> list[Message]:
    """Lease the oldest due messages; return an empty list while another claimer is at it."""
    connection = await session.connection()
    mine = await connection.execute(
        text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _CLAIM_LOCK}
    )
    if not mine.scalar_one():
        return []
    rows = await connection.execute(
        text(
            "UPDATE outbox_message SET lease_until = now() + :lease * interval '1 second',"
            " attempts = attempts + 1 WHERE id IN ("
            "  SELECT id FROM outbox_message o WHERE sent_at IS NULL AND dead_at IS NULL"
            "  AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())"
            "  AND NOT EXISTS (SELECT FROM outbox_message e WHERE e.key = o.key AND e.id < o.id"
            "   AND e.sent_at IS NULL AND e.dead_at IS NULL"
            "   AND (e.due_at > now() OR e.lease_until >= now()))"
            "  ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)"
            " RETURNING id, topic, key, body, occurred_at, attempts"
        ),
        {"lease": LEASE_SECONDS, "limit": limit},
    )
    return sorted(
        (
            Message(
                id=row.id,
                topic=row.topic,
                key=row.key,
                body=row.body,
                occurred_at=row.occurred_at,
                attempts=row.attempts,
            )
            for row in rows
        ),
        key=lambda message: message.id,
    )


async def settle(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """Mark messages as told."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE outbox_message SET sent_at = now(), lease_until = NULL, error = NULL"
            " WHERE id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": list(ids)},
    )


async def give_back(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """Return leased messages that were not tried, because an earlier one of their key failed."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE outbox_message SET lease_until = NULL, attempts = attempts - 1"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND sent_at IS NULL"
        ),
        {"ids": list(ids)},
    )


async def fail(session: AsyncSession, message: Message, *, error: str) -> bool:
    """Put a message off with growing pauses; return True when it is now a dead letter."""
    dead = message.attempts >= MAX_TRIES
    pause = min(2 ** (message.attempts - 1), _MAX_PAUSE_SECONDS)
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE outbox_message SET lease_until = NULL, error = :error,"
            " due_at = now() + :pause * interval '1 second',"
            " dead_at = CASE WHEN :dead THEN now() END WHERE id = :id"
        ),
        {"id": message.id, "error": error[:1000], "pause": pause, "dead": dead},
    )
    return dead
