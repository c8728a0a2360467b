"""What a buyer or a shipper does without an optimizer: the yardstick, and the last resort."""

from collections.abc import Callable
from dataclasses import replace

from optimizer.evaluate import evaluate_procurement
from optimizer.filling import fill
from optimizer.lanes import lanes_of
from optimizer.needs import (
    PricedOffer,
    ProductNeed,
    ProductPlan,
    assemble,
    plan_product,
    product_needs,
)
from optimizer.schema import (
    AllocationPlan,
    AllocationProblem,
    ProcurementPlan,
    ProcurementProblem,
)

_Rank = Callable[[ProductNeed, int, int], float]


def cheapest_list(problem: ProcurementProblem) -> ProcurementPlan | None:
    """Return the plan that fills every need where the first tier's unit price is lowest.

    None when this simple rule finds no plan that the evaluator accepts.
    """
    return _by_rank(problem, _list_price)


def cheapest_landed(problem: ProcurementProblem) -> ProcurementPlan | None:
    """Return the plan that fills every need where goods, freight and leftovers cost least.

    None when this simple rule finds no plan that the evaluator accepts.
    """
    return _by_rank(problem, _landed_cost)


def nearest_with_stock(problem: AllocationProblem) -> AllocationPlan:
    """Return the plan that sends each group, in order, from the cheapest lane that has stock.

    Groups that find no stock any more are left out.
    """
    lanes = lanes_of(problem)
    if not lanes.groups:
        return AllocationPlan(assignment={})
    return lanes.plan(fill(lanes, lanes.cost, order=range(lanes.groups)))


def _list_price(need: ProductNeed, at: int, _: int) -> float:
    return need.offers[at].offer.breaks[0].price


def _landed_cost(need: ProductNeed, at: int, quantity: int) -> float:
    plan = plan_product(need, _single(need, at, quantity))
    return float("inf") if plan is None else plan.cost_e4 / quantity


def _by_rank(problem: ProcurementProblem, rank: _Rank) -> ProcurementPlan | None:
    """Buy by rank; while suppliers stay below their minimum, go on without the smallest."""
    remaining = problem
    for _ in range(len(problem.suppliers) + 1):
        plans: dict[str, tuple[ProductNeed, ProductPlan]] = {}
        for need in product_needs(remaining):
            plan = _fill(need, rank)
            if plan is None:
                return None
            plans[need.product.id] = (need, plan)
        plan_of_all = assemble(remaining, plans)
        broken = evaluate_procurement(problem, plan_of_all).violations
        if not broken:
            return plan_of_all
        small = {violation.subject for violation in broken if violation.rule == "min_order_value"}
        if len(small) < len(broken):
            return None
        spend = {
            name: sum(line.purchase_cost for line in plan_of_all.orders if line.supplier == name)
            for name in small
        }
        dropped = min(small, key=lambda name: (spend[name], name))
        remaining = replace(
            remaining,
            offers=tuple(offer for offer in remaining.offers if offer.supplier != dropped),
        )
    return None


def _fill(need: ProductNeed, rank: _Rank) -> ProductPlan | None:
    """Take the best ranked offer that can bring all; otherwise fill up offer by offer."""
    if need.must == 0:
        return plan_product(need, (0,) * len(need.offers))
    wanted = [_least_quantity(priced, need.must) for priced in need.offers]
    order = sorted(
        (at for at, quantity in enumerate(wanted) if quantity is not None),
        key=lambda at: rank(need, at, wanted[at] or 1),
    )
    for at in order:
        plan = plan_product(need, _single(need, at, wanted[at] or 0))
        if plan is not None:
            return plan
    return _fill_up(need, rank)


def _fill_up(need: ProductNeed, rank: _Rank) -> ProductPlan | None:
    units = [0] * len(need.offers)
    order = sorted(range(len(units)), key=lambda at: rank(need, at, need.offers[at].tiers[0].lo))
    for at in order:
        missing = need.must - sum(units)
        priced = need.offers[at]
        quantity = _least_quantity(priced, missing)
        units[at] = priced.most if quantity is None else quantity
        plan = plan_product(need, units)
        if plan is not None:
            return plan
    return None


def _single(need: ProductNeed, at: int, quantity: int) -> tuple[int, ...]:
    return tuple(quantity if index == at else 0 for index in range(len(need.offers)))


def _least_quantity(priced: PricedOffer, missing: int) -> int | None:
    """Return the smallest accepted quantity of at least `missing` units; None beyond capacity."""
    pack = priced.offer.pack
    for tier in priced.tiers:
        quantity = max(tier.lo, -(-missing // pack) * pack)
        if quantity <= tier.hi:
            return quantity
    return None
