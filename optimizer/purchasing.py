"""Solves a purchase problem part by part, each with the method that fits its size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from optimizer.baselines import cheapest_landed, cheapest_list
from optimizer.columns import Oracle, Prices, fits
from optimizer.components import Component, split
from optimizer.evaluate import evaluate_procurement
from optimizer.levels import LevelSearch
from optimizer.needs import ProductNeed, ProductPlan, assemble, plan_product, product_needs
from optimizer.procurement import Answer, solve_exactly
from optimizer.schema import ProcurementPlan, ProcurementProblem
from optimizer.solving import Deadline

MOST_EXACT_TIERS: Final = 60
"""Price tiers up to which one model of a whole component is solved to proven optimality."""

# HiGHS proves a bound to its own tolerances; the evaluator is exact.
_SOLVER_ACCURACY: Final = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What the search found: a plan or None, and a bound in e4 that no plan undercuts."""

    plan: ProcurementPlan | None
    bound_e4: float
    infeasible: bool


def search(problem: ProcurementProblem, *, deadline: Deadline, relative_gap: float) -> Purchase:
    """Return the best plan found before the deadline.

    A budget is first left out, because it holds all products together; only when the plan
    without it is too dear is it a constraint of the search.
    """
    if problem.budget is not None:
        unlimited = _search_parts(
            problem,
            split(_without_budget(problem)),
            deadline=deadline.part(0.5),
            relative_gap=relative_gap,
        )
        if unlimited.infeasible:
            return unlimited
        if unlimited.plan and evaluate_procurement(problem, unlimited.plan).feasible:
            return unlimited
    return _search_parts(problem, split(problem), deadline=deadline, relative_gap=relative_gap)


def _without_budget(problem: ProcurementProblem) -> ProcurementProblem:
    return ProcurementProblem(
        schema=problem.schema,
        name=problem.name,
        warehouses=problem.warehouses,
        suppliers=problem.suppliers,
        products=problem.products,
        demands=problem.demands,
        offers=problem.offers,
    )


def _search_parts(
    problem: ProcurementProblem,
    components: Sequence[Component],
    *,
    deadline: Deadline,
    relative_gap: float,
) -> Purchase:
    bound_e4 = 0.0
    plans: dict[str, tuple[ProductNeed, ProductPlan]] = {}
    complete = True
    sizes = [len(component.problem.offers) for component in components]
    for index, component in enumerate(components):
        share = sizes[index] / max(sum(sizes[index:]), 1)
        answer = _solve_part(component, deadline=deadline.part(share), relative_gap=relative_gap)
        if answer.infeasible:
            return Purchase(plan=None, bound_e4=math.inf, infeasible=True)
        bound_e4 += answer.bound_e4
        if answer.units is None:
            complete = False
            continue
        for need in product_needs(component.problem):
            plan = plan_product(need, answer.units[need.product.id])
            if plan is not None:
                plans[need.product.id] = (need, plan)
    if not complete or len(plans) < len(problem.products):
        return Purchase(plan=None, bound_e4=bound_e4, infeasible=False)
    ordered = {product.id: plans[product.id] for product in problem.products}
    return Purchase(plan=assemble(problem, ordered), bound_e4=bound_e4, infeasible=False)


def _solve_part(component: Component, *, deadline: Deadline, relative_gap: float) -> Answer:
    problem = component.problem
    needs = product_needs(problem)
    if component.plain and fits(needs[0]):
        answer = _solve_plain(needs[0])
        if answer is not None:
            return answer
    tiers = sum(len(row.tiers) for need in needs for row in need.offers)
    found: list[Answer] = []
    if tiers <= MOST_EXACT_TIERS or not all(fits(need) for need in needs):
        exact = solve_exactly(problem, deadline=deadline.part(0.6))
        if exact.infeasible or exact.optimal:
            return _judged(problem, exact)
        found.append(_judged(problem, exact))
    if all(fits(need) for need in needs):
        search_of_levels = LevelSearch(problem, deadline=deadline, relative_gap=relative_gap)
        answer = search_of_levels.run()
        if answer.infeasible:
            return answer
        found.append(answer)
    found += [_simple(problem)] if all(answer.units is None for answer in found) else []
    return _best(problem, found)


def _solve_plain(need: ProductNeed) -> Answer | None:
    """Return the exact answer for a product on its own, None when only a model can tell."""
    oracle = Oracle(need)
    choice = oracle.choose(Prices())
    if math.isinf(choice.value):
        return Answer(units=None, bound_e4=math.inf, optimal=False, infeasible=True)
    plan = plan_product(need, choice.units) if oracle.exact else None
    if plan is None:
        return None
    units = {need.product.id: plan.units}
    return Answer(units=units, bound_e4=plan.cost_e4, optimal=True, infeasible=False)


def _judged(problem: ProcurementProblem, answer: Answer) -> Answer:
    """Tie the model's bound to the evaluator's exact objective where the two agree."""
    cost_e4 = _cost_e4(problem, answer.units)
    if answer.units is None or math.isinf(cost_e4):
        return answer
    agrees = abs(cost_e4 - answer.bound_e4) <= max(1.0, abs(cost_e4) * _SOLVER_ACCURACY)
    bound_e4 = cost_e4 if answer.optimal and agrees else min(answer.bound_e4, cost_e4)
    return Answer(units=answer.units, bound_e4=bound_e4, optimal=answer.optimal, infeasible=False)


def _best(problem: ProcurementProblem, found: Sequence[Answer]) -> Answer:
    bound_e4 = max(answer.bound_e4 for answer in found)
    best = min(found, key=lambda answer: _cost_e4(problem, answer.units))
    cost_e4 = _cost_e4(problem, best.units)
    return Answer(
        units=None if math.isinf(cost_e4) else best.units,
        bound_e4=min(bound_e4, cost_e4),
        optimal=bound_e4 >= cost_e4,
        infeasible=False,
    )


def _cost_e4(problem: ProcurementProblem, units: Mapping[str, tuple[int, ...]] | None) -> float:
    """Return the evaluator's cost of these units, inf when it refuses them."""
    if units is None:
        return math.inf
    plans: dict[str, tuple[ProductNeed, ProductPlan]] = {}
    for need in product_needs(problem):
        plan = plan_product(need, units[need.product.id])
        if plan is None:
            return math.inf
        plans[need.product.id] = (need, plan)
    judged = evaluate_procurement(problem, assemble(problem, plans))
    return judged.objective_e4 if judged.feasible else math.inf


def _simple(problem: ProcurementProblem) -> Answer:
    """Return the better baseline, without a bound: what remains when no search had time."""
    plans = [plan for plan in (cheapest_landed(problem), cheapest_list(problem)) if plan]
    if not plans:
        return Answer(units=None, bound_e4=-math.inf, optimal=False, infeasible=False)
    best = min(plans, key=lambda plan: evaluate_procurement(problem, plan).objective_e4)
    bought = {(line.product, line.supplier): line.units for line in best.orders}
    units = {
        need.product.id: tuple(
            bought.get((need.product.id, row.offer.supplier), 0) for row in need.offers
        )
        for need in product_needs(problem)
    }
    return Answer(units=units, bound_e4=-math.inf, optimal=False, infeasible=False)
