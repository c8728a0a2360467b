"""What follows from every answer of a supplier: lines, inbound, capability, who must know."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import promises
from kit import outbox
from kit.outbox import Fact
from operations.show_inbound import show_inbound
from suppliers import capability, despatches, expectations, order_marks, orders
from suppliers.lines import LineUnits, refuse
from suppliers.offers import Company, read_company
from suppliers.orders import OrderLine, SupplyOrder
from suppliers.states import PurchaseOrderEvent


async def drop_order(
    session: AsyncSession, order: SupplyOrder, *, reason: str, actor: str
) -> SupplyOrder:
    """Let go of an order that its supplier refuses: inbound falls at once, a new plan is asked for.

    The order is held by the caller, see hold_order.
    """
    lines = tuple(replace(line, units=refuse(line.units)) for line in order.lines)
    refused = newly(order, lines, lambda units: units.rejected_units)
    moved = await orders.move(
        session, order, PurchaseOrderEvent.REJECT, actor=actor, detail={"reason": reason}
    )
    moved = replace(moved, lines=lines)
    await order_marks.set_closed_reason(session, order.id, reason)
    company = await read_company(session, order.supplier)
    facts = await settle_answer(session, moved, refused, company=company)
    facts.append(rejected_fact(moved, refused, reason=reason))
    await outbox.emit(session, facts)
    return moved


async def settle_answer(
    session: AsyncSession,
    order: SupplyOrder,
    refused: Mapping[UUID, int],
    *,
    company: Company,
) -> list[Fact]:
    """Write lines and dates, tell inventory, and return the facts.

    Args:
        refused: units that the supplier has just refused, by line.
    """
    await orders.save_lines(session, order.lines)
    facts = [] if order.sent_at is None else await show_inbound(session, order)
    by_sku: dict[str, int] = {}
    by_agreement: dict[UUID, int] = {}
    for line in order.lines:
        units = refused.get(line.id, 0)
        if units:
            by_sku[line.sku] = by_sku.get(line.sku, 0) + units
            by_agreement[line.agreement_id] = by_agreement.get(line.agreement_id, 0) + units
    if by_sku:
        await promises.settle_capability(session, order.supplier, rejected=by_sku)
        await order_marks.release_committed(session, by_agreement)
        await order_marks.begin_rest(session, order.id)
        await capability.refresh(session, sorted(by_sku))
    advised = await despatches.expected(session, order.id)
    due_at = expectations.due_at(order, advised=advised, ack_sla_hours=company.ack_sla_hours)
    await order_marks.set_due(session, order.id, due_at)
    facts.append(
        Fact(
            topic="purchase_order.answered",
            key=str(order.id),
            body={"po_id": str(order.id), "state": order.state.value},
        )
    )
    return facts


def newly(
    before: SupplyOrder, after: tuple[OrderLine, ...], units_of: Callable[[LineUnits], int]
) -> dict[UUID, int]:
    """Return by line how many units a number has grown, where it has."""
    return {
        new.id: grown
        for old, new in zip(before.lines, after, strict=True)
        if (grown := units_of(new.units) - units_of(old.units)) > 0
    }


def rejected_fact(order: SupplyOrder, refused: Mapping[UUID, int], *, reason: str) -> Fact:
    """Return the fact that asks for a new plan."""
    return Fact(
        topic="purchase_order.rejected",
        key=str(order.id),
        body={
            "po_id": str(order.id),
            "supplier": order.supplier,
            "reason": reason,
            "lines": [
                {"sku": line.sku, "warehouse": line.warehouse, "units": refused[line.id]}
                for line in order.lines
                if line.id in refused
            ],
        },
    )
