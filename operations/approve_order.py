"""A person judges a purchase order above the limit: two clicks are one act, and it has a name."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit import outbox
from kit.db import transaction
from kit.errors import Unprocessable
from kit.outbox import Fact
from operations.hold_order import hold_order
from operations.settle_answer import rejected_fact
from suppliers import capability, edits, order_marks, orders
from suppliers.lines import cancel
from suppliers.orders import JournalEntry, SupplyOrder
from suppliers.states import IllegalTransition, PurchaseOrderEvent, PurchaseOrderState

_E = PurchaseOrderEvent
_S = PurchaseOrderState


class NoReason(Unprocessable):
    """A rejection says why."""

    code = "purchase_order.no_reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An order after a person's judgement; `changed` is False for the second click."""

    po_id: UUID
    state: PurchaseOrderState
    total_fen: int
    changed: bool


async def approve(
    po_id: UUID, actor: str, *, quantities: Mapping[int, int] | None = None
) -> Judged:
    """Approve an order, to be sent; or change its quantities, after which it is asked again.

    Args:
        actor: who approves.
        quantities: units by line number, where they are to be others.

    Raises:
        UnknownPurchaseOrder: there is none.
        IllegalTransition: it is not, or no longer, to be approved.
        EditRefused: the supplier's terms do not allow these quantities.
    """
    async with transaction() as session:
        order = await hold_order(session, po_id)
        if quantities and edits.differs(order, quantities):
            return await _edit(session, order, actor, quantities)
        if order.state is _S.APPROVED or order.approved_by is not None:
            return _judged(order, changed=False)
        moved = await orders.move(session, order, _E.APPROVE, actor=actor)
        connection = await session.connection()
        await connection.execute(
            text(
                "UPDATE purchase_order SET approved_by = :actor, approved_at = kit_now()"
                " WHERE id = :id"
            ),
            {"id": po_id, "actor": actor},
        )
        fact = Fact(
            topic="purchase_order.approved",
            key=str(po_id),
            body={"po_id": str(po_id), "approved_by": actor},
        )
        await outbox.emit(session, [fact])
        return _judged(moved, changed=True)


async def reject(po_id: UUID, actor: str, reason: str) -> Judged:
    """Refuse an order before it is sent; its supplier is passed over for a day.

    Raises:
        UnknownPurchaseOrder: there is none.
        IllegalTransition: it is sent already, or not for a person to refuse.
        NoReason: no reason is given.
    """
    if not reason.strip():
        raise NoReason("a rejection says why")
    async with transaction() as session:
        order = await hold_order(session, po_id)
        if order.state is _S.CANCELLED:
            return _judged(order, changed=False)
        moved = await orders.move(session, order, _E.REFUSE, actor=actor, detail={"reason": reason})
        moved = replace(
            moved,
            lines=tuple(replace(line, units=cancel(line.units)) for line in order.lines),
        )
        await orders.save_lines(session, moved.lines)
        await order_marks.set_closed_reason(session, po_id, f"{actor}: {reason}")
        units = {line.id: line.units.unanswered_units for line in order.lines}
        by_agreement: Counter[UUID] = Counter()
        for line in order.lines:
            by_agreement[line.agreement_id] += units[line.id]
        await order_marks.release_committed(session, by_agreement)
        await order_marks.begin_rest(session, po_id)
        await capability.refresh(session, order.skus)
        await outbox.emit(session, [rejected_fact(moved, units, reason=reason)])
        return _judged(moved, changed=True)


async def _edit(
    session: AsyncSession, order: SupplyOrder, actor: str, quantities: Mapping[int, int]
) -> Judged:
    """Change the lines of an order that waits for approval; it goes on waiting."""
    if order.state is not _S.PENDING_APPROVAL:
        raise IllegalTransition(order.state, _E.ASK_APPROVAL)
    terms = await edits.read_terms_of(session, order)
    edited = edits.edit(order, quantities, terms=terms)
    await edits.save(session, edited)
    grown: dict[UUID, int] = defaultdict(int)
    for old, new in zip(order.lines, edited.lines, strict=True):
        grown[old.agreement_id] += old.units.ordered_units - new.units.ordered_units
    await order_marks.release_committed(session, grown)
    entry = JournalEntry(
        po_id=order.id,
        kind="edited",
        actor=actor,
        detail={"quantities": {str(no): units for no, units in quantities.items()}},
    )
    await orders.write_journal(session, [entry])
    return _judged(edited, changed=True)


def _judged(order: SupplyOrder, *, changed: bool) -> Judged:
    return Judged(po_id=order.id, state=order.state, total_fen=order.total_fen, changed=changed)
