"""The seat budget as a formula: what may be promised of one SKU by the ship-by date, and why.

Pure: facts in, a number with its parts out. `inventory.budgets` reads the facts and keeps the
result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

DAY_SECONDS: Final = 86_400
# A supplier promises a day: goods are overdue when that day is over, not at its first second.
PROMISE_GRACE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Units of one SKU, summed over its warehouses; a warehouse in shortage counts negative."""

    on_hand: int = 0
    held: int = 0
    reserved: int = 0
    disputed: int = 0
    """Units that a feed says are missing and a person has still to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """What is still to come of one purchase order line."""

    units: int
    pegged_units: int
    promised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What one supplier could still deliver in one planning window."""

    supplier: str
    capacity_per_day: int
    days_to_sell: int
    lead_days: int
    """Including hard safety days."""
    moq_units: int
    """Smallest order, minimum order value included."""
    open_units: int
    """Ordered already: they count as inbound."""
    lost_units: int
    """Rejected: not asked for again."""
    valid_to: datetime | None

    @property
    def left_units(self) -> int:
        whole = self.capacity_per_day * self.days_to_sell
        return max(0, whole - self.open_units - self.lost_units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the budget of one SKU depends on."""

    sku: str
    claimed_units: int
    ship_by_seconds: int | None
    """Shortest promise of what is on sale, counted from success; None: nothing is on sale."""
    safety_units: int
    max_excess_units: int
    moq_risk_accepted: bool
    stock: Stock = Stock()
    inbound: Sequence[Inbound] = ()
    capabilities: Sequence[Capability] = ()


class Unusable(StrEnum):
    """Why a supplier's capability does not count."""

    NOT_ON_SALE = "not_on_sale"
    EXPIRED = "expired"
    TOO_SLOW = "too_slow"
    BELOW_MOQ = "below_moq"
    MOQ_EXCESS = "moq_excess"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many units may be promised, when that changes by itself, and where it comes from."""

    units: int
    recompute_at: datetime | None
    parts: dict[str, Any]


def seat_budget(facts: Facts, *, now: datetime) -> Budget:
    """Return what can be promised of one SKU by the ship-by date of a seat taken now.

    budget = (on_hand - held - reserved - safety) - disputed
           + inbound promised in time - the part of it that is pegged already
           + what suppliers can still deliver in time.

    - Safety is kept once for the SKU, over all its warehouses: it is a product's number, and
      procurement plans it once as well. Nothing is clamped: a shortage in one warehouse, or
      stock below safety, has to be bought first, so it lowers what supply may promise.
    - A seat taken now ships at the earliest `ship_by_seconds` after its group succeeds, so
      inbound is in time when promised within `ship_by_seconds` from now, and no longer counts
      when it is overdue by more than a day. A peg on inbound that does not count is neutral: the
      order it covers has left the claims, and its goods were never in the budget.
    - A supplier counts with all that is left of its capacity when `lead_days` fit into
      `ship_by_seconds`, the agreement is valid, an order of its MOQ is still possible, and that
      MOQ leaves no more than `max_excess_units` over: an order is made for at least one unit, or
      for the claims that stock and inbound do not cover, which have to be bought anyway. Where
      the product accepts MOQ risk, the excess does not matter.

    Source:
        DOMAIN.md, section 3, "Seat budget".

    >>> from datetime import UTC
    >>> now = datetime(2011, 12, 5, tzinfo=UTC)
    >>> facts = Facts(sku="tea", claimed_units=0, ship_by_seconds=172_800, safety_units=2,
    ...     max_excess_units=0, moq_risk_accepted=False, stock=Stock(on_hand=10, reserved=3),
    ...     inbound=[Inbound(units=6, pegged_units=1, promised_at=now + timedelta(days=1))])
    >>> seat_budget(facts, now=now).units
    10
    """
    stock = facts.stock
    free = stock.on_hand - stock.held - stock.reserved - facts.safety_units - stock.disputed
    in_time = [line for line in facts.inbound if _in_time(line, facts, now=now)]
    inbound = sum(line.units for line in in_time)
    pegged = sum(line.pegged_units for line in in_time)
    uncovered = max(0, facts.claimed_units - (free + inbound - pegged))
    suppliers = {
        capability.supplier: capability.left_units
        if (reason := _unusable(capability, facts, uncovered=uncovered, now=now)) is None
        else reason.value
        for capability in facts.capabilities
    }
    capability_units = sum(units for units in suppliers.values() if isinstance(units, int))
    parts: dict[str, Any] = {
        "on_hand": stock.on_hand,
        "held": stock.held,
        "reserved": stock.reserved,
        "safety": facts.safety_units,
        "disputed": stock.disputed,
        "inbound": inbound,
        "pegged": pegged,
        "inbound_not_counted": sum(line.units for line in facts.inbound) - inbound,
        "capability": capability_units,
    }
    # The row that keeps this is rewritten with every join: zeros would only make it longer.
    kept = {name: value for name, value in parts.items() if value}
    if suppliers:
        kept["suppliers"] = suppliers
    return Budget(
        units=free + inbound - pegged + capability_units,
        recompute_at=min(_turns(facts, now=now), default=None),
        parts=kept,
    )


def _in_time(line: Inbound, facts: Facts, *, now: datetime) -> bool:
    if facts.ship_by_seconds is None:
        return False
    latest = now + timedelta(seconds=facts.ship_by_seconds)
    return line.promised_at <= latest and now < line.promised_at + PROMISE_GRACE


def _unusable(
    capability: Capability, facts: Facts, *, uncovered: int, now: datetime
) -> Unusable | None:
    if facts.ship_by_seconds is None:
        return Unusable.NOT_ON_SALE
    if capability.valid_to is not None and capability.valid_to <= now:
        return Unusable.EXPIRED
    if capability.lead_days * DAY_SECONDS > facts.ship_by_seconds:
        return Unusable.TOO_SLOW
    if capability.left_units < max(1, capability.moq_units):
        return Unusable.BELOW_MOQ
    excess = capability.moq_units - max(1, uncovered)
    if excess > facts.max_excess_units and not facts.moq_risk_accepted:
        return Unusable.MOQ_EXCESS
    return None


def _turns(facts: Facts, *, now: datetime) -> Iterator[datetime]:
    """Yield the moments after now at which the formula gives another result by itself."""
    if facts.ship_by_seconds is None:
        return
    for line in facts.inbound:
        comes_into_reach = line.promised_at - timedelta(seconds=facts.ship_by_seconds)
        overdue = line.promised_at + PROMISE_GRACE
        yield from (moment for moment in (comes_into_reach, overdue) if moment > now)
    for capability in facts.capabilities:
        if capability.valid_to is not None and capability.valid_to > now:
            yield capability.valid_to
