"""Money on its way back: queued with its cause, claimed to be sent, settled once.

Every function is called under the lock of the orders concerned, which come before their refunds
in the order of locks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit import outbox
from kit.ids import new_id
from payments import ledger
from payments.tables import RefundKind, RefundState

# Failed sendings until a person looks; with doubling pauses that is about two hours.
MAX_TRIES: Final = 10
CLAIM_SECONDS: Final = 60
_LONGEST_PAUSE_SECONDS: Final = 3_600
_DOUBLINGS: Final = 12
_FIRST_POLL_SECONDS: Final = 30
_FIRST_PAUSE_SECONDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Money of one captured line that is to go back."""

    line_id: UUID
    kind: RefundKind
    amount_fen: int | None  # None: whatever of the line is not on its way back already


async def queue(
    session: AsyncSession, owed: Sequence[Owed], *, reason: str, occurred_at: datetime
) -> list[UUID]:
    """Queue refunds and move the money to `refunds_due`; return the ids of the new ones.

    Owing the same kind of refund for a line twice is owing it once, and refunds of a line never
    exceed what was captured for it.
    """
    if not owed:
        return []
    connection = await session.connection()
    # Same line twice in one call would each see the other's money as free.
    lines = {(one.line_id, one.kind): one for one in owed}
    rows = sorted(lines.values(), key=lambda one: one.line_id)
    made = await connection.execute(
        text(
            "WITH owed AS (SELECT * FROM unnest(CAST(:lines AS uuid[]), CAST(:kinds AS text[]),"
            "  CAST(:amounts AS bigint[]), CAST(:ids AS uuid[]), CAST(:transactions AS uuid[]),"
            "  CAST(:debits AS uuid[]), CAST(:credits AS uuid[]))"
            "  AS o (line_id, kind, amount_fen, id, transaction_id, debit_id, credit_id)),"
            " free AS (SELECT o.*, l.order_id, l.amount_fen - coalesce((SELECT sum(r.amount_fen)"
            "   FROM refund r WHERE r.line_id = l.id), 0) AS free_fen"
            "  FROM owed o JOIN payment_line l ON l.id = o.line_id"
            "  WHERE l.state IN ('captured','orphaned')),"
            " made AS (INSERT INTO refund (id, line_id, order_id, kind, amount_fen, reason)"
            "  SELECT id, line_id, order_id, kind, least(coalesce(amount_fen, free_fen), free_fen),"
            "   :reason FROM free WHERE least(coalesce(amount_fen, free_fen), free_fen) > 0"
            "  ON CONFLICT (line_id, kind) DO NOTHING RETURNING id, order_id, amount_fen),"
            # What the shipped parcel earned is taken back from sales.
            " source AS (SELECT m.*, o.transaction_id, o.debit_id, o.credit_id, CASE WHEN"
            "   -(SELECT coalesce(sum(e.amount_fen), 0) FROM ledger_entry e"
            "   WHERE e.order_id = m.order_id AND e.account = 'deposits') >= m.amount_fen"
            "   THEN 'deposits' ELSE 'sales' END AS account FROM made m JOIN owed o USING (id)),"
            " posted AS (INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
            "  SELECT transaction_id, CAST(:posting AS text), CAST(:posting AS text) || ':' || id,"
            "   CAST(:occurred_at AS timestamptz) FROM source),"
            " entered AS (INSERT INTO ledger_entry"
            "   (id, transaction_id, account, order_id, amount_fen)"
            "  SELECT side.id, s.transaction_id, side.account, s.order_id, side.fen"
            "  FROM source s, LATERAL (VALUES (s.debit_id, s.account, s.amount_fen),"
            "   (s.credit_id, 'refunds_due', -s.amount_fen)) AS side (id, account, fen))"
            " SELECT id, order_id, amount_fen FROM made"
        ),
        {
            "lines": [one.line_id for one in rows],
            "kinds": [one.kind.value for one in rows],
            "amounts": [one.amount_fen for one in rows],
            "ids": [new_id() for _ in rows],
            "transactions": [new_id() for _ in rows],
            "debits": [new_id() for _ in rows],
            "credits": [new_id() for _ in rows],
            "reason": reason,
            "posting": ledger.REFUND_DUE,
            "occurred_at": occurred_at,
        },
    )
    queued = made.all()
    await outbox.emit(
        session,
        [
            outbox.Fact(
                topic="refund.queued",
                key=str(row.order_id),
                body={
                    "refund_id": str(row.id),
                    "order_id": str(row.order_id),
                    "amount_fen": row.amount_fen,
                    "reason": reason,
                },
            )
            for row in queued
        ],
    )
    return [row.id for row in queued]


async def queue_orders(
    session: AsyncSession, order_ids: Sequence[UUID], *, reason: str, occurred_at: datetime
) -> list[UUID]:
    """Queue whatever rests of the orders' captured lines."""
    if not order_ids:
        return []
    connection = await session.connection()
    lines = await connection.execute(
        text(
            "SELECT id FROM payment_line WHERE order_id = ANY(CAST(:orders AS uuid[]))"
            " AND state = 'captured' ORDER BY id FOR UPDATE"
        ),
        {"orders": list(order_ids)},
    )
    owed = [Owed(line_id=row.id, kind=RefundKind.WHOLE, amount_fen=None) for row in lines]
    return await queue(session, owed, reason=reason, occurred_at=occurred_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A refund leased to be sent, or asked about."""

    id: UUID
    order_id: UUID
    state: RefundState
    amount_fen: int
    total_fen: int  # what was captured
    transaction_id: str
    reason: str
    attempts: int


async def due_orders(session: AsyncSession, *, limit: int) -> list[UUID]:
    """Return the orders whose refunds are due by the wall clock, the longest due first."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT order_id FROM refund WHERE state IN ('queued','accepted') AND due_at <= now()"
            " ORDER BY due_at LIMIT :limit"
        ),
        {"limit": limit},
    )
    return list(dict.fromkeys(row.order_id for row in rows))


async def claim(session: AsyncSession, order_ids: Sequence[UUID]) -> list[Claimed]:
    """Lease the due refunds of orders; call it under the orders' locks."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE refund r SET due_at = now() + :lease * interval '1 second',"
            " attempts = r.attempts + 1 FROM payment_line l WHERE l.id = r.line_id AND r.id IN ("
            "  SELECT id FROM refund WHERE order_id = ANY(CAST(:orders AS uuid[]))"
            "  AND state IN ('queued','accepted') AND due_at <= now() ORDER BY id"
            "  FOR UPDATE SKIP LOCKED)"
            " RETURNING r.id, r.order_id, r.state, r.amount_fen, l.amount_fen AS total_fen,"
            " l.transaction_id, r.reason, r.attempts"
        ),
        {"lease": CLAIM_SECONDS, "orders": list(order_ids)},
    )
    return sorted(
        (
            Claimed(
                id=row.id,
                order_id=row.order_id,
                state=RefundState(row.state),
                amount_fen=row.amount_fen,
                total_fen=row.total_fen,
                transaction_id=row.transaction_id,
                reason=row.reason,
                attempts=row.attempts,
            )
            for row in rows
        ),
        key=lambda claimed: claimed.id,
    )


def pause_seconds(attempts: int, *, accepted: bool) -> int:
    """Return the wall seconds until a refund is tried, or asked about, again.

    >>> [pause_seconds(n, accepted=False) for n in (1, 2, 3, 20)]
    [2, 4, 8, 3600]
    >>> [pause_seconds(n, accepted=True) for n in (1, 2, 20)]
    [30, 60, 3600]
    """
    first = _FIRST_POLL_SECONDS if accepted else _FIRST_PAUSE_SECONDS
    return min(first << min(attempts - 1, _DOUBLINGS), _LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """A refund that is not decided yet."""

    id: UUID
    accepted: bool
    attempts: int
    provider_refund_id: str | None = None
    error: str | None = None


async def postpone(session: AsyncSession, rows: Sequence[Postponed]) -> None:
    """Put refunds off with growing pauses; an accepted one begins to be asked about."""
    if not rows:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE refund r SET state = CASE WHEN p.accepted THEN 'accepted' ELSE r.state END,"
            " provider_refund_id = coalesce(p.provider_refund_id, r.provider_refund_id),"
            # Being asked about is another thing than being sent: the count begins anew.
            " attempts = CASE WHEN p.accepted AND r.state = 'queued' THEN 0 ELSE r.attempts END,"
            " due_at = now() + p.pause * interval '1 second', last_error = p.error"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:accepted AS boolean[]),"
            "  CAST(:provider_ids AS text[]), CAST(:pauses AS integer[]),"
            "  CAST(:errors AS text[])) AS p (id, accepted, provider_refund_id, pause, error)"
            " WHERE r.id = p.id AND r.state IN ('queued','accepted')"
        ),
        {
            "ids": [row.id for row in rows],
            "accepted": [row.accepted for row in rows],
            "provider_ids": [row.provider_refund_id for row in rows],
            "pauses": [pause_seconds(row.attempts, accepted=row.accepted) for row in rows],
            "errors": [None if row.error is None else row.error[:500] for row in rows],
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A refund that reached the buyer."""

    id: UUID
    provider_refund_id: str
    settled_at: datetime  # business time, as the provider saw it


async def settle(session: AsyncSession, rows: Sequence[Settled]) -> set[UUID]:
    """Book refunds that reached the buyer; return the ids that were not booked before."""
    if not rows:
        return set()
    connection = await session.connection()
    booked = await connection.execute(
        text(
            "WITH told AS (SELECT * FROM unnest(CAST(:ids AS uuid[]),"
            "  CAST(:provider_ids AS text[]), CAST(:times AS timestamptz[]),"
            "  CAST(:transactions AS uuid[]), CAST(:debits AS uuid[]), CAST(:credits AS uuid[]))"
            "  AS t (id, provider_refund_id, at, transaction_id, debit_id, credit_id)),"
            " settled AS (UPDATE refund r SET state = 'succeeded', settled_at = t.at,"
            "  provider_refund_id = t.provider_refund_id, last_error = NULL FROM told t"
            "  WHERE r.id = t.id AND r.state <> 'succeeded'"
            "  RETURNING r.id, r.order_id, r.amount_fen, t.at, t.transaction_id, t.debit_id,"
            "  t.credit_id),"
            " posted AS (INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
            "  SELECT transaction_id, CAST(:posting AS text), CAST(:posting AS text) || ':' || id,"
            "   at FROM settled),"
            " entered AS (INSERT INTO ledger_entry"
            "   (id, transaction_id, account, order_id, amount_fen)"
            "  SELECT side.id, s.transaction_id, side.account, s.order_id, side.fen"
            "  FROM settled s, LATERAL (VALUES (s.debit_id, 'refunds_due', s.amount_fen),"
            "   (s.credit_id, 'provider', -s.amount_fen)) AS side (id, account, fen))"
            " SELECT id FROM settled"
        ),
        {
            "ids": [row.id for row in rows],
            "provider_ids": [row.provider_refund_id for row in rows],
            "times": [row.settled_at for row in rows],
            "transactions": [new_id() for _ in rows],
            "debits": [new_id() for _ in rows],
            "credits": [new_id() for _ in rows],
            "posting": ledger.REFUND,
        },
    )
    return {row.id for row in booked}


async def set_aside(session: AsyncSession, failed: dict[UUID, str]) -> set[UUID]:
    """Hand refunds to a person; return the ids that were not handed over before.

    Args:
        failed: why, by refund.
    """
    if not failed:
        return set()
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE refund r SET state = 'refund_attention', last_error = f.error"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:errors AS text[])) AS f (id, error)"
            " WHERE r.id = f.id AND r.state IN ('queued','accepted') RETURNING r.id"
        ),
        {"ids": list(failed), "errors": [error[:500] for error in failed.values()]},
    )
    return {row.id for row in rows}
