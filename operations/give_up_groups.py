"""Refund completed groups that nothing can cover by their ship-by date: a promise has an end.

A group is given up whole when its ship-by has come, a member still has neither goods nor a place
in inbound ones, and nothing of the SKU is ordered or under way. Who that is was decided before:
earlier completed groups are covered first.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.db import repeat_on_deadlock, transaction
from operations.cancel_order import OrderUnderWay, refund_orders

REASON: Final = "not_coverable"
_WAITING: Final = """
SELECT o.group_id, min(g.ship_by) AS ship_by
FROM buyer_order o JOIN buying_group g ON g.id = o.group_id
WHERE o.state IN ('confirmed', 'won') AND o.claim_units > 0
  AND g.state IN ('succeeded', 'drawn')
GROUP BY o.group_id
"""
_DUE: Final = f"""
SELECT w.group_id FROM ({_WAITING}) AS w JOIN buying_group g ON g.id = w.group_id
WHERE w.ship_by <= kit_now()
  AND NOT EXISTS (SELECT FROM supply_promise s
    WHERE s.sku = g.sku AND s.state = 'open' AND s.units > 0)
  AND NOT EXISTS (SELECT FROM purchase_order_line l JOIN purchase_order p ON p.id = l.po_id
    WHERE l.sku = g.sku AND p.state IN ('draft', 'pending_approval', 'approved', 'on_hold'))
ORDER BY w.ship_by, w.group_id LIMIT :limit
"""  # noqa: S608 - made of constants

log = structlog.get_logger("promises")


async def give_up_groups(limit: int = 50) -> int:
    """Refund the unshipped members of groups whose time is over; return how many groups.

    Safe to run twice: a group is judged again under its locks' order, one at a time.
    """
    async with transaction() as session:
        due = await _due(session, limit=limit)
    return sum([await repeat_on_deadlock(partial(_give_up, each)) for each in due])


async def next_due(session: AsyncSession) -> datetime | None:
    """Return the next ship-by of a group that still waits; one that is past waits for goods."""
    connection = await session.connection()
    found = await connection.execute(
        text(f"SELECT min(ship_by) FROM ({_WAITING}) AS w WHERE ship_by > kit_now()")  # noqa: S608 - made of constants
    )
    moment: datetime | None = found.scalar_one()
    return moment


async def _due(session: AsyncSession, *, limit: int) -> Sequence[UUID]:
    connection = await session.connection()
    rows = await connection.execute(text(_DUE), {"limit": limit})
    return [row.group_id for row in rows]


async def _give_up(group_id: UUID) -> bool:
    try:
        async with transaction() as session:
            connection = await session.connection()
            rows = await connection.execute(
                text(
                    "SELECT id FROM buyer_order WHERE group_id = :group"
                    " AND state IN ('confirmed', 'won', 'allocated') ORDER BY id"
                ),
                {"group": group_id},
            )
            refunded = await refund_orders(session, [row.id for row in rows], reason=REASON)
    except OrderUnderWay:
        # A member's parcel is being made after all; the others wait for goods or for a person.
        return False
    log.warning("group.given_up", group=str(group_id), orders=refunded)
    return refunded > 0
