"""Purchase orders as operations page through them, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from suppliers import orders
from suppliers.orders import SupplyOrder
from suppliers.states import PurchaseOrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An order with what a list shows beside it."""

    order: SupplyOrder
    overdue: bool  # an answer or goods should have come by now (business time)
    closed_reason: str | None


async def page(
    session: AsyncSession,
    *,
    states: Sequence[PurchaseOrderState] = (),
    supplier: str | None = None,
    overdue: bool = False,
    before: UUID | None = None,
    limit: int,
) -> list[Listed]:
    """Return orders below `before` in the order of their ids, which is that of their making.

    Args:
        states: none is every state.
        overdue: only those of which something should have been heard.
    """
    connection = await session.connection()
    given: dict[str, Any] = {
        "states": [state.value for state in states] or None,
        "supplier": supplier,
        "overdue": overdue,
        "before": before,
        "limit": limit,
    }
    rows = await connection.execute(
        text(
            "SELECT id, coalesce(due_at <= kit_now(), false) AS overdue, closed_reason"
            " FROM purchase_order"
            " WHERE (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid))"
            " AND (CAST(:states AS text[]) IS NULL OR state = ANY(CAST(:states AS text[])))"
            " AND (CAST(:supplier AS text) IS NULL OR supplier = CAST(:supplier AS text))"
            " AND (NOT CAST(:overdue AS boolean) OR due_at <= kit_now())"
            " ORDER BY id DESC LIMIT :limit"
        ),
        given,
    )
    found = {row.id: row for row in rows}
    read = {order.id: order for order in await orders.read_many(session, list(found))}
    return [
        Listed(order=read[po_id], overdue=row.overdue, closed_reason=row.closed_reason)
        for po_id, row in found.items()
    ]
