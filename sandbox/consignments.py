"""Goods on the road from a supplier to a warehouse, and the advices that go before them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sandbox.behaviours import SupplierBehaviour
from sandbox.offices import Office
from sandbox.orders import Line, Order, OrderState

_SOON: Final = timedelta(minutes=1)
_RECALLED_AFTER: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsignedLine:
    """What arrives of one line."""

    line_no: int
    sku: str
    good_units: int
    damaged_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """What arrives at a warehouse's gate."""

    supplier: str
    client_ref: str
    asn_no: str | None
    lines: tuple[ConsignedLine, ...]


# Called with the warehouse's code when goods arrive there.
Receive = Callable[[str, Consignment], None]


@dataclass(slots=True, kw_only=True)
class Load:
    """Lines of one order that travel together."""

    order: Order
    warehouse: str
    lines: Sequence[Line]
    expected_at: datetime
    delay: timedelta  # nobody knows of it before the promised day
    asn_no: str | None = None
    revision: int = 0
    advised: tuple[tuple[int, int], ...] = ()  # (line_no, units) of the last advice

    def units(self) -> tuple[tuple[int, int], ...]:
        """Return (line_no, units) of what is still wanted of it."""
        return tuple(
            (line.line_no, line.accepted_units) for line in self.lines if line.accepted_units
        )


class Road:
    """One supplier's despatch office."""

    def __init__(
        self,
        office: Office,
        *,
        transit: timedelta,
        behaviour: Callable[[], SupplierBehaviour],
        receive: Receive,
    ) -> None:
        self._office = office
        self._transit = transit
        self._behaviour = behaviour
        self._receive = receive

    def plan(self, load: Load) -> None:
        """Let a load leave in time for its promise."""
        leaves_at = load.expected_at - self._transit
        soon = self._office.clock.now + _SOON
        self._office.clock.at(max(leaves_at, soon), lambda: self._despatch(load))

    def advise(self, load: Load) -> None:
        """Tell the shop what is coming, unless it was told exactly that."""
        if load.advised == load.units():
            return
        kind = "despatch_advice.updated"
        if load.asn_no is None:
            kind = "despatch_advice.created"
            load.asn_no = self._office.number("asn")
        load.revision += 1
        load.advised = load.units()
        self._announce(
            kind,
            load,
            expected_at=load.expected_at.isoformat(),
            lines=[{"line_no": line_no, "units": units} for line_no, units in load.advised],
        )

    def _despatch(self, load: Load) -> None:
        strikes, behaviour = self._office.chances.strikes, self._behaviour()
        skus = [line.sku for line in load.lines]
        if not load.units():
            self._withdraw(load)
            return
        if strikes("recall", behaviour.recall, subjects=skus):
            self.advise(load)
            self._office.clock.after(_RECALLED_AFTER, lambda: self._withdraw(load))
            load_again = Load(
                order=load.order,
                warehouse=load.warehouse,
                lines=load.lines,
                expected_at=load.expected_at + _DAY,
                delay=load.delay,
            )
            self._office.clock.after(_DAY, lambda: self._despatch(load_again))
            return
        for line in load.lines:
            line.gone = True
        load.order.state = OrderState.DESPATCHED
        self._office.counts["despatched"] += 1
        if not strikes("unannounced", behaviour.unannounced, subjects=skus):
            self.advise(load)
        self._office.clock.at(load.expected_at, lambda: self._arrive(load))

    def _arrive(self, load: Load) -> None:
        if load.delay:
            load.expected_at += load.delay
            load.delay = timedelta()
            load.advised = ()
            if load.asn_no is not None:
                self.advise(load)
            self._office.clock.at(load.expected_at, lambda: self._arrive(load))
            return
        rest_after_days = self._behaviour().short.rest_after_days
        arriving, missing = self._inspect(load)
        self._hand_over(load, arriving)
        if missing and rest_after_days is not None:
            days = timedelta(days=rest_after_days)
            self._office.clock.after(days, lambda: self._hand_over(load, missing))

    def _inspect(self, load: Load) -> tuple[list[ConsignedLine], list[ConsignedLine]]:
        """Return what arrives and what was left behind."""
        strikes, behaviour = self._office.chances.strikes, self._behaviour()
        skus = [line.sku for line in load.lines]
        short_units = damaged_units = 0
        if strikes("short", behaviour.short, subjects=skus):
            short_units = behaviour.short.units
        if strikes("damaged", behaviour.damaged, subjects=skus):
            damaged_units = behaviour.damaged.units
        arriving: list[ConsignedLine] = []
        missing: list[ConsignedLine] = []
        for line in load.lines:
            short = broken = 0
            if behaviour.short.concerns((line.sku,)):
                short = min(short_units, line.accepted_units)
                short_units = 0
            if behaviour.damaged.concerns((line.sku,)):
                broken = min(damaged_units, line.accepted_units - short)
                damaged_units = 0
            good = line.accepted_units - short - broken
            if good or broken:
                arriving.append(_consigned(line, good_units=good, damaged_units=broken))
            if short:
                missing.append(_consigned(line, good_units=short, damaged_units=0))
        return arriving, missing

    def _hand_over(self, load: Load, lines: Sequence[ConsignedLine]) -> None:
        load.order.state = OrderState.DELIVERED
        if not lines:
            return
        self._office.counts["delivered"] += 1
        self._office.counts["units_delivered"] += sum(
            line.good_units + line.damaged_units for line in lines
        )
        self._receive(
            load.warehouse,
            Consignment(
                supplier=self._office.code,
                client_ref=load.order.client_ref,
                asn_no=load.asn_no,
                lines=tuple(lines),
            ),
        )

    def _withdraw(self, load: Load) -> None:
        if load.asn_no is None:
            return
        load.revision += 1
        self._announce("despatch_advice.cancelled", load)

    def _announce(self, kind: str, load: Load, **more: object) -> None:
        self._office.counts[kind] += 1
        data = {
            "client_ref": load.order.client_ref,
            "asn_no": load.asn_no,
            "revision": load.revision,
            **more,
        }
        self._office.announcer.announce(
            kind,
            data,
            faults=self._behaviour().events,
            subjects=[line.sku for line in load.lines],
        )


def _consigned(line: Line, *, good_units: int, damaged_units: int) -> ConsignedLine:
    return ConsignedLine(
        line_no=line.line_no, sku=line.sku, good_units=good_units, damaged_units=damaged_units
    )
