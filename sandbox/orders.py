"""What a supplier makes of a purchase order: pure rules, no clock and no network."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sandbox.behaviours import Change, Partial
from sandbox.config import SupplierItem
from sandbox.wire import Break

# A supplier without an end of its queue would promise the next century.
_QUEUE_DAYS = 365


class OrderState(StrEnum):
    """As a lookup shows it."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
    PARTIALLY_ACCEPTED = "partially_accepted"
    CHANGE_PROPOSED = "change_proposed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DESPATCHED = "despatched"
    DELIVERED = "delivered"


@dataclass(slots=True, kw_only=True)
class Line:
    """A line of an order and what became of it."""

    line_no: int
    sku: str
    warehouse: str
    units: int
    unit_price_fen: int
    accepted_units: int = 0
    cancelled_units: int = 0
    promised_at: datetime | None = None
    gone: bool = False  # handed to the road; nothing to cancel any more

    @property
    def wanted_units(self) -> int:
        """Units asked and not cancelled."""
        return self.units - self.cancelled_units

    def as_answered(self) -> dict[str, Any]:
        """Return the line as acceptances and proposals write it."""
        promised_at = self.promised_at
        return {
            "line_no": self.line_no,
            "accepted_units": self.accepted_units,
            "unit_price_fen": self.unit_price_fen,
            "promised_at": None if promised_at is None else promised_at.isoformat(),
        }


@dataclass(slots=True, kw_only=True)
class Order:
    """A purchase order in the supplier's books."""

    client_ref: str
    supplier_ref: str
    lines: tuple[Line, ...]
    state: OrderState = OrderState.RECEIVED
    revision: int = 0
    answered: bool = False  # an answer was decided; cancelling now touches accepted units

    @property
    def skus(self) -> frozenset[str]:
        """SKUs of all lines."""
        return frozenset(line.sku for line in self.lines)

    def by_sku(self, units: Callable[[Line], int]) -> Mapping[str, int]:
        """Return some number of units, summed over the lines of each SKU."""
        totals: Counter[str] = Counter()
        for line in self.lines:
            totals[line.sku] += units(line)
        return totals

    def as_listed(self) -> dict[str, str]:
        """Return the order as a lookup shows it."""
        return {
            "supplier_ref": self.supplier_ref,
            "client_ref": self.client_ref,
            "status": self.state.value,
        }


class Item:
    """One SKU at one supplier: its price list and how much can be made on which day."""

    def __init__(self, config: SupplierItem, *, lead_days: int) -> None:
        self.sku = config.sku
        self.capacity_per_day = config.capacity_per_day
        self.lead_days = lead_days if config.lead_days is None else config.lead_days
        self.breaks: Sequence[Break] = [
            Break(min_units=rung.min_units, unit_price_fen=rung.unit_price_fen)
            for rung in config.breaks
        ]
        self._booked_units: defaultdict[date, int] = defaultdict(int)

    def book(self, units: int, *, today: date) -> int | None:
        """Take capacity for `units` from today on.

        Returns:
            Days until the last unit is made, 0 for today; None when a year is not enough.
        """
        taken: dict[date, int] = {}
        for days in range(_QUEUE_DAYS):
            day = today + timedelta(days=days)
            free = max(self.capacity_per_day - self._booked_units[day], 0)
            taken[day] = min(free, units)
            units -= taken[day]
            if units == 0:
                for booked_day, booked in taken.items():
                    self._booked_units[booked_day] += booked
                return days
        return None

    def list_price_fen(self, units: int) -> int | None:
        """Return the own price for `units`; None when any price is taken, 0 below the MOQ."""
        if not self.breaks:
            return None
        reached = [rung for rung in self.breaks if rung.min_units <= units]
        return reached[-1].unit_price_fen if reached else 0


def part_of(units: int, *, partial: Partial) -> int:
    """Return how much of `units` is accepted, rounded down to the multiple.

    >>> part_of(100, partial=Partial(fraction=0.75, multiple=20))
    60
    """
    return int(units * partial.fraction) // partial.multiple * partial.multiple


def dearer_fen(price_fen: int, *, change: Change) -> int:
    """Return the price raised by the change's basis points, rounded up.

    >>> dearer_fen(999, change=Change(price_bp=500))
    1049
    """
    return -(-price_fen * (10_000 + change.price_bp) // 10_000)
