"""Gives up what a supplier left out: after goods came, and nothing more for a day and a half."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

from sqlalchemy import text

from inventory import promises
from kit import outbox
from kit.clock import business_now
from kit.db import transaction
from operations.hold_order import hold_order
from operations.show_inbound import show_inbound
from suppliers import despatches, expectations, orders
from suppliers.lines import close_short as close_line
from suppliers.offers import read_company
from suppliers.orders import JournalEntry
from suppliers.states import PurchaseOrderEvent, PurchaseOrderState


async def close_short(*, limit: int = 100) -> int:
    """Close the lines whose rest is given up; return how many units that is.

    Buyers' orders that waited for them are uncovered again, those of the groups that completed
    last first, which asks for a new plan.
    """
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT DISTINCT p.id FROM purchase_order p"
                " JOIN purchase_order_line l ON l.po_id = p.id"
                " JOIN receipt r ON r.po_id = p.id AND r.warehouse = l.warehouse"
                " WHERE p.due_at <= kit_now() AND p.state = 'partially_received'"
                " AND l.unanswered_units + l.open_units > 0 ORDER BY p.id LIMIT :limit"
            ),
            {"limit": limit},
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
            await orders.set_closed_reason(session, po_id, "short")
        await orders.save_lines(session, after.lines)
        facts = await show_inbound(session, after)
        await promises.settle_capability(session, order.supplier, done=given_up)
        await orders.release_committed(
            session, Counter({line.agreement_id: line.units.coming_units for line in short})
        )
        company = await read_company(session, order.supplier)
        due_at = expectations.due_at(after, advised=advised, ack_sla_hours=company.ack_sla_hours)
        await orders.set_due(session, po_id, due_at)
        await outbox.emit(session, facts)
        return given_up.total()
