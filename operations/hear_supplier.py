"""Acts on what suppliers say: answers to orders, refusals, goods on their way, new terms."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kit import outbox
from kit.inbox import Letter
from operations.errors import CannotApply
from operations.hold_order import hold_order
from operations.purchase_letters import (
    AdviceSaid,
    AnswerSaid,
    CapacitySaid,
    PricesSaid,
    RejectionSaid,
    order_id,
    read_body,
)
from operations.settle_answer import drop_order, newly, rejected_fact, settle_answer
from suppliers import capability, despatches, items, order_marks, orders
from suppliers.answers import AnsweredLine, AskedLine, deviations, proposal_document
from suppliers.despatches import Advice
from suppliers.lines import LineRefused, answer
from suppliers.offers import Company, read_company
from suppliers.orders import OrderLine, SupplyOrder, UnknownPurchaseOrder
from suppliers.sending import prove_sent
from suppliers.states import IllegalTransition, PurchaseOrderEvent, PurchaseOrderState

_E = PurchaseOrderEvent
_S = PurchaseOrderState
# Goods are moving already, so the last answer may find that nothing is missing any more.
_GOODS_CAME: Final = frozenset({_S.PARTIALLY_RECEIVED})


async def apply(session: AsyncSession, letter: Letter) -> None:
    """Apply a supplier's message in the caller's transaction.

    Raises:
        CannotApply: it is about another supplier's or no order, cannot be true now, or contradicts
            itself.
    """
    act = _ACTS.get(letter.kind)
    if act is None:
        raise CannotApply(f"suppliers do not say {letter.kind}")
    try:
        await act(session, letter)
    except (IllegalTransition, LineRefused, items.ItemRefused) as refused:
        raise CannotApply(str(refused)) from refused


async def _held(session: AsyncSession, letter: Letter, client_ref: str) -> SupplyOrder:
    """Lock and return the supplier's own order; what a supplier answers it has received."""
    try:
        order = await hold_order(session, order_id(client_ref))
    except UnknownPurchaseOrder as unknown:
        raise CannotApply(str(unknown)) from unknown
    if letter.source != f"suppliers:{order.supplier}":
        raise CannotApply(f"order {order.id} is not an order to {letter.source}")
    return await prove_sent(session, order)


async def _hear_answer(session: AsyncSession, letter: Letter) -> None:
    said = read_body(letter, AnswerSaid)
    order = await _held(session, letter, said.client_ref)
    if said.revision <= order.supplier_revision:
        return
    company = await read_company(session, order.supplier)
    answered = _answered(order, said, in_full=letter.kind == "purchase_order.accepted")
    asked = [_asked(line) for line in order.lines]
    found = deviations(asked, answered, price_tolerance_bp=company.price_tolerance_bp)
    if found:
        change = {"change_id": said.change_id, "reason": said.reason, "revision": said.revision}
        proposal = proposal_document(change, asked, answered, found)
        await _propose(session, order, said, proposal, answered)
    elif not any(row.accepted_units for row in answered.values()):
        await _refuse(session, order, said.supplier_ref, said.revision, "nothing accepted")
    else:
        await _accept(session, order, said, answered, company)


def _answered(order: SupplyOrder, said: AnswerSaid, *, in_full: bool) -> dict[int, AnsweredLine]:
    """Return what is said of each line; a line that is not named is not accepted."""
    known = {line.line_no: line for line in order.lines}
    answered: dict[int, AnsweredLine] = {}
    for row in said.lines:
        if row.line_no not in known or row.line_no in answered:
            raise CannotApply(f"line {row.line_no} is unknown or named twice")
        units = known[row.line_no].units
        if not 0 <= row.accepted_units <= units.ordered_units - units.cancelled_units:
            raise CannotApply(f"line {row.line_no} accepts {row.accepted_units} units")
        answered[row.line_no] = AnsweredLine(
            line_no=row.line_no,
            accepted_units=row.accepted_units,
            unit_price_fen=row.unit_price_fen,
            promised_at=row.promised_at,
        )
    for line_no, line in known.items():
        wanted = line.units.ordered_units - line.units.cancelled_units
        got = answered[line_no].accepted_units if line_no in answered else 0
        if in_full and got < wanted:
            raise CannotApply(f"accepted, but line {line_no} only with {got} of {wanted} units")
        if line_no not in answered:
            answered[line_no] = AnsweredLine(
                line_no=line_no,
                accepted_units=0,
                unit_price_fen=line.unit_price_fen,
                promised_at=None,
            )
    return answered


def _asked(line: OrderLine) -> AskedLine:
    return AskedLine(
        line_no=line.line_no,
        sku=line.sku,
        ordered_units=line.units.ordered_units - line.units.cancelled_units,
        unit_price_fen=line.unit_price_fen,
        requested_at=line.requested_at,
        safety_days=line.safety_days,
    )


async def _accept(
    session: AsyncSession,
    order: SupplyOrder,
    said: AnswerSaid,
    answered: Mapping[int, AnsweredLine],
    company: Company,
) -> None:
    lines = tuple(
        replace(
            line,
            units=answer(line.units, accepted_units=answered[line.line_no].accepted_units),
            promised_at=answered[line.line_no].promised_at or line.promised_at,
        )
        for line in order.lines
    )
    refused = newly(order, lines, lambda units: units.rejected_units)
    event = _E.ACCEPT_PART if refused else _E.ACCEPT
    moved = await orders.move(
        session, order, event, actor=order.supplier, detail={"revision": said.revision}
    )
    moved = replace(moved, lines=lines)
    if moved.settled and moved.state in _GOODS_CAME:
        moved = await orders.move(session, moved, _E.RECEIVE_ALL, actor=order.supplier)
    await order_marks.set_answer(
        session,
        order.id,
        revision=said.revision,
        supplier_ref=said.supplier_ref,
        proposal=None,
    )
    facts = await settle_answer(session, moved, refused, company=company)
    if refused:
        facts.append(rejected_fact(moved, refused, reason="accepted in part"))
    await outbox.emit(session, facts)


async def _propose(
    session: AsyncSession,
    order: SupplyOrder,
    said: AnswerSaid,
    proposal: Mapping[str, Any],
    answered: Mapping[int, AnsweredLine],
) -> None:
    """Keep other terms for a person to judge; no unit moves, only the later date is believed."""
    moved = await orders.move(
        session, order, _E.PROPOSE, actor=order.supplier, detail=proposal["effect"]
    )
    await order_marks.set_answer(
        session,
        order.id,
        revision=said.revision,
        supplier_ref=said.supplier_ref,
        proposal=proposal,
    )
    lines = tuple(
        replace(
            line,
            promised_at=max(
                line.promised_at, answered[line.line_no].promised_at or line.promised_at
            ),
        )
        for line in order.lines
    )
    company = await read_company(session, order.supplier)
    facts = await settle_answer(session, replace(moved, lines=lines), {}, company=company)
    await outbox.emit(session, facts)


async def _hear_rejection(session: AsyncSession, letter: Letter) -> None:
    said = read_body(letter, RejectionSaid)
    order = await _held(session, letter, said.client_ref)
    if said.revision <= order.supplier_revision:
        return
    await _refuse(session, order, said.supplier_ref, said.revision, said.reason)


async def _refuse(
    session: AsyncSession, order: SupplyOrder, supplier_ref: str, revision: int, reason: str
) -> None:
    await order_marks.set_answer(
        session, order.id, revision=revision, supplier_ref=supplier_ref, proposal=None
    )
    await drop_order(session, order, reason=reason, actor=order.supplier)


async def _hear_advice(session: AsyncSession, letter: Letter) -> None:
    said = read_body(letter, AdviceSaid)
    order = await _held(session, letter, said.client_ref)
    cancelled = letter.kind == "despatch_advice.cancelled"
    known = {line.line_no for line in order.lines}
    unknown = {row.line_no for row in said.lines} - known
    if unknown or any(row.units < 0 for row in said.lines):
        raise CannotApply(f"the advice names unknown lines {sorted(unknown)} or negative units")
    if said.expected_at is None and not cancelled:
        raise CannotApply("the advice does not say when")
    units: dict[int, int] = {}
    for row in said.lines:
        units[row.line_no] = units.get(row.line_no, 0) + row.units
    advice = Advice(
        po_id=order.id,
        asn_no=said.asn_no,
        revision=said.revision,
        cancelled=cancelled,
        expected_at=said.expected_at,
        units=units,
    )
    if not await despatches.put_advice(session, advice):
        return
    if not cancelled:
        order = await orders.move(
            session,
            order,
            _E.DESPATCH,
            actor=order.supplier,
            detail={"asn_no": said.asn_no, "revision": said.revision},
        )
    company = await read_company(session, order.supplier)
    await outbox.emit(session, await settle_answer(session, order, {}, company=company))


async def _hear_prices(session: AsyncSession, letter: Letter) -> None:
    said = read_body(letter, PricesSaid)
    supplier = letter.source.removeprefix("suppliers:")
    breaks = [(row.min_units, row.unit_price_fen) for row in said.breaks]
    await items.change_prices(
        session, supplier, said.sku, breaks=breaks, valid_from=said.valid_from
    )
    await capability.refresh(session, [said.sku])


async def _hear_capacity(session: AsyncSession, letter: Letter) -> None:
    said = read_body(letter, CapacitySaid)
    supplier = letter.source.removeprefix("suppliers:")
    await items.change_capacity(session, supplier, said.sku, capacity_per_day=said.capacity_per_day)
    await capability.refresh(session, [said.sku])


_ACTS: Final[Mapping[str, Callable[[AsyncSession, Letter], Awaitable[None]]]] = MappingProxyType(
    {
        "purchase_order.accepted": _hear_answer,
        "purchase_order.partially_accepted": _hear_answer,
        "purchase_order.changed": _hear_answer,
        "purchase_order.rejected": _hear_rejection,
        "despatch_advice.created": _hear_advice,
        "despatch_advice.updated": _hear_advice,
        "despatch_advice.cancelled": _hear_advice,
        "supplier_item.price_changed": _hear_prices,
        "supplier_item.availability_changed": _hear_capacity,
    }
)
