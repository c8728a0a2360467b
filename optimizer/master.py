"""The master: one plan per product out of known plans, so that the suppliers' terms hold.

A column is one product's plan. The rows that join products are few: one spend per supplier, the
levels it can reach, and the budget.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pulp

from optimizer.columns import Prices
from optimizer.needs import ProductNeed, ProductPlan
from optimizer.procurement import YUAN, SpendLevel, Terms
from optimizer.schema import E4
from optimizer.solving import Deadline, Outcome, Solution, expression, solve

CLOSED: Final = -1
"""The state of a supplier that gets no order; its other states are indexes of spend levels."""

States = Mapping[str, frozenset[int]]

# A spend outside its level costs more than any plan could gain from it, yet stays a finite price.
_MISS_WEIGHT: Final = 20.0
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierTerms:
    """What binds all products bought from one supplier, in cents."""

    fixed_order_cost: int
    levels: tuple[SpendLevel, ...]


@dataclass(slots=True, kw_only=True)
class Pool:
    """The columns known so far, by product and quantities, and the terms they must respect."""

    needs: tuple[ProductNeed, ...]
    terms: Mapping[str, SupplierTerms]
    budget: int | None
    columns: list[dict[tuple[int, ...], ProductPlan]] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = [{} for _ in self.needs]

    def add(self, product: int, plan: ProductPlan) -> bool:
        """Remember a plan; return whether it is new."""
        new = plan.units not in self.columns[product]
        self.columns[product].setdefault(plan.units, plan)
        return new


@dataclass(frozen=True, slots=True, kw_only=True)
class Duals:
    """Prices of the joining rows in cents: per cent of spend, per use of a supplier, of budget."""

    spend: Mapping[str, float]
    charged: Mapping[str, float]
    budget: float

    def terms_bound(self, pool: Pool, states: States) -> float:
        """Return the least that suppliers and budget contribute in these states.

        With the products' best plans at these prices it bounds every plan, whatever the prices.
        """
        bound = self.budget * (pool.budget or 0)
        for supplier, terms in pool.terms.items():
            entry, price = -self.charged[supplier], self.spend[supplier]
            bound += _terms_bound(terms, states[supplier], price=price, entry=entry)
        return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """The linear master's answer: prices for the oracle and how it mixes the states.

    `missed` is by supplier the yuan that spend lacks (or, negative, has too many) for its states;
    `satisfied` is false while
    the known columns cannot meet every row.
    """

    objective: float
    satisfied: bool
    missed: Mapping[str, float]
    prices: Prices
    shares: Mapping[tuple[str, int], float]
    duals: Duals


@dataclass(slots=True, kw_only=True)
class _Master:
    model: Any
    pool: Pool
    states: States
    integer: bool
    costs: Terms = field(default_factory=list)
    spend: dict[str, Terms] = field(default_factory=lambda: defaultdict(list))
    uses: dict[tuple[int, str], Terms] = field(default_factory=lambda: defaultdict(list))
    columns: dict[str, tuple[int, ProductPlan]] = field(default_factory=dict)
    misses: list[str] = field(default_factory=list)

    def choice(self, name: str) -> Any:
        kind = pulp.LpInteger if self.integer else pulp.LpContinuous
        return self.model.add_variable(name, 0, 1, kind)

    def miss(self, name: str) -> Any:
        """Add a variable in yuan that says how far a row is missed."""
        variable = self.model.add_variable(name, 0)
        self.costs.append((variable, _MISS_WEIGHT * YUAN))
        self.misses.append(name)
        return variable


def relax(pool: Pool, states: States, *, deadline: Deadline) -> Relaxation | None:
    """Return the linear optimum over the known columns, or None when time is up."""
    master = _build(pool, states, integer=False)
    solution = solve(master.model, deadline=deadline)
    if solution.outcome is not Outcome.OPTIMAL:
        return None
    budget_price = min(solution.duals.get("budget", 0.0) / YUAN, 0.0)
    # A row in yuan with a dual of YUAN cents per yuan moves a cent for a cent.
    spend_prices = {
        supplier: solution.duals[f"spend_{index}"] / YUAN
        for index, supplier in enumerate(pool.terms)
        if f"spend_{index}" in solution.duals
    }
    numbers = {supplier: index for index, supplier in enumerate(pool.terms)}
    entry = {
        (pool.needs[product].product.id, supplier): -min(solution.duals[row], 0.0)
        for product, supplier in master.uses
        if (row := f"use_{product}_{numbers.get(supplier)}") in solution.duals
    }
    suppliers = {row.offer.supplier for need in pool.needs for row in need.offers}
    prices = Prices(
        weight={s: 1.0 - spend_prices.get(s, 0.0) - budget_price for s in suppliers},
        entry=entry,
        closed=_closed(states),
    )
    charged = dict.fromkeys(pool.terms, 0.0)
    for (_, supplier), cost in entry.items():
        charged[supplier] += cost
    duals = Duals(
        spend={supplier: spend_prices.get(supplier, 0.0) for supplier in pool.terms},
        charged=charged,
        budget=budget_price,
    )
    return Relaxation(
        objective=solution.objective,
        satisfied=_satisfied(master, solution),
        missed={
            supplier: short - above
            for index, supplier in enumerate(pool.terms)
            for short in [solution.values.get(f"short_{index}", 0.0)]
            for above in [solution.values.get(f"above_{index}", 0.0)]
            if max(short, above) > _TOLERANCE
        },
        prices=prices,
        shares={
            (supplier, state): solution.values[f"beta_{index}_{state}"]
            for index, supplier in enumerate(pool.terms)
            for state in states[supplier]
            if state != CLOSED
        },
        duals=duals,
    )


def combine(
    pool: Pool, states: States, *, deadline: Deadline, relative_gap: float
) -> tuple[ProductPlan, ...] | None:
    """Return the best integral mix of known columns found, one plan per product."""
    master = _build(pool, states, integer=True)
    solution = solve(master.model, deadline=deadline, relative_gap=relative_gap)
    if not solution.usable or not _satisfied(master, solution):
        return None
    chosen: dict[int, ProductPlan] = {}
    for name, (product, plan) in master.columns.items():
        if solution.values[name] > 1 - _TOLERANCE * YUAN:
            chosen[product] = plan
    if len(chosen) < len(pool.needs):
        return None
    return tuple(chosen[product] for product in range(len(pool.needs)))


def _closed(states: States) -> frozenset[str]:
    return frozenset(name for name, allowed in states.items() if allowed == {CLOSED})


def _satisfied(master: _Master, solution: Solution) -> bool:
    return all(solution.values[name] <= _TOLERANCE for name in master.misses)


def _terms_bound(
    terms: SupplierTerms, allowed: frozenset[int], *, price: float, entry: float
) -> float:
    """Return the least a supplier's own variables can contribute at these prices, in cents."""
    options = [
        terms.fixed_order_cost
        + entry
        + min((price - level.rebate_bp / E4) * spend for spend in (level.least, level.most))
        for state in allowed
        if state != CLOSED
        for level in [terms.levels[state]]
    ]
    return min([*options, 0.0]) if CLOSED in allowed else min(options)


def _build(pool: Pool, states: States, *, integer: bool) -> _Master:
    model = pulp.LpProblem("master", pulp.LpMinimize)
    master = _Master(model=model, pool=pool, states=states, integer=integer)
    closed = _closed(states)
    for product, need in enumerate(pool.needs):
        suppliers = [row.offer.supplier for row in need.offers]
        picked: Terms = []
        for number, plan in enumerate(pool.columns[product].values()):
            bought = [at for at, units in enumerate(plan.units) if units]
            if any(suppliers[at] in closed for at in bought):
                continue
            column = master.choice(f"c_{product}_{number}")
            master.columns[column.name] = (product, plan)
            master.costs.append((column, plan.cost_e4 / E4))
            picked.append((column, 1))
            for at in bought:
                master.spend[suppliers[at]].append((column, plan.purchases[at] / YUAN))
                master.uses[product, suppliers[at]].append((column, 1))
        if not picked:
            lost = master.miss(f"lost_{product}")
            picked.append((lost, 1))
            most = max((plan.cost_e4 for plan in pool.columns[product].values()), default=0)
            master.costs.append((lost, _MISS_WEIGHT * (abs(most) / E4 + YUAN)))
        model.addConstraint(expression(picked) == 1, f"one_{product}")
    for index, supplier in enumerate(pool.terms):
        if states[supplier] != {CLOSED}:
            _add_terms(master, supplier, index=index)
    if pool.budget is not None:
        everything = [term for terms in master.spend.values() for term in terms]
        over = master.miss("over_budget")
        model.addConstraint(expression([*everything, (over, -1)]) <= pool.budget / YUAN, "budget")
    model.setObjective(expression(master.costs))
    return master


def _add_terms(master: _Master, supplier: str, *, index: int) -> None:
    terms, allowed = master.pool.terms[supplier], master.states[supplier]
    spent: Terms = [*master.spend[supplier]]
    spent += [(master.miss(f"short_{index}"), 1), (master.miss(f"above_{index}"), -1)]
    reached: Terms = []
    for state in sorted(allowed - {CLOSED}):
        level = terms.levels[state]
        tag = f"{index}_{state}"
        at_level = master.choice(f"beta_{tag}")
        value = master.model.add_variable(f"v_{tag}", 0, level.most / YUAN)
        least = expression([(value, 1), (at_level, -level.least / YUAN)])
        most = expression([(value, 1), (at_level, -level.most / YUAN)])
        master.model.addConstraint(least >= 0, f"from_{tag}")
        master.model.addConstraint(most <= 0, f"upto_{tag}")
        master.costs += [
            (value, -level.rebate_bp * YUAN / E4),
            (at_level, terms.fixed_order_cost),
        ]
        spent.append((value, -1))
        reached.append((at_level, 1))
    master.model.addConstraint(expression(spent) == 0, f"spend_{index}")
    if CLOSED not in allowed:
        master.model.addConstraint(expression(reached) == 1, f"level_{index}")
        return
    master.model.addConstraint(expression(reached) <= 1, f"level_{index}")
    idle = [(at_level, -1) for at_level, _ in reached]
    for (product, name), columns in master.uses.items():
        if name == supplier:
            master.model.addConstraint(expression([*columns, *idle]) <= 0, f"use_{product}_{index}")
