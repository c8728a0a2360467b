"""Takes the locks of a purchase order's affairs in the order that everybody keeps."""

from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets, levels
from inventory.projection import Place
from suppliers import orders
from suppliers.orders import SupplyOrder


async def hold_order(session: AsyncSession, po_id: UUID, *, goods: bool = False) -> SupplyOrder:
    """Lock budgets, the buyers' orders its goods belong to, stock, then the order; return it.

    Args:
        goods: also lock the stock levels, for a caller that books movements.

    Raises:
        UnknownPurchaseOrder: there is no such order.
    """
    seen = await orders.read(session, po_id)
    await budgets.lock(session, seen.skus)
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT FROM buyer_order WHERE id IN (SELECT p.order_id FROM peg p"
            "  JOIN purchase_order_line l ON l.id = p.line_id"
            "  WHERE l.po_id = :po_id AND p.state = 'live') ORDER BY id FOR UPDATE"
        ),
        {"po_id": po_id},
    )
    if goods:
        await levels.lock(session, {Place(line.sku, line.warehouse) for line in seen.lines})
    return await orders.lock(session, po_id)
