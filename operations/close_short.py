"""Gives up what a supplier left out: after goods came, and nothing more for a day and a half."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import promises
from kit import outbox, wakeups
from kit.clock import business_now
from kit.db import transaction
from operations.hold_order import hold_order
from operations.show_inbound import show_inbound
from suppliers import despatches, expectations, order_marks, orders
from suppliers.expectations import SHORT_AFTER
from suppliers.lines import close_short as close_line
from suppliers.offers import read_company
from suppliers.orders import JournalEntry
from suppliers.states import PurchaseOrderEvent, PurchaseOrderState

# When what is missing of a line will be given up; see suppliers.expectations.short_lines.
_SHORT_AT: Final = """
SELECT p.id, greatest(max(r.received_at), s.promised_at) + CAST(:after AS interval) AS short_at
FROM purchase_order p JOIN purchase_order_line l ON l.po_id = p.id
JOIN supply_promise s ON s.line_id = l.id
JOIN receipt r ON r.po_id = p.id AND r.warehouse = l.warehouse
WHERE p.state = 'partially_received' AND l.unanswered_units + l.open_units > 0
GROUP BY p.id, l.id, s.promised_at
"""


async def next_due(session: AsyncSession) -> datetime | None:
    """Return when, in business time, something here is to be done: a short close, a rest's end."""
    connection = await session.connection()
    due = await connection.execute(
        text(
            f"SELECT least((SELECT min(short_at) FROM ({_SHORT_AT}) AS short),"  # noqa: S608  # our own text
            " (SELECT min(rest_until) FROM purchase_order WHERE rest_until IS NOT NULL))"
        ),
        {"after": SHORT_AFTER},
    )
    found: datetime | None = due.scalar_one()
    return found


async def watch_purchases() -> int:
    """Do what is due of purchase orders; return how much there was. For the clerk.

    What is missing too long is given up, and suppliers that have rested may be asked again: both
    wake `replenish`.
    """
    async with transaction() as session:
        rested = await order_marks.end_rests(session)
        if rested:
            await wakeups.wake(session, "replenish", reason="a supplier has rested")
    return rested + await close_short()


async def close_short(*, limit: int = 100) -> int:
    """Close the lines whose rest is given up; return how many units that is.

    Buyers' orders that waited for them are uncovered again, those of the groups that completed
    last first, which asks for a new plan.
    """
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                f"SELECT DISTINCT id FROM ({_SHORT_AT}) AS short WHERE short_at <= kit_now()"  # noqa: S608  # our own text
                " ORDER BY id LIMIT :limit"
            ),
            {"after": SHORT_AFTER, "limit": limit},
        )
        due = [row.id for row in rows]
    return sum([await _close(po_id) for po_id in due])


async def _close(po_id: UUID) -> int:
    async with transaction() as session:
        order = await hold_order(session, po_id)
        if order.state is not PurchaseOrderState.PARTIALLY_RECEIVED:
            return 0
        advised = await despatches.expected(session, po_id)
        short = expectations.short_lines(
            order,
            advised=advised,
            received=await despatches.last_receipts(session, [po_id]),
            now=await business_now(session),
        )
        if not short:
            return 0
        closed = {line.id: replace(line, units=close_line(line.units)) for line in short}
        after = replace(order, lines=tuple(closed.get(line.id, line) for line in order.lines))
        given_up: Counter[str] = Counter()
        for line in short:
            given_up[line.sku] += line.units.coming_units
        entry = JournalEntry(po_id=po_id, kind="short", detail={"units": dict(given_up)})
        await orders.write_journal(session, [entry])
        if after.settled:
            after = await orders.move(session, after, PurchaseOrderEvent.RECEIVE_ALL)
            await order_marks.set_closed_reason(session, po_id, "short")
        await orders.save_lines(session, after.lines)
        facts = await show_inbound(session, after)
        await promises.settle_capability(session, order.supplier, done=given_up)
        await order_marks.release_committed(
            session, Counter({line.agreement_id: line.units.coming_units for line in short})
        )
        company = await read_company(session, order.supplier)
        due_at = expectations.due_at(after, advised=advised, ack_sla_hours=company.ack_sla_hours)
        await order_marks.set_due(session, po_id, due_at)
        await outbox.emit(session, facts)
        return given_up.total()
