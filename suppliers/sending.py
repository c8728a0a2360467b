"""From approved to sent: what is written before a supplier is called, and after it answered."""

from collections import Counter
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import promises
from inventory.promises import PromiseRow
from kit import outbox
from kit.outbox import Fact
from suppliers import orders
from suppliers.orders import SupplyOrder
from suppliers.states import PurchaseOrderEvent, PurchaseOrderState
from suppliers.tables import SendState

_LONGEST_PAUSE_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A try to send an order; `look_up` says that an earlier one may have reached the supplier."""

    order: SupplyOrder
    look_up: bool


async def to_send(session: AsyncSession, *, limit: int) -> list[UUID]:
    """Return approved orders whose next try is due (wall clock), oldest first."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id FROM purchase_order WHERE state = 'approved' AND send_at <= now()"
            " ORDER BY send_at, id LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [row.id for row in rows]


async def begin(session: AsyncSession, po_id: UUID) -> Attempt | None:
    """Note that the order is being sent, before it is; None when there is nothing to send.

    From here on its fate is unknown until an answer is written: a sender that dies in between
    leaves an order that the next one asks for first.
    """
    connection = await session.connection()
    await connection.execute(
        text("SELECT FROM purchase_order WHERE id = :id FOR UPDATE"), {"id": po_id}
    )
    order = await orders.read(session, po_id)
    if order.state is not PurchaseOrderState.APPROVED:
        return None
    await connection.execute(
        text(
            "UPDATE purchase_order SET send_state = 'unknown', attempts = attempts + 1"
            " WHERE id = :id"
        ),
        {"id": po_id},
    )
    return Attempt(order=order, look_up=order.send_state is SendState.UNKNOWN)


async def put_off(session: AsyncSession, order: SupplyOrder, *, known_unsent: bool) -> float:
    """Try again after a growing pause; return it in wall seconds.

    Args:
        known_unsent: this try did nothing at the supplier, so what was known before still holds.
    """
    pause_seconds = float(min(2**order.attempts, _LONGEST_PAUSE_SECONDS))
    state = order.send_state if known_unsent else SendState.UNKNOWN
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE purchase_order SET send_state = :state,"
            " send_at = now() + CAST(:pause AS float8) * interval '1 second'"
            " WHERE id = :id AND state = 'approved'"
        ),
        {"id": order.id, "state": state.value, "pause": pause_seconds},
    )
    return pause_seconds


async def mark_sent(
    session: AsyncSession, order: SupplyOrder, *, supplier_ref: str | None
) -> SupplyOrder:
    """Write that the supplier has the order: its units are inbound now, and no capability.

    The order is locked by the caller, after its SKUs' budgets.
    """
    moved = await orders.move(session, order, PurchaseOrderEvent.SEND, actor="caravan")
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "UPDATE purchase_order p SET send_state = 'sent', sent_at = kit_now(),"
                " supplier_ref = coalesce(CAST(:ref AS text), p.supplier_ref),"
                " due_at = kit_now() + s.ack_sla_hours * interval '1 hour'"
                " FROM supplier s WHERE p.id = :id AND s.code = p.supplier"
                " RETURNING p.sent_at, p.due_at"
            ),
            {"id": order.id, "ref": supplier_ref},
        )
    ).one()
    await promises.put(
        session,
        [
            PromiseRow(
                line_id=line.id,
                sku=line.sku,
                warehouse=line.warehouse,
                units=line.units.coming_units,
                promised_at=line.promised_at,
            )
            for line in order.lines
        ],
    )
    units: Counter[str] = Counter()
    for line in order.lines:
        units[line.sku] += line.units.coming_units
    await promises.spend_capability(session, order.supplier, units)
    fact = Fact(
        topic="purchase_order.sent",
        key=str(order.id),
        body={"po_id": str(order.id), "supplier": order.supplier},
    )
    await outbox.emit(session, [fact])
    return replace(
        moved,
        send_state=SendState.SENT,
        supplier_ref=supplier_ref or order.supplier_ref,
        sent_at=row.sent_at,
        due_at=row.due_at,
    )


async def prove_sent(session: AsyncSession, order: SupplyOrder) -> SupplyOrder:
    """Return the order as sent when somebody speaks of it while its sending is unknown.

    Who answers an order, or counts its goods, has received it.
    """
    if order.state is PurchaseOrderState.APPROVED and order.send_state is SendState.UNKNOWN:
        return await mark_sent(session, order, supplier_ref=None)
    return order
