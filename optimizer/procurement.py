"""The purchase problem as one mixed-integer model in PuLP, exact in what it states."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulp

from optimizer.components import couples
from optimizer.needs import EXCESS, PricedOffer, ProductNeed, cheapest_unit_price, product_needs
from optimizer.schema import E4, ProcurementProblem, Supplier
from optimizer.solving import Deadline, Outcome, Solution, expression, solve

YUAN: Final = 100
"""Spend rows are in yuan: in cents their coefficients would dwarf the solver's tolerances."""

RULES: Final[Mapping[str, float]] = {
    "moq": 1.0,
    "min_order_value": 1.005,
    "max_excess": 1.01,
    "capacity": 1.03,
    "budget": 1.04,
    "must": 25.0,
}
"""The business rows an explanation may relax, by weight: of equally small changes the first is
preferred, and a unit that a buyer waits for is the last thing to give up."""

Terms = list[tuple[Any, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a method found: units per offer by product, and a bound in e4 no plan undercuts.

    `units` None with `infeasible` False means that time ran out before any plan.
    """

    units: Mapping[str, tuple[int, ...]] | None
    bound_e4: float
    optimal: bool
    infeasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLevel:
    """Spends (cents, both ends included) at which a supplier gives one rebate."""

    least: int
    most: int
    rebate_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """How far a business row may be relaxed, at a weight that makes different rows comparable."""

    variable: Any
    rule: str
    subject: str
    weight: float


@dataclass(slots=True, kw_only=True)
class PurchaseModel:
    """The model while it is built; `packs` are the variables that decide the quantities.

    `elastic` names the business rows that get a slack; see RULES.
    """

    model: Any
    elastic: frozenset[str] = frozenset()
    slacks: list[Slack] = field(default_factory=list)
    costs: Terms = field(default_factory=list)
    spend: dict[str, Terms] = field(default_factory=lambda: defaultdict(list))
    chosen: dict[str, list[Terms]] = field(default_factory=lambda: defaultdict(list))
    packs: dict[str, list[tuple[str, int]]] = field(default_factory=dict)

    def row(self, constraint: Any, name: str) -> None:
        self.model.addConstraint(constraint, name)

    def slack(self, rule: str, subject: str, *, most: int | None, worth: float) -> Terms:
        """Return the slack of a row as a term, or nothing where the row is hard.

        `worth` is what one unit of the slack stands for in cents.
        """
        if rule not in self.elastic or most == 0:
            return []
        variable = self.model.add_variable(f"slack_{len(self.slacks)}", 0, most)
        weight = max(worth, 1.0) * RULES[rule]
        self.slacks.append(Slack(variable=variable, rule=rule, subject=subject, weight=weight))
        return [(variable, 1)]


def spend_levels(supplier: Supplier, *, largest_spend: int) -> tuple[SpendLevel, ...]:
    """Return the spends a used supplier accepts, by rebate; empty when it cannot be used.

    Levels below the minimum order value, or above what could ever be spent, are dropped.
    """
    starts = [(tier.min_spend, tier.rebate_bp) for tier in supplier.spend_tiers]
    if not starts or starts[0][0] > 0:
        starts.insert(0, (0, 0))
    ends = [start - 1 for start, _ in starts[1:]] + [largest_spend]
    levels = (
        SpendLevel(
            least=max(start, supplier.min_order_value),
            most=min(end, largest_spend),
            rebate_bp=rebate,
        )
        for (start, rebate), end in zip(starts, ends, strict=True)
    )
    return tuple(level for level in levels if level.least <= level.most)


def largest_spends(needs: Sequence[ProductNeed]) -> dict[str, int]:
    """Return the most that useful quantities could cost at each supplier, in cents."""
    largest: dict[str, int] = defaultdict(int)
    for need in needs:
        for priced in need.offers:
            largest[priced.offer.supplier] += max(
                max(tier.price * tier.lo, tier.price * tier.hi) + tier.intercept
                for tier in priced.tiers
            )
    return largest


def solve_exactly(
    problem: ProcurementProblem,
    *,
    deadline: Deadline,
    relative_gap: float = 0.0,
    start: Mapping[str, tuple[int, ...]] | None = None,
) -> Answer:
    """Solve the whole problem as one model; fit for small problems.

    `start` is a known plan, in units per offer by product, that the solver may improve.
    """
    needs = product_needs(problem)
    if any(need.must and not need.offers for need in needs):
        return Answer(units=None, bound_e4=math.inf, optimal=False, infeasible=True)
    built = build(problem, needs)
    values = None if start is None else _start_values(built, start)
    solution = solve(built.model, deadline=deadline, relative_gap=relative_gap, start=values)
    return Answer(
        units=planned_units(built, solution) if solution.usable else None,
        bound_e4=solution.bound * E4,
        optimal=solution.outcome is Outcome.OPTIMAL,
        infeasible=solution.outcome is Outcome.INFEASIBLE,
    )


def build(
    problem: ProcurementProblem,
    needs: Sequence[ProductNeed],
    *,
    elastic: frozenset[str] = frozenset(),
) -> PurchaseModel:
    """Return the model of all products and suppliers.

    With `elastic` rows the objective is the weighted sum of their slacks, not the cost.
    """
    model = pulp.LpProblem("procurement", pulp.LpMinimize)
    built = PurchaseModel(model=model, elastic=elastic)
    for index, need in enumerate(needs):
        _add_product(built, need, index=index)
    largest = largest_spends(needs)
    for index, supplier in enumerate(problem.suppliers):
        if couples(supplier) and supplier.id in largest:
            _add_supplier(built, supplier, largest_spend=largest[supplier.id], index=index)
    if problem.budget is not None:
        everything = [
            (variable, price / YUAN) for terms in built.spend.values() for variable, price in terms
        ]
        over = built.slack("budget", "budget", most=None, worth=1.0)
        everything += [(variable, -1 / YUAN) for variable, _ in over]
        built.row(expression(everything) <= problem.budget / YUAN, "budget")
    missed: Terms = [(slack.variable, slack.weight) for slack in built.slacks]
    model.setObjective(expression(missed if elastic else built.costs))
    return built


def _add_product(built: PurchaseModel, need: ProductNeed, *, index: int) -> None:
    arriving: list[Terms] = [[] for _ in need.sites]
    built.packs[need.product.id] = []
    worth = cheapest_unit_price(need)
    for at, priced in enumerate(need.offers):
        tag = f"{index}_{at}"
        total = _add_offer(built, priced, need=need, tag=tag)
        shipped: Terms = []
        for position, freight in enumerate(priced.freight):
            if freight is None:
                continue
            lane = built.model.add_variable(f"q_{tag}_{position}", 0, priced.most)
            built.costs.append((lane, freight))
            shipped.append((lane, -1))
            arriving[position].append((lane, 1))
        built.row(expression([*total, *shipped]) == 0, f"ship_{tag}")
        built.packs[need.product.id].append((f"n_{tag}", priced.offer.pack))
    for position, site in enumerate(need.sites):
        subject = f"{need.product.id}/{site.warehouse}"
        balance = arriving[position]
        for slot in site.slots:
            kind = "e" if slot.position == EXCESS else f"a{slot.position}"
            covered = built.model.add_variable(f"{kind}_{index}_{position}", 0, slot.units)
            built.costs.append((covered, slot.cost_e4 / E4))
            balance.append((covered, -1))
        balance += built.slack("must", subject, most=site.must, worth=worth)
        above = built.slack("max_excess", subject, most=None, worth=worth)
        balance += [(variable, -1) for variable, _ in above]
        built.row(expression(balance) == site.must, f"need_{index}_{position}")


def _add_offer(built: PurchaseModel, priced: PricedOffer, *, need: ProductNeed, tag: str) -> Terms:
    model, offer, worth = built.model, priced.offer, cheapest_unit_price(need)
    subject = f"{offer.supplier}/{offer.product}"
    total: Terms = []
    chosen: Terms = []
    first, last = priced.tiers[0], priced.tiers[-1]
    missing = built.slack("moq", subject, most=first.lo, worth=worth)
    beyond = built.slack("capacity", subject, most=need.most, worth=worth)
    for number, tier in enumerate(priced.tiers):
        units = model.add_variable(f"x_{tag}_{number}", 0, None if beyond else tier.hi)
        taken = model.add_variable(f"z_{tag}_{number}", 0, 1, pulp.LpInteger)
        least: Terms = [(units, 1), (taken, -tier.lo)]
        most: Terms = [(units, 1), (taken, -tier.hi)]
        least += missing if tier is first else []
        most += [(variable, -1) for variable, _ in beyond] if tier is last else []
        built.row(expression(least) >= 0, f"lo_{tag}_{number}")
        built.row(expression(most) <= 0, f"hi_{tag}_{number}")
        price: Terms = [(units, tier.price), (taken, tier.intercept)]
        built.costs += price
        built.spend[offer.supplier] += price
        total.append((units, 1))
        chosen.append((taken, 1))
    limit = None if beyond else last.hi // offer.pack
    packs = model.add_variable(f"n_{tag}", 0, limit, pulp.LpInteger)
    built.row(expression([*total, (packs, -offer.pack)]) == 0, f"pack_{tag}")
    built.row(expression(chosen) <= 1, f"one_{tag}")
    if beyond:
        # Capacity that is lent to an offer not used would evade its MOQ.
        lent = [*beyond, *((taken, -need.most) for taken, _ in chosen)]
        built.row(expression(lent) <= 0, f"lent_{tag}")
    built.chosen[offer.supplier].append(chosen)
    return total


def _add_supplier(
    built: PurchaseModel, supplier: Supplier, *, largest_spend: int, index: int
) -> None:
    model = built.model
    used = model.add_variable(f"y_{index}", 0, 1, pulp.LpInteger)
    built.costs.append((used, supplier.fixed_order_cost))
    for position, chosen in enumerate(built.chosen[supplier.id]):
        built.row(expression([*chosen, (used, -1)]) <= 0, f"use_{index}_{position}")
    spent: Terms = [(variable, -price / YUAN) for variable, price in built.spend[supplier.id]]
    minimum = supplier.min_order_value
    missing = built.slack("min_order_value", supplier.id, most=minimum, worth=1.0)
    if built.elastic:
        # The slack stands in for spend, so levels must not ask for the minimum once more.
        enough: Terms = [(variable, -spend) for variable, spend in spent]
        enough += [(variable, 1 / YUAN) for variable, _ in missing]
        built.row(expression([*enough, (used, -minimum / YUAN)]) >= 0, f"minimum_{index}")
        return
    reached: Terms = []
    for number, level in enumerate(spend_levels(supplier, largest_spend=largest_spend)):
        tag = f"{index}_{number}"
        at_level = model.add_variable(f"beta_{tag}", 0, 1, pulp.LpInteger)
        value = model.add_variable(f"v_{tag}", 0, level.most / YUAN)
        built.row(expression([(value, 1), (at_level, -level.least / YUAN)]) >= 0, f"from_{tag}")
        built.row(expression([(value, 1), (at_level, -level.most / YUAN)]) <= 0, f"upto_{tag}")
        built.costs.append((value, -level.rebate_bp * YUAN / E4))
        spent.append((value, 1))
        reached.append((at_level, 1))
    built.row(expression(spent) == 0, f"spend_{index}")
    built.row(expression([*reached, (used, -1)]) == 0, f"level_{index}")


def _start_values(built: PurchaseModel, start: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    return {
        name: quantity // pack
        for product, units in start.items()
        for (name, pack), quantity in zip(built.packs[product], units, strict=True)
    }


def planned_units(built: PurchaseModel, solution: Solution) -> dict[str, tuple[int, ...]]:
    """Return the units per offer by product that a solution of the model buys."""
    return {
        product: tuple(round(solution.values[name]) * pack for name, pack in packs)
        for product, packs in built.packs.items()
    }
