"""Puts what must be bought into the words of the optimizer: schema p1/1."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final

from optimizer.schema import (
    E4,
    Demand,
    FormingSegment,
    Offer,
    ProcurementProblem,
    Product,
    SpendTier,
    Supplier,
)
from optimizer.tiers import price_tiers
from suppliers.needs import Missing
from suppliers.offers import DAY, Company, Terms, smallest_order

# Goods that come late anyway may be made over so many days.
LATE_DAYS: Final = 14
# Forming demand of about the same probability is one segment of the model.
_SEGMENT_BP: Final = 1000


class Reach(IntEnum):
    """Which offers may be used, by when their goods come."""

    SAFE = 0  # in time for the earliest ship-by, hard safety days included
    TIGHT = 1  # in time when nothing goes wrong
    LATE = 2  # too late is better than never


@dataclass(frozen=True, slots=True, kw_only=True)
class Ware:
    """What the plan must know of a product."""

    sku: str
    weight_grams: int
    holding_fen: int
    writeoff_fen: int
    max_excess_units: int
    safety_units: int
    moq_risk_accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SkuDemand:
    """Everything that decides what is bought of one SKU.

    `missing` in the order in which it is served; `forming` as (units, probability in basis
    points); `leftover` what stock and inbound hold beyond what orders take.
    """

    ware: Ware
    missing: tuple[Missing, ...]
    forming: tuple[tuple[int, int], ...] = ()
    leftover: int = 0
    terms: tuple[Terms, ...] = ()
    reach: Reach = Reach.SAFE
    with_safety: bool = True
    barred: frozenset[str] = frozenset()  # suppliers whose minimum value cannot be reached

    @property
    def sku(self) -> str:
        return self.ware.sku

    @property
    def must_units(self) -> int:
        return sum(row.units for row in self.missing)

    @property
    def ship_by(self) -> datetime:
        return min(row.bundle.ship_by for row in self.missing)

    @property
    def safety_gap(self) -> int:
        """Units that bring what is left over back to the safety stock."""
        return max(self.ware.safety_units - self.leftover, 0) if self.with_safety else 0

    def must_by_warehouse(self) -> dict[str, int]:
        """Return the units each warehouse must get; the safety stock goes where most are needed."""
        must: dict[str, int] = defaultdict(int)
        for row in self.missing:
            must[row.warehouse] += row.units
        must[self.main_warehouse(must)] += self.safety_gap
        return dict(must)

    @staticmethod
    def main_warehouse(must: Mapping[str, int]) -> str:
        """Return the warehouse that needs most."""
        return max(sorted(must), key=lambda name: must[name])


def offers_of(
    demand: SkuDemand, *, companies: Mapping[str, Company], now: datetime
) -> tuple[Offer, ...]:
    """Return the offers within the demand's reach, with the units that can come in that time."""
    found = []
    for terms in demand.terms:
        company = companies.get(terms.supplier)
        if company is None or terms.supplier in demand.barred or terms.rests(now):
            continue
        days_left = (demand.ship_by - company.order_day(now)) // DAY
        needed = terms.lead_days + (terms.hard_safety_days if demand.reach is Reach.SAFE else 0)
        if demand.reach is Reach.LATE:
            days = max(days_left - terms.lead_days, LATE_DAYS)
        elif needed <= days_left:
            days = max(days_left - needed, 1)
        else:
            continue
        capacity_units = terms.capacity_units(days=days)
        if capacity_units >= terms.moq:
            found.append(terms.offer(capacity_units=capacity_units))
    return tuple(found)


def reachable_units(offers: Sequence[Offer]) -> int:
    """Return the most units the offers can deliver together."""
    return sum(
        max((tier.hi for tier in price_tiers(offer, useful_units=offer.capacity)), default=0)
        for offer in offers
    )


def cut_to(demand: SkuDemand, *, units: int) -> tuple[SkuDemand, tuple[Missing, ...]]:
    """Return the demand that fits into `units`, and what is put off: the last served first."""
    kept: list[Missing] = []
    off: list[Missing] = []
    left = units
    for row in demand.missing:
        if row.units <= left:
            kept.append(row)
            left -= row.units
        else:
            off.append(row)
    if not off:
        return demand, ()
    return replace(demand, missing=tuple(kept), with_safety=False), tuple(off)


def segments(forming: Sequence[tuple[int, int]], *, leftover: int) -> tuple[tuple[int, int], ...]:
    """Return forming demand by probability, the likeliest first, less what is there already.

    Probabilities are rounded down to whole tenths, so that hundreds of groups are ten segments.

    >>> segments([(4, 9500), (5, 9100), (3, 200), (2, 4999)], leftover=3)
    ((6, 9000), (2, 4000))
    """
    units_at: dict[int, int] = defaultdict(int)
    for units, probability_bp in forming:
        units_at[min(probability_bp, E4) // _SEGMENT_BP * _SEGMENT_BP] += units
    found = []
    for probability_bp in sorted(units_at, reverse=True):
        units = max(units_at[probability_bp] - leftover, 0)
        leftover = max(leftover - units_at[probability_bp], 0)
        if units and probability_bp:
            found.append((units, probability_bp))
    return tuple(found)


def build_problem(
    demands: Sequence[SkuDemand],
    *,
    companies: Mapping[str, Company],
    now: datetime,
    name: str,
) -> ProcurementProblem:
    """Return the purchase problem of all demands."""
    offers = {demand.sku: offers_of(demand, companies=companies, now=now) for demand in demands}
    musts = {demand.sku: demand.must_by_warehouse() for demand in demands}
    warehouses = tuple(sorted({place for must in musts.values() for place in must}))
    used = sorted({offer.supplier for row in offers.values() for offer in row})
    return ProcurementProblem(
        name=name,
        warehouses=warehouses,
        suppliers=tuple(_supplier(companies[code], warehouses) for code in used),
        products=tuple(
            _product(
                demand,
                offers[demand.sku],
                places=len(musts[demand.sku]),
                companies=companies,
            )
            for demand in demands
        ),
        demands=tuple(
            Demand(
                product=demand.sku,
                warehouse=place,
                must=units,
                forming=_forming(demand, places=len(must), companies=companies)
                if place == demand.main_warehouse(must)
                else (),
            )
            for demand in demands
            for must in (musts[demand.sku],)
            for place, units in sorted(must.items())
        ),
        offers=tuple(offer for demand in demands for offer in offers[demand.sku]),
    )


def _forming(
    demand: SkuDemand, *, places: int, companies: Mapping[str, Company]
) -> tuple[FormingSegment, ...]:
    spare = max(demand.leftover - demand.ware.safety_units, 0)
    found = [
        FormingSegment(units=units, pi_bp=probability_bp)
        for units, probability_bp in segments(demand.forming, leftover=spare)
    ]
    limit = excess_limit(demand, companies=companies)
    if places > 1 and limit:
        # The model's limit of excess is one for each warehouse, ours is one for the product: as a
        # segment that nobody will need, it costs the same and exists once.
        found.append(FormingSegment(units=limit, pi_bp=0))
    return tuple(found)


def _supplier(company: Company, warehouses: Sequence[str]) -> Supplier:
    return Supplier(
        id=company.code,
        fixed_order_cost=company.fixed_order_cost_fen,
        min_order_value=company.min_order_value_fen,
        spend_tiers=tuple(
            SpendTier(min_spend=spend, rebate_bp=rebate) for spend, rebate in company.spend_tiers
        )
        or (SpendTier(min_spend=0, rebate_bp=0),),
        freight_per_unit=company.freight_to(warehouses),
    )


def _product(
    demand: SkuDemand,
    offers: Sequence[Offer],
    *,
    places: int,
    companies: Mapping[str, Company],
) -> Product:
    return Product(
        id=demand.sku,
        holding_cost=demand.ware.holding_fen,
        writeoff_cost=demand.ware.writeoff_fen,
        future_unit_cost=_price_later(offers, units=demand.must_units),
        max_excess=excess_limit(demand, companies=companies) if places == 1 else 0,
    )


def excess_limit(demand: SkuDemand, *, companies: Mapping[str, Company]) -> int:
    """Return how many units may be bought that nobody is known to need.

    What is left over of earlier purchases counts. A product whose MOQ risk is accepted may be
    bought by its smallest order, whatever is left of it.
    """
    ware = demand.ware
    spare = max(demand.leftover - ware.safety_units, 0)
    limit = max(ware.max_excess_units - spare, 0)
    if not ware.moq_risk_accepted:
        return limit
    smallest = [
        units
        for terms in demand.terms
        if (company := companies.get(terms.supplier)) is not None
        and (units := smallest_order(terms, min_order_value_fen=company.min_order_value_fen))
        is not None
    ]
    return max(limit, min(smallest, default=0))


def _price_later(offers: Sequence[Offer], *, units: int) -> int:
    """Return what a unit will cost that is bought later, in a purchase like this one."""
    prices = []
    for offer in offers:
        reached = [step.price for step in offer.breaks if step.from_units <= max(units, offer.moq)]
        prices += reached[-1:]
    return min(prices, default=0)
