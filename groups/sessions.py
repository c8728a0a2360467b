"""Who is calling: opaque 256-bit tokens, kept as their SHA-256 and judged by the wall clock."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id

# RELIABILITY, threats and controls: 2 h idle, 7 days at most.
IDLE_SECONDS: Final = 2 * 3600
LIFETIME_SECONDS: Final = 7 * 86_400
# `used_at` may lag by this much, so that reading a session seldom writes it.
_TOUCH_SECONDS: Final = 300
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The holder of a live token."""

    role: str  # buyer | ops
    user_id: UUID | None
    actor: str | None  # the operator's name


def token_hash(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


async def log_in(session: AsyncSession, openid: str) -> tuple[str, UUID, datetime]:
    """Return (token, user id, expiry) for a buyer, who is made on their first visit."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    connection = await session.connection()
    # The DO UPDATE changes nothing; it makes RETURNING answer for an old row as well.
    row = (
        await connection.execute(
            text(
                "WITH known AS (INSERT INTO buyer (id, openid) VALUES (:id, :openid)"
                " ON CONFLICT (openid) DO UPDATE SET openid = excluded.openid RETURNING id)"
                " INSERT INTO session (token_hash, user_id, role, expires_at)"
                " SELECT :hash, known.id, 'buyer', now() + :life * interval '1 second' FROM known"
                " RETURNING user_id, expires_at"
            ),
            {
                "id": new_id(),
                "openid": openid,
                "hash": token_hash(token),
                "life": LIFETIME_SECONDS,
            },
        )
    ).one()
    return token, row.user_id, row.expires_at


async def ops_token(session: AsyncSession, actor: str) -> str:
    """Return a new operator's token for the person called `actor`."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO session (token_hash, role, actor, expires_at)"
            " VALUES (:hash, 'ops', :actor, now() + :life * interval '1 second')"
        ),
        {"hash": token_hash(token), "actor": actor, "life": LIFETIME_SECONDS},
    )
    return token


async def who_are(session: AsyncSession, hashes: Collection[bytes]) -> dict[bytes, Who]:
    """Return the holders of those of the tokens that are alive."""
    connection = await session.connection()
    wanted = list(hashes)
    rows = (
        await connection.execute(
            text(
                "SELECT s.token_hash, s.role, s.user_id, s.actor,"
                " s.used_at < now() - :touch * interval '1 second' AS stale"
                " FROM unnest(CAST(:hashes AS bytea[])) AS wanted (token_hash)"
                " CROSS JOIN LATERAL (SELECT * FROM session"
                "  WHERE session.token_hash = wanted.token_hash) AS s"
                " WHERE s.expires_at > now()"
                " AND s.used_at > now() - :idle * interval '1 second'"
            ),
            {"hashes": wanted, "touch": _TOUCH_SECONDS, "idle": IDLE_SECONDS},
        )
    ).all()
    stale = sorted(row.token_hash for row in rows if row.stale)
    if stale:
        await connection.execute(
            text(
                "UPDATE session SET used_at = now() WHERE token_hash IN (SELECT token_hash"
                " FROM session WHERE token_hash = ANY(CAST(:hashes AS bytea[]))"
                " ORDER BY token_hash FOR UPDATE SKIP LOCKED)"
            ),
            {"hashes": stale},
        )
    return {
        row.token_hash: Who(role=row.role, user_id=row.user_id, actor=row.actor) for row in rows
    }


async def who(session: AsyncSession, token_hash: bytes) -> Who | None:
    """Return the holder of a token, or None when it is unknown, idle too long or expired."""
    return (await who_are(session, [token_hash])).get(token_hash)
