"""Takes goods in: stock, order lines, pegs and buyers' orders move in one transaction."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from groups.orders import mark_allocated
from inventory import ledger, pegs, promises
from inventory.ledger import Bucket, Movement, MovementType
from kit import outbox
from kit.inbox import Letter
from kit.outbox import Fact
from operations.errors import CannotApply
from operations.hold_order import hold_order
from operations.purchase_letters import ReceiptSaid, order_id, read_body
from operations.show_inbound import show_inbound
from suppliers import despatches, expectations, order_marks, orders
from suppliers.despatches import CountedLine, Delivery
from suppliers.lines import Counted, count
from suppliers.offers import read_company
from suppliers.orders import OrderLine, SupplyOrder, UnknownPurchaseOrder
from suppliers.sending import prove_sent
from suppliers.states import IllegalTransition, PurchaseOrderEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A line's goods: what was counted and where it goes."""

    line: OrderLine
    counted: Counted


async def apply(session: AsyncSession, letter: Letter) -> None:
    """Apply a warehouse's receipt in the caller's transaction; a number counts once.

    Raises:
        CannotApply: it is for no order of ours, another warehouse's, or one that is over.
    """
    said = read_body(letter, ReceiptSaid)
    warehouse = letter.source.removeprefix("warehouses:")
    try:
        order = await hold_order(session, order_id(said.client_ref), goods=True)
        order = await prove_sent(session, order)
    except UnknownPurchaseOrder as unknown:
        raise CannotApply(str(unknown)) from unknown
    delivery = _delivery(order, said, warehouse=warehouse)
    if not await despatches.keep_receipt(session, delivery):
        return
    company = await read_company(session, order.supplier)
    lines = {line.line_no: line for line in order.lines}
    taken = [
        _Taken(
            line=lines[row.line_no],
            counted=count(
                lines[row.line_no].units,
                good_units=row.good_units,
                damaged_units=row.damaged_units,
                over_delivery_bp=company.over_delivery_bp,
            ),
        )
        for row in delivery.lines
    ]
    received = _received(order, taken)
    event = PurchaseOrderEvent.RECEIVE_ALL if received.settled else PurchaseOrderEvent.RECEIVE_PART
    try:
        await orders.move(
            session,
            order,
            event,
            actor=warehouse,
            detail={"receipt_no": said.receipt_no, "asn_no": said.asn_no},
        )
    except IllegalTransition as illegal:
        raise CannotApply(str(illegal)) from illegal
    await orders.save_lines(session, received.lines)
    await _book(session, delivery, taken)
    await _hand_over(session, taken)
    facts = await show_inbound(session, received)
    await promises.settle_capability(session, order.supplier, done=_no_longer_open(taken))
    advised = await despatches.expected(session, order.id)
    await order_marks.set_due(
        session,
        order.id,
        expectations.due_at(received, advised=advised, ack_sla_hours=company.ack_sla_hours),
    )
    await outbox.emit(session, [*facts, _received_fact(delivery, taken)])


def _delivery(order: SupplyOrder, said: ReceiptSaid, *, warehouse: str) -> Delivery:
    """Return the receipt with one row a line, after asking whether it can be true."""
    places = {line.line_no: line.warehouse for line in order.lines}
    good: dict[int, int] = defaultdict(int)
    damaged: dict[int, int] = defaultdict(int)
    for row in said.lines:
        if places.get(row.line_no) != warehouse:
            raise CannotApply(f"order {order.id} has no line {row.line_no} for {warehouse}")
        if row.good_units < 0 or row.damaged_units < 0:
            raise CannotApply(f"line {row.line_no} counts less than nothing")
        good[row.line_no] += row.good_units
        damaged[row.line_no] += row.damaged_units
    return Delivery(
        warehouse=warehouse,
        receipt_no=said.receipt_no,
        po_id=order.id,
        asn_no=said.asn_no,
        received_at=said.received_at,
        lines=tuple(
            CountedLine(line_no=line_no, good_units=good[line_no], damaged_units=damaged[line_no])
            for line_no in sorted(good)
        ),
    )


def _received(order: SupplyOrder, taken: list[_Taken]) -> SupplyOrder:
    after = {row.line.id: replace(row.line, units=row.counted.units) for row in taken}
    return replace(order, lines=tuple(after.get(line.id, line) for line in order.lines))


async def _book(session: AsyncSession, delivery: Delivery, taken: list[_Taken]) -> None:
    movements = []
    for row in taken:
        moved = {
            Bucket.AVAILABLE: row.counted.sellable_units,
            Bucket.HELD: row.counted.held_units,
        }
        movements += [
            Movement(
                sku=row.line.sku,
                warehouse=delivery.warehouse,
                bucket=bucket,
                qty_delta=units,
                kind=MovementType.RECEIPT,
                reference=f"receipt:{delivery.receipt_no}",
                key=f"receipt:{delivery.warehouse}:{delivery.receipt_no}:{row.line.line_no}:{bucket}",
                actor=delivery.warehouse,
                reason=f"purchase order {delivery.po_id} line {row.line.line_no}",
                occurred_at=delivery.received_at,
            )
            for bucket, units in moved.items()
            if units
        ]
    await ledger.book(session, movements)


async def _hand_over(session: AsyncSession, taken: list[_Taken]) -> None:
    """Give the goods to the orders that waited for them."""
    turned: list[UUID] = []
    for row in sorted(taken, key=lambda row: row.line.id):
        turned += await pegs.turn(session, row.line.id, good_units=row.counted.sellable_units)
    await mark_allocated(session, turned)


def _no_longer_open(taken: list[_Taken]) -> Mapping[str, int]:
    done: Counter[str] = Counter()
    for row in taken:
        done[row.line.sku] += row.line.units.coming_units - row.counted.units.coming_units
    return {sku: units for sku, units in done.items() if units}


def _received_fact(delivery: Delivery, taken: list[_Taken]) -> Fact:
    return Fact(
        topic="goods.received",
        key=str(delivery.po_id),
        body={
            "po_id": str(delivery.po_id),
            "receipt_no": delivery.receipt_no,
            "warehouse": delivery.warehouse,
            "lines": [
                {
                    "sku": row.line.sku,
                    "sellable_units": row.counted.sellable_units,
                    "held_units": row.counted.held_units,
                }
                for row in taken
            ],
        },
    )
