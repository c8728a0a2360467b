"""Leases by business key, in wall time: a doubled run finds the key taken and does nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import text

from kit.db import transaction
from kit.ids import new_id

LEASE_SECONDS: Final = 120


@asynccontextmanager
async def lease(name: str, *, seconds: int = LEASE_SECONDS) -> AsyncIterator[bool]:
    """Hold `name` for the block; yield False when somebody else holds it.

    A holder that dies is forgotten after `seconds`; work under a lease is keyed all the same.
    """
    holder = new_id()
    taken = await _take(name, holder, seconds=seconds)
    try:
        yield taken
    finally:
        if taken:
            async with transaction() as session:
                connection = await session.connection()
                await connection.execute(
                    text("DELETE FROM lease WHERE name = :name AND holder = :holder"),
                    {"name": name, "holder": holder},
                )


async def _take(name: str, holder: UUID, *, seconds: int) -> bool:
    async with transaction() as session:
        connection = await session.connection()
        taken = await connection.execute(
            text(
                "INSERT INTO lease (name, holder, until)"
                " VALUES (:name, :holder, now() + :seconds * interval '1 second')"
                " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
                " until = excluded.until WHERE lease.until < now()"
            ),
            {"name": name, "holder": holder, "seconds": seconds},
        )
        return taken.rowcount == 1
