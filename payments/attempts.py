"""Attempts to pay: made once per set of orders, closed when over, asked about when silent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id
from payments.tables import PaymentState

# DOMAIN.md: polled 1, 3, 10 and 30 minutes after it was made; after that every half hour.
POLLS_SECONDS: Final = (60, 180, 600, 1800)
_LATER_SECONDS: Final = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One order of an attempt."""

    id: UUID
    order_id: UUID
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A payment with its lines, in ascending order of their ids."""

    id: UUID
    user_id: UUID
    state: PaymentState
    amount_fen: int
    combined: bool
    prepay_id: str | None
    expires_at: datetime
    lines: tuple[Line, ...]

    @property
    def order_ids(self) -> set[UUID]:
        return {line.order_id for line in self.lines}


async def pending_of(session: AsyncSession, order_ids: Sequence[UUID]) -> list[Attempt]:
    """Return the attempts under way for any of the orders, whole."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT payment_id AS id FROM payment_line"
            " WHERE order_id = ANY(CAST(:orders AS uuid[])) AND state = 'pending'"
        ),
        {"orders": list(order_ids)},
    )
    return await read(session, [row.id for row in rows])


async def read(session: AsyncSession, payment_ids: Sequence[UUID]) -> list[Attempt]:
    """Return attempts by their ids."""
    if not payment_ids:
        return []
    connection = await session.connection()
    rows = (
        await connection.execute(
            text(
                "SELECT p.id, p.user_id, p.state, p.amount_fen, p.combined, p.prepay_id,"
                " p.expires_at, l.id AS line_id, l.order_id, l.amount_fen AS line_fen"
                " FROM payment p JOIN payment_line l ON l.payment_id = p.id"
                " WHERE p.id = ANY(CAST(:ids AS uuid[])) ORDER BY p.id, l.id"
            ),
            {"ids": list(payment_ids)},
        )
    ).all()
    lines: dict[UUID, list[Line]] = {}
    for row in rows:
        lines.setdefault(row.id, []).append(
            Line(id=row.line_id, order_id=row.order_id, amount_fen=row.line_fen)
        )
    heads = {row.id: row for row in rows}
    return [
        Attempt(
            id=head.id,
            user_id=head.user_id,
            state=PaymentState(head.state),
            amount_fen=head.amount_fen,
            combined=head.combined,
            prepay_id=head.prepay_id,
            expires_at=head.expires_at,
            lines=tuple(lines[head.id]),
        )
        for head in heads.values()
    ]


async def make(
    session: AsyncSession,
    *,
    user_id: UUID,
    provider: str,
    amounts_fen: dict[UUID, int],
    expires_at: datetime,
) -> Attempt:
    """Make an attempt for orders; the unique index on their pending lines is the referee.

    Args:
        amounts_fen: what each order costs.
    """
    payment_id = new_id()
    lines = tuple(
        Line(id=new_id(), order_id=order_id, amount_fen=amount_fen)
        for order_id, amount_fen in amounts_fen.items()
    )
    total_fen = sum(amounts_fen.values())
    connection = await session.connection()
    await connection.execute(
        text(
            "WITH made AS (INSERT INTO payment (id, user_id, provider, amount_fen, combined,"
            "  expires_at, poll_at) VALUES (:id, :user_id, :provider, :amount_fen, :combined,"
            "  :expires_at, kit_now() + :first_poll * interval '1 second'))"
            " INSERT INTO payment_line (id, payment_id, order_id, amount_fen)"
            " SELECT l.id, CAST(:payment_id AS uuid), l.order_id, l.amount_fen"
            " FROM unnest(CAST(:lines AS uuid[]), CAST(:orders AS uuid[]),"
            " CAST(:amounts AS bigint[])) AS l (id, order_id, amount_fen)"
        ),
        {
            "id": payment_id,
            "payment_id": payment_id,
            "user_id": user_id,
            "provider": provider,
            "amount_fen": total_fen,
            "combined": len(lines) > 1,
            "expires_at": expires_at,
            "first_poll": POLLS_SECONDS[0],
            "lines": [line.id for line in lines],
            "orders": [line.order_id for line in lines],
            "amounts": [line.amount_fen for line in lines],
        },
    )
    return Attempt(
        id=payment_id,
        user_id=user_id,
        state=PaymentState.PENDING,
        amount_fen=total_fen,
        combined=len(lines) > 1,
        prepay_id=None,
        expires_at=expires_at,
        lines=lines,
    )


async def keep_prepay(session: AsyncSession, payment_id: UUID, prepay_id: str) -> None:
    """Keep the provider's name of an attempt."""
    connection = await session.connection()
    await connection.execute(
        text("UPDATE payment SET prepay_id = :prepay_id WHERE id = :id"),
        {"id": payment_id, "prepay_id": prepay_id},
    )


async def close(session: AsyncSession, payment_ids: Sequence[UUID]) -> None:
    """Close attempts that nobody can pay any more; captured lines stay as they are."""
    connection = await session.connection()
    ids = {"ids": list(payment_ids)}
    await connection.execute(
        text(
            "UPDATE payment SET state = 'closed', poll_at = NULL"
            " WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'pending'"
        ),
        ids,
    )
    await connection.execute(
        text(
            "UPDATE payment_line SET state = 'closed'"
            " WHERE payment_id = ANY(CAST(:ids AS uuid[])) AND state = 'pending'"
        ),
        ids,
    )


async def hurry(session: AsyncSession, order_ids: Sequence[UUID]) -> None:
    """Have the provider asked at once about orders that died, so that nobody pays them."""
    if not order_ids:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE payment SET poll_at = kit_now() WHERE state = 'pending' AND id IN ("
            " SELECT payment_id FROM payment_line"
            " WHERE order_id = ANY(CAST(:orders AS uuid[])) AND state = 'pending')"
        ),
        {"orders": list(order_ids)},
    )


async def claim_due(session: AsyncSession, *, limit: int) -> list[UUID]:
    """Take attempts whose notify never came; each is put off to its next poll at once."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE payment p SET polls = p.polls + 1, poll_at = greatest("
            "  p.created_at + coalesce((CAST(:polls AS integer[]))[p.polls + 2], :later)"
            "  * interval '1 second', kit_now() + :first * interval '1 second')"
            " WHERE id IN (SELECT id FROM payment WHERE state = 'pending' AND poll_at <= kit_now()"
            "  ORDER BY poll_at LIMIT :limit FOR UPDATE SKIP LOCKED) RETURNING id, poll_at"
        ),
        {
            "polls": list(POLLS_SECONDS),
            "later": _LATER_SECONDS,
            "first": POLLS_SECONDS[0],
            "limit": limit,
        },
    )
    return [row.id for row in rows]
