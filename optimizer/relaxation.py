"""What makes a purchase impossible: the smallest change that would make it possible.

The elastic twin is the purchase model with a named slack on every business row; its optimum says
which rows, and by how much.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from optimizer.columns import Oracle, Prices, fits
from optimizer.needs import (
    ProductNeed,
    Site,
    Slot,
    cheapest_unit_price,
    plan_product,
    product_needs,
)
from optimizer.procurement import RULES, build, planned_units
from optimizer.schema import E4, ProcurementProblem
from optimizer.solving import Deadline, solve

_MUST: Final = -2
"""Slot position of needed units once they may be left out."""

_VISIBLE: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """A rule and its subject, and by how much it must give way (units, or cents of value)."""

    rule: str
    subject: str
    by: int


def impossible_products(problem: ProcurementProblem) -> tuple[str, ...]:
    """Return products that no plan can serve, whatever is bought of the others."""
    return tuple(
        need.product.id
        for need in product_needs(problem)
        if fits(need) and math.isinf(Oracle(need).choose(Prices()).value)
    )


def only(problem: ProcurementProblem, product: str) -> ProcurementProblem:
    """Return the problem of one product, without the terms it shares with others."""
    suppliers = {offer.supplier for offer in problem.offers if offer.product == product}
    return replace(
        problem,
        budget=None,
        suppliers=tuple(
            replace(supplier, fixed_order_cost=0, min_order_value=0, spend_tiers=())
            for supplier in problem.suppliers
            if supplier.id in suppliers
        ),
        products=tuple(row for row in problem.products if row.id == product),
        demands=tuple(row for row in problem.demands if row.product == product),
        offers=tuple(row for row in problem.offers if row.product == product),
    )


def smallest_relaxation(problem: ProcurementProblem, *, deadline: Deadline) -> tuple[Relaxed, ...]:
    """Return the least change of business rows that makes the problem feasible.

    Units weigh what they cost at the cheapest price, so that a unit of capacity and a cent of
    order value compare. Empty when the problem is feasible, or time ran out.
    """
    needs = product_needs(problem, beyond_useful=True)
    built = build(problem, needs, elastic=frozenset(RULES))
    solution = solve(built.model, deadline=deadline)
    if not solution.usable:
        return ()
    return tuple(
        Relaxed(
            rule=slack.rule,
            subject=slack.subject,
            by=math.ceil(solution.values[slack.variable.name] - _VISIBLE),
        )
        for slack in built.slacks
        if solution.values[slack.variable.name] > _VISIBLE
    )


def smallest_shortage(
    problem: ProcurementProblem, *, deadline: Deadline
) -> dict[tuple[str, str], int] | None:
    """Return the units per (product, warehouse) that no plan can bring, by least value.

    None when no answer was found in time.
    """
    needs = product_needs(problem)
    built = build(problem, needs, elastic=frozenset({"must"}))
    solution = solve(built.model, deadline=deadline)
    if not solution.usable:
        return None
    units = planned_units(built, solution)
    shortage: dict[tuple[str, str], int] = {}
    for need in needs:
        shortage |= _unfilled(need, units[need.product.id])
    return shortage


def without(
    problem: ProcurementProblem, shortage: Mapping[tuple[str, str], int]
) -> ProcurementProblem:
    """Return the problem that asks for so much less."""
    return replace(
        problem,
        demands=tuple(
            replace(row, must=row.must - shortage.get((row.product, row.warehouse), 0))
            for row in problem.demands
        ),
    )


def _unfilled(need: ProductNeed, units: tuple[int, ...]) -> dict[tuple[str, str], int]:
    dearest = max((slot.cost_e4 for site in need.sites for slot in site.slots), default=0)
    reward = -(abs(dearest) + (E4 * 10**6) * (1 + round(cheapest_unit_price(need))))
    optional = replace(
        need,
        sites=tuple(
            Site(
                warehouse=site.warehouse,
                must=0,
                slots=(Slot(cost_e4=reward, units=site.must, position=_MUST), *site.slots),
            )
            for site in need.sites
        ),
    )
    plan = plan_product(optional, units)
    filled = [0] * len(need.sites) if plan is None else [row[0] for row in plan.covered]
    return {
        (need.product.id, site.warehouse): site.must - got
        for site, got in zip(need.sites, filled, strict=True)
        if got < site.must
    }
