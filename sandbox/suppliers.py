"""Suppliers: they take purchase orders, answer later, make the goods and send them."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from sandbox.answers import json_answer, parse
from sandbox.behaviours import SupplierBehaviour
from sandbox.config import SupplierConfig
from sandbox.consignments import Load, Receive, Road
from sandbox.keyed import KeyedAnswers, idempotency_key
from sandbox.offices import Office
from sandbox.orders import Item, Line, Order, OrderState, dearer_fen, part_of
from sandbox.refusal import Refusal
from sandbox.wire import Cancellation, ItemChange, OrderedLine, PurchaseOrder

_OUT_OF_ORDER_BY: Final = timedelta(minutes=1)
_OVER: Final = {OrderState.REJECTED, OrderState.CANCELLED}


class Supplier:
    """One supplier."""

    def __init__(
        self,
        config: SupplierConfig,
        *,
        office: Office,
        warehouses: Collection[str],
        receive: Receive,
    ) -> None:
        self.office = office
        self.behaviour: SupplierBehaviour = config.behaviour
        self._answer_after = timedelta(seconds=config.answer_seconds)
        self._items = {item.sku: Item(item, lead_days=config.lead_days) for item in config.items}
        self._warehouses = warehouses
        self._orders: dict[str, Order] = {}  # by client_ref
        self._answers = KeyedAnswers()
        self._cancellations = KeyedAnswers()
        self._door = office.door(lambda: self.behaviour.answers)
        self._road = Road(
            office,
            transit=timedelta(days=config.transit_days),
            behaviour=lambda: self.behaviour,
            receive=receive,
        )

    # --- the shop's calls -------------------------------------------------------------

    async def order(self, request: Request) -> Response:
        """POST /purchase-orders."""

        def handle(body: bytes) -> Response:
            terms = parse(body, PurchaseOrder)
            key = idempotency_key(request, expected=terms.client_ref)
            if (given := self._answers.again(key, terms=terms)) is not None:
                return given
            for line in terms.lines:
                self._check_line(line)
            if len({line.line_no for line in terms.lines}) < len(terms.lines):
                raise Refusal(422, "validation", "a line_no stands there twice")
            order = Order(
                client_ref=terms.client_ref,
                supplier_ref=self.office.number("so"),
                lines=tuple(
                    Line(
                        line_no=line.line_no,
                        sku=line.sku,
                        warehouse=line.warehouse,
                        units=line.units,
                        unit_price_fen=line.unit_price_fen,
                    )
                    for line in terms.lines
                ),
            )
            self._orders[order.client_ref] = order
            self.office.counts["orders"] += 1
            self.office.clock.after(self._answer_after, lambda: self._decide(order))
            return self._answers.give(key, order.as_listed(), terms=terms, status=201)

        return await self._door.answer(request, call="order", handle=handle)

    async def lookup(self, request: Request) -> Response:
        """GET /purchase-orders?client_ref=ID."""

        def handle(_: bytes) -> Response:
            order = self._orders.get(request.query_params.get("client_ref", ""))
            return json_answer({"items": [] if order is None else [order.as_listed()]})

        return await self._door.answer(request, call="lookup", handle=handle)

    async def cancel(self, request: Request) -> Response:
        """POST /purchase-orders/{supplier_ref}/cancel."""

        def handle(body: bytes) -> Response:
            terms = parse(body, Cancellation)
            key = request.headers.get("idempotency-key")
            if not key:
                raise Refusal(400, "idempotency_key_missing", "no Idempotency-Key")
            if (given := self._cancellations.again(key, terms=terms)) is not None:
                return given
            order = self._orders.get(terms.client_ref)
            if order is None or order.supplier_ref != request.path_params["supplier_ref"]:
                raise Refusal(404, "unknown_order", "no such order")
            self._cancel(order, terms)
            return self._cancellations.give(key, order.as_listed(), terms=terms, status=202)

        return await self._door.answer(request, call="cancel", handle=handle)

    # --- what changes at the supplier's ----------------------------------------------

    def change_item(self, sku: str, change: ItemChange) -> None:
        """Change price list or capacity from now on and tell the shop.

        Raises:
            Refusal: it does not sell that.
        """
        item = self._items.get(sku)
        if item is None:
            raise Refusal(404, "unknown_sku", f"{sku} is not sold here")
        if change.breaks is not None:
            item.breaks = sorted(change.breaks, key=lambda rung: rung.min_units)
            self._announce(
                "supplier_item.price_changed",
                {
                    "sku": sku,
                    "valid_from": (change.valid_from or self.office.clock.now).isoformat(),
                    "breaks": item.breaks,
                },
                skus=(sku,),
            )
        if change.capacity_per_day is not None:
            item.capacity_per_day = change.capacity_per_day
            self._announce(
                "supplier_item.availability_changed",
                {"sku": sku, "capacity_per_day": item.capacity_per_day},
                skus=(sku,),
            )

    # --- deciding ---------------------------------------------------------------------

    def _decide(self, order: Order) -> None:
        if order.state is OrderState.CANCELLED:
            return
        order.answered = True
        strikes, behaviour = self.office.chances.strikes, self.behaviour
        if strikes("reject", behaviour.reject, subjects=order.skus):
            self._reject(order, reason=behaviour.reject.reason)
            return
        partial = strikes("partial", behaviour.partial, subjects=order.skus)
        late = strikes("late", behaviour.late, subjects=order.skus)
        changed = strikes("change", behaviour.change, subjects=order.skus)
        self._promise(order, partial=partial, late=late and behaviour.late.announced)
        dearer = self._price(order, changed=changed)
        if not any(line.accepted_units for line in order.lines):
            self._reject(order, reason="below_minimum_or_capacity")
            return
        loads = self._loads(order, late=late and not behaviour.late.announced)
        if strikes("out_of_order", behaviour.out_of_order, subjects=order.skus):
            for load in loads:
                self._road.advise(load)
            self.office.clock.after(
                _OUT_OF_ORDER_BY, lambda: self._answer(order, changed=changed or dearer)
            )
        else:
            self._answer(order, changed=changed or dearer)
        for load in loads:
            self._road.plan(load)

    def _promise(self, order: Order, *, partial: bool, late: bool) -> None:
        behaviour, now = self.behaviour, self.office.clock.now
        offered = {
            line.line_no: part_of(line.wanted_units, partial=behaviour.partial)
            if partial and behaviour.partial.concerns((line.sku,))
            else line.wanted_units
            for line in order.lines
        }
        # A price list counts a SKU's units over the whole order, whatever their warehouses.
        together = order.by_sku(lambda line: offered[line.line_no])
        for line in order.lines:
            item = self._items[line.sku]
            units = offered[line.line_no] if item.list_price_fen(together[line.sku]) != 0 else 0
            queue_days = item.book(units, today=now.date())
            if queue_days is None:
                units, queue_days = 0, 0
            late_days = behaviour.late.days if late and behaviour.late.concerns((line.sku,)) else 0
            line.accepted_units = units
            line.promised_at = now + timedelta(days=item.lead_days + queue_days + late_days)

    def _price(self, order: Order, *, changed: bool) -> bool:
        """Price the accepted units; return whether the own list is dearer than what was asked."""
        change, dearer = self.behaviour.change, False
        accepted = order.by_sku(lambda line: line.accepted_units)
        for line in order.lines:
            list_price_fen = self._items[line.sku].list_price_fen(accepted[line.sku])
            if list_price_fen is not None and list_price_fen > line.unit_price_fen:
                line.unit_price_fen, dearer = list_price_fen, True
            if changed and change.concerns((line.sku,)):
                line.unit_price_fen = dearer_fen(line.unit_price_fen, change=change)
                line.promised_at = _later(line.promised_at, days=change.days)
        return dearer

    def _loads(self, order: Order, *, late: bool) -> list[Load]:
        together: defaultdict[tuple[str, datetime], list[Line]] = defaultdict(list)
        for line in order.lines:
            if line.accepted_units and line.promised_at is not None:
                together[line.warehouse, line.promised_at].append(line)
        delay = timedelta(days=self.behaviour.late.days if late else 0)
        return [
            Load(
                order=order,
                warehouse=warehouse,
                lines=lines,
                expected_at=expected_at,
                delay=delay,
            )
            for (warehouse, expected_at), lines in together.items()
        ]

    def _answer(self, order: Order, *, changed: bool) -> None:
        kind, state = "purchase_order.accepted", OrderState.ACCEPTED
        more: dict[str, Any] = {}
        if changed:
            kind, state = "purchase_order.changed", OrderState.CHANGE_PROPOSED
            more = {
                "change_id": self.office.number("change"),
                "reason": self.behaviour.change.reason,
            }
        elif any(line.accepted_units < line.wanted_units for line in order.lines):
            kind, state = "purchase_order.partially_accepted", OrderState.PARTIALLY_ACCEPTED
        if order.state is OrderState.RECEIVED:
            order.state = state
        self._announce_order(
            kind, order, **more, lines=[line.as_answered() for line in order.lines]
        )

    def _reject(self, order: Order, *, reason: str) -> None:
        order.state = OrderState.REJECTED
        self._announce_order("purchase_order.rejected", order, reason=reason)

    def _cancel(self, order: Order, terms: Cancellation) -> None:
        lines = {line.line_no: line for line in order.lines}
        wanted: defaultdict[int, int] = defaultdict(int)
        for asked in terms.lines:
            wanted[asked.line_no] += asked.units
        for line_no, units in wanted.items():
            line = lines.get(line_no)
            if line is None:
                raise Refusal(422, "unknown_line", f"no line {line_no}")
            left = line.accepted_units if order.answered else line.wanted_units
            if order.state in _OVER or line.gone or units > left:
                raise Refusal(409, "too_late", f"line {line_no} cannot give up {units} units")
        for line_no, units in wanted.items():
            line = lines[line_no]
            line.cancelled_units += units
            if order.answered:
                line.accepted_units -= units
        self.office.counts["units_cancelled"] += sum(wanted.values())
        left_units = (
            line.accepted_units if order.answered else line.wanted_units for line in order.lines
        )
        if not any(left_units):
            order.state = OrderState.CANCELLED

    def _check_line(self, line: OrderedLine) -> None:
        if line.sku not in self._items:
            raise Refusal(422, "unknown_sku", f"{line.sku} is not sold here")
        if line.warehouse not in self._warehouses:
            raise Refusal(422, "unknown_warehouse", f"no road to {line.warehouse}")

    def _announce_order(self, kind: str, order: Order, **more: object) -> None:
        order.revision += 1
        data = {
            "client_ref": order.client_ref,
            "supplier_ref": order.supplier_ref,
            "revision": order.revision,
            **more,
        }
        self._announce(kind, data, skus=order.skus)

    def _announce(self, kind: str, data: dict[str, Any], *, skus: Collection[str]) -> None:
        self.office.counts[kind] += 1
        self.office.announcer.announce(kind, data, faults=self.behaviour.events, subjects=skus)


def _later(moment: datetime | None, *, days: int) -> datetime | None:
    return None if moment is None else moment + timedelta(days=days)
