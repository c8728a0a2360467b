"""Prices a plan and checks it against every rule, in integers and without a solver.

This is the referee: models, baselines and tests are all judged by it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.schema import (
    E4,
    AllocationPlan,
    AllocationProblem,
    Coverage,
    Demand,
    FormingSegment,
    Group,
    Offer,
    OrderLine,
    ProcurementPlan,
    ProcurementProblem,
    Product,
    Supplier,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule: `rule` is a stable word, `subject` what breaks it, `by` how far."""

    rule: str
    subject: str
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A plan's cost (cents x 10^4), its parts (which sum to it) and what it breaks."""

    objective_e4: int
    parts_e4: dict[str, int]
    violations: tuple[Violation, ...]

    @property
    def feasible(self) -> bool:
        return not self.violations


def purchase_cost(offer: Offer, *, units: int) -> int:
    """Return what the supplier charges for `units` before rebate, in cents.

    Raises:
        ValueError: units below the first break, which the offer does not price.

    >>> from optimizer.schema import PriceBreak
    >>> breaks = (PriceBreak(from_units=1, price=100), PriceBreak(from_units=100, price=90))
    >>> all_units = Offer(supplier="S", product="A", capacity=1000, breaks=breaks)
    >>> purchase_cost(all_units, units=95), purchase_cost(all_units, units=100)
    (9500, 9000)
    >>> steps = Offer(
    ...     supplier="S", product="A", scheme="incremental", capacity=1000, breaks=breaks
    ... )
    >>> purchase_cost(steps, units=101)
    10080
    """
    if units == 0:
        return 0
    if units < offer.breaks[0].from_units:
        raise ValueError(f"{offer.supplier} does not price {units} units of {offer.product}")
    if offer.scheme == "all_units":
        price = [tier.price for tier in offer.breaks if tier.from_units <= units][-1]
        return price * units
    # The first price also holds for the units below the first break.
    starts = [1, *(tier.from_units for tier in offer.breaks[1:])]
    ends = [*(start - 1 for start in starts[1:]), units]
    return sum(
        tier.price * max(min(end, units) - start + 1, 0)
        for tier, start, end in zip(offer.breaks, starts, ends, strict=True)
    )


def tier_start(offer: Offer, *, units: int) -> int:
    """Return the first unit of the tier in which `units` fall."""
    return max(
        (tier.from_units for tier in offer.breaks if tier.from_units <= units),
        default=offer.breaks[0].from_units,
    )


def rebate_bp(supplier: Supplier, *, spend: int) -> int:
    """Return the rebate the whole spend (cents) earns; a spend at a threshold has reached it."""
    reached = [tier.rebate_bp for tier in supplier.spend_tiers if tier.min_spend <= spend]
    return reached[-1] if reached else 0


def forming_cost_e4(product: Product, segment: FormingSegment) -> int:
    """Return what it costs to cover one unit that is needed with the segment's probability.

    It is negative when the purchase saved later outweighs holding and leftover risk.
    """
    return (
        product.holding_cost * E4
        + (E4 - segment.pi_bp) * product.writeoff_cost
        - segment.pi_bp * product.future_unit_cost
    )


def evaluate_procurement(problem: ProcurementProblem, plan: ProcurementPlan) -> Evaluation:
    """Return the cost of a purchase plan and every rule it breaks."""
    offers = {(offer.supplier, offer.product): offer for offer in problem.offers}
    suppliers = {supplier.id: supplier for supplier in problem.suppliers}
    violations: list[Violation] = []
    spend: dict[str, int] = defaultdict(int)
    freight_e4 = 0
    arrived: dict[tuple[str, str], int] = defaultdict(int)
    seen: set[tuple[str, str]] = set()
    for line in plan.orders:
        pair = (line.supplier, line.product)
        offer = offers.get(pair)
        if offer is None or pair in seen:
            violations.append(Violation(rule="no_such_offer", subject="/".join(pair), by=1))
            continue
        seen.add(pair)
        broken = _line_violations(offer, line)
        violations += broken
        if not any(violation.rule == "unpriced" for violation in broken):
            spend[line.supplier] += purchase_cost(offer, units=line.units)
        for shipment in line.shipments:
            lanes = suppliers[line.supplier].freight_per_unit
            if shipment.warehouse not in lanes:
                subject = f"{line.supplier}/{shipment.warehouse}"
                violations.append(Violation(rule="no_lane", subject=subject, by=shipment.units))
                continue
            freight_e4 += lanes[shipment.warehouse] * shipment.units * E4
            arrived[line.product, shipment.warehouse] += shipment.units
    used = {line.supplier for line in plan.orders if line.units > 0}
    coverage_e4, coverage_violations = _coverage(problem, plan.coverage, arrived=arrived)
    violations += coverage_violations
    violations += [
        Violation(rule="min_order_value", subject=name, by=minimum - spend[name])
        for name in sorted(used)
        if name in suppliers and spend[name] < (minimum := suppliers[name].min_order_value)
    ]
    total = sum(spend.values())
    if problem.budget is not None and total > problem.budget:
        violations.append(Violation(rule="budget", subject="budget", by=total - problem.budget))
    parts = {
        "purchase": total * E4,
        "fixed_order": sum(suppliers[s].fixed_order_cost for s in used if s in suppliers) * E4,
        "freight": freight_e4,
        **coverage_e4,
        "rebate": -sum(rebate_bp(suppliers[s], spend=spend[s]) * spend[s] for s in spend),
    }
    return Evaluation(
        objective_e4=sum(parts.values()), parts_e4=parts, violations=tuple(violations)
    )


def _line_violations(offer: Offer, line: OrderLine) -> list[Violation]:
    subject = f"{line.supplier}/{line.product}"
    broken: dict[str, int] = {}
    least = max(offer.moq, offer.breaks[0].from_units)
    if line.units <= 0:
        broken["empty_line"] = 1
    if line.units < offer.breaks[0].from_units:
        broken["unpriced"] = offer.breaks[0].from_units - line.units
    elif purchase_cost(offer, units=line.units) != line.purchase_cost:
        broken["purchase_cost"] = abs(purchase_cost(offer, units=line.units) - line.purchase_cost)
    if line.units < least:
        broken["moq"] = least - line.units
    if line.units % offer.pack:
        broken["pack"] = line.units % offer.pack
    if line.units > offer.capacity:
        broken["capacity"] = line.units - offer.capacity
    shipped = sum(shipment.units for shipment in line.shipments)
    if shipped != line.units or any(shipment.units < 0 for shipment in line.shipments):
        broken["shipments"] = abs(shipped - line.units) or 1
    return [Violation(rule=rule, subject=subject, by=by) for rule, by in broken.items()]


def _coverage(
    problem: ProcurementProblem,
    coverage: Sequence[Coverage],
    *,
    arrived: Mapping[tuple[str, str], int],
) -> tuple[dict[str, int], list[Violation]]:
    products = {product.id: product for product in problem.products}
    rows = {(row.product, row.warehouse): row for row in coverage}
    demands = {(demand.product, demand.warehouse): demand for demand in problem.demands}
    violations = [
        Violation(rule="no_such_demand", subject="/".join(pair), by=1)
        for pair in sorted({*rows, *(pair for pair, units in arrived.items() if units)})
        if pair not in demands
    ]
    if len(rows) != len(coverage):
        violations.append(Violation(rule="coverage_twice", subject="coverage", by=1))
    excess_e4 = forming_e4 = 0
    for pair, demand in demands.items():
        nothing = Coverage(
            product=pair[0], warehouse=pair[1], forming=(0,) * len(demand.forming), excess=0
        )
        row = rows.get(pair, nothing)
        product = products[pair[0]]
        violations += _balance(demand, row, product=product, units=arrived.get(pair, 0))
        excess_e4 += row.excess * (product.holding_cost + product.writeoff_cost) * E4
        forming_e4 += sum(
            units * forming_cost_e4(product, segment)
            for units, segment in zip(row.forming, demand.forming, strict=False)
        )
    return {"excess": excess_e4, "forming": forming_e4}, violations


def _balance(demand: Demand, row: Coverage, *, product: Product, units: int) -> list[Violation]:
    broken: dict[str, int] = {}
    surplus = units - demand.must - sum(row.forming) - row.excess
    if surplus:
        broken["balance" if surplus > 0 else "must"] = abs(surplus)
    if not 0 <= row.excess <= product.max_excess:
        broken["max_excess"] = max(row.excess - product.max_excess, -row.excess)
    if len(row.forming) != len(demand.forming) or any(
        not 0 <= covered <= segment.units
        for covered, segment in zip(row.forming, demand.forming, strict=False)
    ):
        broken["forming"] = 1
    subject = f"{demand.product}/{demand.warehouse}"
    return [Violation(rule=rule, subject=subject, by=by) for rule, by in broken.items()]


def evaluate_allocation(problem: AllocationProblem, plan: AllocationPlan) -> Evaluation:
    """Return the cost of a fulfilment plan and every rule it breaks.

    A group with no member in the plan is the violation `unserved`; it costs nothing.
    """
    rates = {(rate.warehouse, rate.zone): rate for rate in problem.carrier}
    waves = {warehouse.id: warehouse for warehouse in problem.warehouses}
    violations: list[Violation] = []
    carrier = split = 0
    taken: dict[tuple[str, str], int] = defaultdict(int)
    parcels: dict[str, int] = defaultdict(int)
    load: dict[tuple[str, str], int] = defaultdict(int)
    for group in problem.groups:
        places = [plan.assignment.get(member.id) for member in group.members]
        used = {place for place in places if place is not None}
        violations += _group_violations(group, places, known=set(waves))
        split += group.split_penalty * max(len(used) - 1, 0)
        for member, place in zip(group.members, places, strict=True):
            if place is None:
                continue
            taken[place, group.product] += member.units
            parcels[place] += 1
            load[place, member.zone] += member.volume
            rate = rates.get((place, member.zone))
            if rate is None:
                violations.append(Violation(rule="no_lane", subject=member.id, by=1))
                continue
            carrier += rate.per_parcel + rate.per_volume * member.volume
    stock = {(row.warehouse, row.product): row.units for row in problem.stock}
    violations += [
        Violation(rule="stock", subject="/".join(pair), by=units - stock.get(pair, 0))
        for pair, units in sorted(taken.items())
        if units > stock.get(pair, 0)
    ]
    for place, count in sorted(parcels.items()):
        capacity = waves[place].parcel_capacity if place in waves else None
        if capacity is not None and count > capacity:
            violations.append(Violation(rule="parcel_capacity", subject=place, by=count - capacity))
    trucks = sum(
        truck.cost * -(-load.get((truck.warehouse, truck.zone), 0) // truck.capacity)
        for truck in problem.trucks
    )
    members = {member.id for group in problem.groups for member in group.members}
    violations += [
        Violation(rule="no_such_member", subject=name, by=1)
        for name in sorted(plan.assignment.keys() - members)
    ]
    parts = {
        "carrier": carrier * E4,
        "wave": sum(waves[place].wave_cost for place in parcels if place in waves) * E4,
        "split": split * E4,
        "truck": trucks * E4,
    }
    return Evaluation(
        objective_e4=sum(parts.values()), parts_e4=parts, violations=tuple(violations)
    )


def _group_violations(
    group: Group, places: Sequence[str | None], *, known: set[str]
) -> list[Violation]:
    missing = places.count(None)
    if missing:
        rule = "unserved" if missing == len(places) else "half_served"
        return [Violation(rule=rule, subject=group.id, by=missing)]
    candidates = known if group.warehouses is None else known & set(group.warehouses)
    strangers = sum(place not in candidates for place in places)
    broken: dict[str, int] = {}
    if strangers:
        broken["warehouse"] = strangers
    if group.whole and len(set(places)) > 1:
        broken["whole"] = len(set(places)) - 1
    return [Violation(rule=rule, subject=group.id, by=by) for rule, by in broken.items()]
