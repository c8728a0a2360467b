"""Moves business time and says what waits: the next due moment and the work not yet done."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.clock import business_now, move_clock
from kit.db import transaction
from operations import close_short, give_up_groups, ship_waves

# Everything that somebody acts upon when business time reaches it, and nothing else: what nobody
# acts upon would be overdue for ever. Each has an index. A seat of a group past its deadline is
# not released for its own time: the group's end does it, after the provider was asked.
_NEXT_DUE: Final = """
SELECT min(due_at) FROM (
    (SELECT o.reserved_until AS due_at FROM buyer_order o JOIN buying_group g ON g.id = o.group_id
     WHERE o.state = 'reserved' AND g.state IN ('draft','open') AND g.deadline_at > kit_now()
     ORDER BY o.reserved_until LIMIT 1)
    UNION ALL (SELECT due_at FROM buying_group WHERE due_at IS NOT NULL
     AND state IN ('draft','open','closing') ORDER BY due_at LIMIT 1)
    UNION ALL (SELECT poll_at FROM payment WHERE state = 'pending' ORDER BY poll_at LIMIT 1)
    UNION ALL (SELECT recompute_at FROM seat_budget WHERE recompute_at IS NOT NULL
     ORDER BY recompute_at LIMIT 1)
) AS due
"""
# Work that no clock has to move for: it is only not done yet.
_BACKLOG: Final = """
SELECT (SELECT count(*) FROM inbox_message WHERE state = 'received')
     + (SELECT count(*) FROM outbox_message WHERE sent_at IS NULL AND dead_at IS NULL)
     + (SELECT count(*) FROM wake_up WHERE reason <> 'schedule')
     + (SELECT count(*) FROM refund WHERE state = 'queued')
     + (SELECT count(DISTINCT sku) FROM budget_mark)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReport:
    """Business time, the earliest moment something is due (past: it is late), work waiting."""

    now: datetime
    next_due_at: datetime | None
    backlog: int


async def read() -> ClockReport:
    """Return the clock without moving it."""
    async with transaction() as session:
        return await _report(session, now=await business_now(session))


async def move(*, to: datetime) -> ClockReport:
    """Move business time forward.

    Raises:
        ClockRefused: in production, or backwards.
    """
    async with transaction() as session:
        return await _report(session, now=await move_clock(session, to=to))


async def _report(session: AsyncSession, *, now: datetime) -> ClockReport:
    connection = await session.connection()
    dues = (
        (await connection.execute(text(_NEXT_DUE))).scalar_one(),
        await close_short.next_due(session),
        await give_up_groups.next_due(session),
        await ship_waves.next_cut_off(session),
    )
    backlog = (await connection.execute(text(_BACKLOG))).scalar_one()
    next_due_at = min((due for due in dues if due is not None), default=None)
    return ClockReport(now=now, next_due_at=next_due_at, backlog=backlog)
