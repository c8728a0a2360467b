"""Large purchase problems: columns for the products, branching on the suppliers' spend levels."""

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from optimizer.columns import Oracle, Prices
from optimizer.components import couples
from optimizer.evaluate import evaluate_procurement
from optimizer.master import CLOSED, Pool, States, SupplierTerms, combine, relax
from optimizer.needs import ProductNeed, ProductPlan, assemble, plan_product, product_needs
from optimizer.procurement import Answer, largest_spends, spend_levels
from optimizer.schema import E4, ProcurementProblem
from optimizer.solving import Deadline

_ROUNDS: Final = 40
# A float sum over thousands of products is trusted to this relative accuracy.
_ACCURACY: Final = 1e-9
_ONE_SHARE: Final = 1 - 1e-6


@dataclass(order=True, slots=True)
class _Node:
    """States still allowed for each supplier, and a bound in cents for all plans within."""

    bound: float
    number: int
    states: States = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """A node after pricing: its bound and how its relaxation mixes the states."""

    bound: float
    shares: Mapping[tuple[str, int], float]


class LevelSearch:
    """Best-first search over which supplier is used at which spend level."""

    def __init__(
        self, problem: ProcurementProblem, *, deadline: Deadline, relative_gap: float
    ) -> None:
        self.problem, self.deadline, self.relative_gap = problem, deadline, relative_gap
        needs = product_needs(problem)
        largest = largest_spends(needs)
        terms = {
            supplier.id: SupplierTerms(
                fixed_order_cost=supplier.fixed_order_cost,
                levels=spend_levels(supplier, largest_spend=largest[supplier.id]),
            )
            for supplier in problem.suppliers
            if couples(supplier) and supplier.id in largest
        }
        self.pool = Pool(needs=needs, terms=terms, budget=problem.budget)
        self.oracles = [Oracle(need) for need in needs]
        self.best: tuple[ProductPlan, ...] | None = None
        self.best_e4: float = math.inf
        self.least_e4: float = -math.inf
        self._tried: set[frozenset[tuple[str, int]]] = set()
        self._numbers = itertools.count()

    def run(self) -> Answer:
        """Search until the gap is small enough or time is up."""
        if any(need.must and not need.offers for need in self.pool.needs):
            return Answer(units=None, bound_e4=math.inf, optimal=False, infeasible=True)
        states = {name: _all_states(terms) for name, terms in self.pool.terms.items()}
        if not self._seed(states):
            return Answer(units=None, bound_e4=math.inf, optimal=False, infeasible=True)
        leaves: list[float] = []
        waiting = [_Node(-math.inf, next(self._numbers), states)]
        while waiting and not self.deadline.passed:
            node = heapq.heappop(waiting)
            self.least_e4 = min([node.bound, *leaves]) * E4
            if self._close_enough(node.bound * E4):
                heapq.heappush(waiting, node)
                break
            priced = self._price(node)
            if priced is None or self._close_enough(priced.bound * E4):
                leaves += [] if priced is None else [priced.bound]
                continue
            self._improve(node.states, priced)
            children = self._branch(node.states, priced)
            leaves += [] if children else [priced.bound]
            for child in children:
                bound = max(priced.bound, node.bound)
                heapq.heappush(waiting, _Node(bound, next(self._numbers), child))
        open_bounds = [node.bound for node in waiting] + leaves
        bound = min(open_bounds, default=math.inf) * E4
        return self._answer(min(bound, self.best_e4))

    def _answer(self, bound_e4: float) -> Answer:
        units = None
        if self.best is not None:
            units = {
                need.product.id: plan.units
                for need, plan in zip(self.pool.needs, self.best, strict=True)
            }
        return Answer(
            units=units,
            bound_e4=bound_e4,
            optimal=units is not None and bound_e4 >= self.best_e4,
            infeasible=math.isinf(bound_e4) and bound_e4 > 0,
        )

    def _close_enough(self, bound_e4: float) -> bool:
        if math.isinf(self.best_e4):
            return False
        return bound_e4 >= self.best_e4 - self.relative_gap * abs(self.best_e4)

    def _seed(self, states: States) -> bool:
        """Start with what each product would do alone, with rebates, and with one supplier."""
        rebates = [
            Prices(
                weight={
                    name: 1 - max((level.rebate_bp for level in terms.levels), default=0) / E4
                    for name, terms in self.pool.terms.items()
                }
            )
        ]
        suppliers = {row.offer.supplier for need in self.pool.needs for row in need.offers}
        alone = [Prices(closed=frozenset(suppliers - {name})) for name in sorted(suppliers)]
        reachable = self._add_columns(Prices())[0]
        for prices in [*rebates, *alone]:
            self._add_columns(prices)
        self._guess(states)
        return reachable

    def _guess(self, states: States) -> None:
        """Try the plan that ignores spend levels, closing suppliers that it leaves too small."""
        closed: set[str] = set()
        for _ in range(len(states) + 1):
            plans = self._plans(Prices(closed=frozenset(closed)))
            if plans is None:
                return
            self._offer(plans)
            spend = _spends(self.pool.needs, plans)
            small = {
                name
                for name, terms in self.pool.terms.items()
                if name not in closed
                and 0 < spend.get(name, 0) < min((x.least for x in terms.levels), default=0)
            }
            if not small:
                return
            closed.add(min(small, key=lambda name: spend[name]))

    def _plans(self, prices: Prices) -> tuple[ProductPlan, ...] | None:
        plans: list[ProductPlan] = []
        for need, oracle in zip(self.pool.needs, self.oracles, strict=True):
            choice = oracle.choose(prices)
            if math.isinf(choice.value):
                return None
            plan = plan_product(need, choice.units)
            if plan is None:
                return None
            plans.append(plan)
        return tuple(plans)

    def _add_columns(self, prices: Prices) -> tuple[bool, int, float]:
        """Price all products; return whether each has a plan, how many are new, their sum."""
        total, new, reachable = 0.0, 0, True
        for product, oracle in enumerate(self.oracles):
            choice = oracle.choose(prices)
            total += choice.value
            if math.isinf(choice.value):
                reachable = False
                continue
            plan = plan_product(oracle.need, choice.units)
            if plan is not None:
                new += self.pool.add(product, plan)
        return reachable, new, total

    def _price(self, node: _Node) -> _Priced | None:
        """Generate columns until the node's bound stands; None when it holds no plan."""
        bound, shares = node.bound, {}
        for _ in range(_ROUNDS):
            relaxed = relax(self.pool, node.states, deadline=self.deadline)
            if relaxed is None:
                break
            shares = dict(relaxed.shares)
            reachable, new, total = self._add_columns(relaxed.prices)
            if not reachable:
                return None
            lower = total + relaxed.terms_bound
            bound = max(bound, lower - _ACCURACY * abs(lower))
            gap = relaxed.objective - bound
            if not new or (relaxed.satisfied and gap <= self.relative_gap / 4 * abs(bound)):
                break
            if self.deadline.passed or self._close_enough(bound * E4):
                break
        return _Priced(bound=bound, shares=shares)

    def _improve(self, states: States, priced: _Priced) -> None:
        """Settle every supplier at its likeliest state that spend can reach, and combine there."""
        likely = {
            name: _likeliest(name, allowed, priced.shares) for name, allowed in states.items()
        }
        settled = self._settle(states, likely)
        if settled is None or frozenset(settled.items()) in self._tried:
            return
        self._tried.add(frozenset(settled.items()))
        fixed = {name: frozenset({state}) for name, state in settled.items()}
        there = self._price(_Node(priced.bound, 0, fixed))
        if there is None or self._close_enough(there.bound * E4):
            return
        plans = combine(
            self.pool,
            fixed,
            deadline=self.deadline.part(0.3),
            relative_gap=self.relative_gap / 4,
        )
        if plans is not None:
            self._offer(plans)

    def _settle(self, states: States, wanted: Mapping[str, int]) -> dict[str, int] | None:
        """Move suppliers by a level until the known columns can reach every spend."""
        settled = dict(wanted)
        for _ in range(2 * len(settled) + 1):
            fixed = {name: frozenset({state}) for name, state in settled.items()}
            relaxed = relax(self.pool, fixed, deadline=self.deadline)
            if relaxed is None:
                return None
            if not relaxed.missed:
                return settled if relaxed.satisfied else None
            for name, yuan in relaxed.missed.items():
                order = sorted(states[name])
                at = order.index(settled[name]) - (1 if yuan > 0 else -1)
                settled[name] = order[min(max(at, 0), len(order) - 1)]
        return None

    def _offer(self, plans: Sequence[ProductPlan]) -> None:
        """Keep the plans if the evaluator finds them allowed and cheaper."""
        by_product = {
            need.product.id: (need, plan) for need, plan in zip(self.pool.needs, plans, strict=True)
        }
        judged = evaluate_procurement(self.problem, assemble(self.problem, by_product))
        if judged.feasible and judged.objective_e4 < self.best_e4:
            self.best, self.best_e4 = tuple(plans), judged.objective_e4

    def _branch(self, states: States, priced: _Priced) -> list[States]:
        """Split at the supplier whose states the relaxation mixes most."""
        mixed: list[tuple[float, str]] = []
        for name, allowed in states.items():
            shares = _shares(name, allowed, priced.shares)
            if len(allowed) > 1 and max(shares.values()) < _ONE_SHARE:
                mixed.append((max(shares.values()), name))
        if not mixed:
            return []
        _, name = min(mixed)
        return [{**states, name: frozenset({state})} for state in sorted(states[name])]


def _all_states(terms: SupplierTerms) -> frozenset[int]:
    on = range(len(terms.levels))
    free = not terms.fixed_order_cost and terms.levels and terms.levels[0].least == 0
    return frozenset(on) if free else frozenset({CLOSED, *on})


def _shares(
    name: str, allowed: frozenset[int], shares: Mapping[tuple[str, int], float]
) -> dict[int, float]:
    found = {state: shares.get((name, state), 0.0) for state in allowed if state != CLOSED}
    if CLOSED in allowed:
        found[CLOSED] = 1 - sum(found.values())
    return found


def _likeliest(name: str, allowed: frozenset[int], shares: Mapping[tuple[str, int], float]) -> int:
    found = _shares(name, allowed, shares)
    return max(found, key=lambda state: (found[state], state))


def _spends(needs: Sequence[ProductNeed], plans: Sequence[ProductPlan]) -> dict[str, int]:
    spends: dict[str, int] = {}
    for need, plan in zip(needs, plans, strict=True):
        for priced, cost in zip(need.offers, plan.purchases, strict=True):
            spends[priced.offer.supplier] = spends.get(priced.offer.supplier, 0) + cost
    return spends
