"""Business time: `kit_now()` in SQL, read here, moved only outside production."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import Conflict
from kit.settings import settings

# Told when business time was moved, so that nobody waits for their next look at what is due.
CLOCK_MOVED: Final = "kit_clock"


class ClockRefused(Conflict):
    """Business time only moves forward, and never in production."""

    code = "clock_refused"


async def business_now(session: AsyncSession) -> datetime:
    """Return business time of this statement, aware UTC."""
    row = await session.connection()
    moment: datetime = (await row.exec_driver_sql("SELECT kit_now()")).scalar_one()
    return moment


async def move_clock(session: AsyncSession, *, to: datetime) -> datetime:
    """Move business time forward to `to` and return it; it goes on ticking from there.

    Raises:
        ClockRefused: in production, or when `to` lies in the past.
    """
    if settings().production:
        raise ClockRefused("business time is the wall clock in production")
    connection = await session.connection()
    moved = await connection.execute(
        text(
            "UPDATE kit_clock SET ahead = CAST(:to AS timestamptz) - statement_timestamp()"
            " WHERE CAST(:to AS timestamptz) - statement_timestamp() >= ahead"
        ),
        {"to": to},
    )
    if moved.rowcount == 0:
        now = await business_now(session)
        raise ClockRefused(f"business time is already {now.isoformat()}")
    await connection.exec_driver_sql(f"NOTIFY {CLOCK_MOVED}")
    return await business_now(session)
