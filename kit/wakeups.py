"""Wake-ups: who wants a flow to run writes (flow, key); asking twice is asking once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# So long the wake-ups of a dead runner wait; one that lives keeps what it works on.
LEASE_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A claimed wake-up; `asked` tells a new request that came while it was worked on."""

    flow: str
    key: str
    reason: str
    asked: int


async def wake(
    session: AsyncSession, flow: str, key: str = "", *, reason: str = "", delay_seconds: float = 0
) -> None:
    """Ask for a run of `flow`; an earlier request for the same key is brought forward, not doubled.

    Args:
        delay_seconds: wall seconds to wait, so that what follows is done in the same run.
    """
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO wake_up (flow, key, reason, due_at)"
            " VALUES (:flow, :key, :reason, now() + :delay * interval '1 second')"
            " ON CONFLICT (flow, key) DO UPDATE SET asked = wake_up.asked + 1,"
            " due_at = least(wake_up.due_at, excluded.due_at), reason = excluded.reason"
        ),
        {"flow": flow, "key": key, "reason": reason[:200], "delay": delay_seconds},
    )


async def claim(session: AsyncSession, flows: Sequence[str], *, limit: int = 100) -> list[Wanted]:
    """Lease due wake-ups of the named flows."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE wake_up SET lease_until = now() + :lease * interval '1 second'"
            " WHERE (flow, key) IN (SELECT flow, key FROM wake_up"
            "  WHERE flow = ANY(CAST(:flows AS text[])) AND due_at <= now()"
            "  AND (lease_until IS NULL OR lease_until < now())"
            "  ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)"
            " RETURNING flow, key, reason, asked"
        ),
        {"lease": LEASE_SECONDS, "flows": list(flows), "limit": limit},
    )
    return [Wanted(flow=r.flow, key=r.key, reason=r.reason, asked=r.asked) for r in rows]


async def keep(session: AsyncSession, wanted: Sequence[Wanted]) -> None:
    """Put off the end of the leases on wake-ups whose runs are still at it."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE wake_up w SET lease_until = now() + :lease * interval '1 second'"
            " FROM unnest(CAST(:flows AS text[]), CAST(:keys AS text[])) AS kept (flow, key)"
            " WHERE w.flow = kept.flow AND w.key = kept.key"
        ),
        {
            "lease": LEASE_SECONDS,
            "flows": [one.flow for one in wanted],
            "keys": [one.key for one in wanted],
        },
    )


async def settle(session: AsyncSession, wanted: Wanted) -> None:
    """Forget a wake-up whose run ended, unless it was asked for again meanwhile."""
    connection = await session.connection()
    forgotten = await connection.execute(
        text("DELETE FROM wake_up WHERE flow = :flow AND key = :key AND asked = :asked"),
        {"flow": wanted.flow, "key": wanted.key, "asked": wanted.asked},
    )
    if forgotten.rowcount == 0:
        await connection.execute(
            text("UPDATE wake_up SET lease_until = NULL WHERE flow = :flow AND key = :key"),
            {"flow": wanted.flow, "key": wanted.key},
        )


async def put_off(session: AsyncSession, wanted: Wanted, *, seconds: float) -> None:
    """Give a wake-up back after a failed run, to be taken again later."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE wake_up SET lease_until = NULL, due_at = now() + :pause * interval '1 second'"
            " WHERE flow = :flow AND key = :key"
        ),
        {"flow": wanted.flow, "key": wanted.key, "pause": seconds},
    )
