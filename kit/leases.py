"""Leases by business key, in wall time: a doubled run finds the key taken and does nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from kit.db import transaction
from kit.errors import CaravanError
from kit.ids import new_id

# So long a dead holder keeps others out; one that lives renews, however long its work takes.
LEASE_SECONDS: Final = 10
_RENEWALS_A_LEASE: Final = 4

log = structlog.get_logger("leases")


@asynccontextmanager
async def lease(name: str, *, seconds: int = LEASE_SECONDS) -> AsyncIterator[bool]:
    """Hold `name` for the block; yield False when somebody else holds it.

    A holder that dies, or stands still, is forgotten after `seconds`; work under a lease is keyed
    all the same.
    """
    holder = new_id()
    if not await _take(name, holder, seconds=seconds):
        yield False
        return
    renewing = asyncio.create_task(_renew(name, holder, seconds=seconds), name=f"lease {name}")
    try:
        yield True
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
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


async def _renew(name: str, holder: UUID, *, seconds: int) -> None:
    """Put off the end again and again; a database that is away for a moment is asked again."""
    while True:
        await asyncio.sleep(seconds / _RENEWALS_A_LEASE)
        try:
            async with transaction() as session:
                connection = await session.connection()
                await connection.execute(
                    text(
                        "UPDATE lease SET until = now() + :seconds * interval '1 second'"
                        " WHERE name = :name AND holder = :holder"
                    ),
                    {"name": name, "holder": holder, "seconds": seconds},
                )
        except (CaravanError, SQLAlchemyError) as error:
            log.warning("lease.not_renewed", lease=name, error=str(error))
