"""What a person sees who is asked whether a purchase order may be sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text

from kit.db import transaction
from kit.money import yuan
from operations.hold_order import hold_order
from operations.purchase_decision import from_plan
from suppliers import plans
from suppliers.orders import SupplyOrder, UnknownPurchaseOrder
from suppliers.states import PurchaseOrderState

_MOST_LINES: Final = 60
_HOW: Final = (
    "Above the approval limit. Tick **approve** and sign with your name; other quantities are"
    " checked against the supplier's terms and asked again. Without a tick the order is rejected"
    " and its goods are planned anew."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A purchase order that waits for a person."""

    po_id: UUID
    supplier: str
    total_fen: int

    @property
    def total(self) -> str:
        return yuan(self.total_fen)


async def all_waiting() -> list[Waiting]:
    """Return every order that waits for a person, the oldest first."""
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT id, supplier, total_fen FROM purchase_order"
                " WHERE state = 'pending_approval' ORDER BY id LIMIT 100"
            )
        )
        return [
            Waiting(po_id=row.id, supplier=row.supplier, total_fen=row.total_fen) for row in rows
        ]


async def form(po_id: UUID) -> str | None:
    """Return the form's text in markdown, or None when the order is decided or unknown."""
    try:
        async with transaction() as session:
            order = await hold_order(session, po_id)
            plan = await plans.find(session, plan_id=order.plan_id)
    except UnknownPurchaseOrder:
        return None
    if order.state is not PurchaseOrderState.PENDING_APPROVAL:
        return None
    lines = [] if plan is None else from_plan(plan).lines
    return _markdown(order, [line.reason for line in lines if line.supplier == order.supplier])


def _markdown(order: SupplyOrder, reasons: Sequence[str]) -> str:
    rows = "\n".join(
        f"| {line.line_no} | {line.sku} | {line.warehouse} | {line.units.ordered_units} |"
        f" {yuan(line.unit_price_fen)} | {line.requested_at:%Y-%m-%d} |"
        for line in order.lines[:_MOST_LINES]
    )
    more = len(order.lines) - _MOST_LINES
    lines = "| line | SKU | to | units | unit price | wanted by |\n|---|---|---|---|---|---|\n"
    parts = (
        f"# {order.supplier}: {yuan(order.total_fen)}",
        _HOW,
        lines + rows,
        f"… and {more} more lines" if more > 0 else "",
        _why(reasons),
    )
    return "\n\n".join(part for part in parts if part)


def _why(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    return "## Why\n\n" + "\n".join(f"- {reason}" for reason in reasons[:_MOST_LINES])
