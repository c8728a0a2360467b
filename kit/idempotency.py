"""Answers kept under (owner, route, key): a repeated request gets the same answer, once given."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import Unprocessable


class KeyReused(Unprocessable):
    """The key was used before with another body."""

    code = "idempotency_key_reuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer given before."""

    status: int
    answer: Mapping[str, Any]


def body_hash(body: bytes) -> bytes:
    """Return the fingerprint that tells two bodies under one key apart."""
    return hashlib.sha256(body).digest()


async def recall(
    session: AsyncSession, *, owner: str, route: str, key: str, fingerprint: bytes
) -> Kept | None:
    """Return the answer given under this key, or None; call it under a lock that orders the key.

    Raises:
        KeyReused: the key was used with another body.
    """
    connection = await session.connection()
    # The lock makes a second request with a key in flight wait for the first one's answer.
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"),
        {"name": f"{owner}|{route}|{key}"},
    )
    row = (
        await connection.execute(
            text(
                "SELECT body_hash, status, answer FROM idempotent_answer"
                " WHERE owner = :owner AND route = :route AND key = :key"
            ),
            {"owner": owner, "route": route, "key": key},
        )
    ).one_or_none()
    if row is None:
        return None
    if row.body_hash != fingerprint:
        raise KeyReused("this Idempotency-Key was used with another body")
    return Kept(status=row.status, answer=row.answer)


async def remember(
    session: AsyncSession,
    *,
    owner: str,
    route: str,
    key: str,
    fingerprint: bytes,
    status: int,
    answer: Mapping[str, Any],
) -> None:
    """Keep a terminal answer in the transaction of its effect; never a 5xx."""
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO idempotent_answer (owner, route, key, body_hash, status, answer)"
            " VALUES (:owner, :route, :key, :hash, :status, CAST(:answer AS jsonb))"
        ),
        {
            "owner": owner,
            "route": route,
            "key": key,
            "hash": fingerprint,
            "status": status,
            "answer": json.dumps(answer),
        },
    )
