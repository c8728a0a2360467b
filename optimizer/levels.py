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
from optimizer.master import Duals, Pool, States, SupplierTerms, combine, relax
from optimizer.needs import ProductNeed, ProductPlan, assemble, plan_product, product_needs
from optimizer.procurement import Answer, largest_spends, spend_levels
from optimizer.schema import E4, ProcurementProblem
from optimizer.solving import Deadline
from optimizer.states import all_states, closed_suppliers, likeliest, settled, shares_of

_ROUNDS: Final = 40
_PRODUCTS_BETWEEN_LOOKS: Final = 64
# Between the root and the leaves a node has to be judged, not solved.
_ROUNDS_ON_THE_WAY: Final = 3
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
class _Cut:
    """Prices once asked of the oracle: a bound for every node that closes at least `closed`."""

    total: float
    duals: Duals
    closed: frozenset[str]


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
        self._tried: set[frozenset[tuple[str, int]]] = set()
        self._cuts: list[_Cut] = []
        self._numbers = itertools.count()

    def run(self) -> Answer:
        """Search until the gap is small enough or time is up."""
        if any(need.must and not need.offers for need in self.pool.needs):
            return Answer(units=None, bound_e4=math.inf, optimal=False, infeasible=True)
        states = {name: all_states(terms) for name, terms in self.pool.terms.items()}
        if not self._seed():
            return Answer(units=None, bound_e4=math.inf, optimal=False, infeasible=True)
        leaves: list[float] = []
        waiting = [_Node(-math.inf, next(self._numbers), states)]
        while waiting and not self.deadline.passed:
            node = heapq.heappop(waiting)
            known = max(node.bound, self._known_bound(node.states, self._cuts))
            if waiting and known > max(node.bound, waiting[0].bound):
                # Prices asked meanwhile say more of it; another node may come first now.
                heapq.heappush(waiting, _Node(known, node.number, node.states))
                continue
            node.bound = known
            if self._close_enough(node.bound * E4):
                leaves.append(node.bound)
                continue
            priced = self._price(node)
            if priced is None or self._close_enough(priced.bound * E4):
                leaves += [] if priced is None else [priced.bound]
                continue
            self._improve(node.states, priced)
            children = self._branch(node.states, priced)
            leaves += [] if children else [priced.bound]
            for child in children:
                bound = max(priced.bound, self._known_bound(child, self._cuts))
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

    def _known_bound(self, states: States, cuts: Sequence[_Cut]) -> float:
        """Return the best bound that prices asked elsewhere give for these states."""
        closed = closed_suppliers(states)
        lowers = (
            cut.total + cut.duals.terms_bound(self.pool, states)
            for cut in cuts
            if cut.closed <= closed
        )
        return max((_careful(lower) for lower in lowers), default=-math.inf)

    def _close_enough(self, bound_e4: float) -> bool:
        if math.isinf(self.best_e4):
            return False
        return bound_e4 >= self.best_e4 - self.relative_gap * abs(self.best_e4)

    def _seed(self) -> bool:
        """Start with what each product would do alone, with rebates, and with one supplier."""
        top = {
            name: max((level.rebate_bp for level in terms.levels), default=0) / E4
            for name, terms in self.pool.terms.items()
        }
        suppliers = {row.offer.supplier for need in self.pool.needs for row in need.offers}
        reachable = self._ask({}, closed=frozenset())
        self._guess()
        self._ask(top, closed=frozenset())
        for name in sorted(suppliers):
            self._ask({}, closed=frozenset(suppliers - {name}))
        return reachable

    def _ask(self, rebates: Mapping[str, float], *, closed: frozenset[str]) -> bool:
        """Price all products as if spend earned these rebates; keep columns and bound."""
        weight = {name: 1 - rebate for name, rebate in rebates.items()}
        reachable, _, total = self._add_columns(Prices(weight=weight, closed=closed))
        spend = {name: rebates.get(name, 0.0) for name in self.pool.terms}
        charged = dict.fromkeys(self.pool.terms, 0.0)
        duals = Duals(spend=spend, charged=charged, budget=0.0)
        self._cuts.append(_Cut(total=total, duals=duals, closed=closed))
        return reachable

    def _guess(self) -> None:
        """Try the plan that ignores spend levels, closing suppliers that it leaves too small."""
        closed: set[str] = set()
        for _ in range(len(self.pool.terms) + 1):
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
        """Price all products; return whether each has a plan, how many are new, their sum.

        When time runs out the sum is -inf: a part of it bounds nothing.
        """
        total, new, reachable = 0.0, 0, True
        for product, oracle in enumerate(self.oracles):
            if product % _PRODUCTS_BETWEEN_LOOKS == 0 and self.deadline.passed:
                return reachable, new, -math.inf
            choice = oracle.choose(prices)
            total += choice.value
            if math.isinf(choice.value):
                reachable = False
                continue
            if choice.units in self.pool.columns[product]:
                continue
            plan = plan_product(oracle.need, choice.units)
            if plan is not None:
                new += self.pool.add(product, plan)
        return reachable, new, total

    def _price(self, node: _Node) -> _Priced | None:
        """Generate columns until the node's bound stands; None when it holds no plan."""
        bound, shares = node.bound, {}
        solved = settled(node.states) or node.number == 0
        for _ in range(_ROUNDS if solved else _ROUNDS_ON_THE_WAY):
            relaxed = relax(self.pool, node.states, deadline=self.deadline)
            if relaxed is None:
                break
            shares = dict(relaxed.shares)
            reachable, new, total = self._add_columns(relaxed.prices)
            if not reachable:
                return None
            self._cuts.append(_Cut(total=total, duals=relaxed.duals, closed=relaxed.prices.closed))
            bound = max(bound, self._known_bound(node.states, self._cuts[-1:]))
            gap = relaxed.objective - bound
            if not new or (relaxed.satisfied and gap <= self.relative_gap / 4 * abs(bound)):
                break
            if self.deadline.passed or self._close_enough(bound * E4):
                break
        return _Priced(bound=bound, shares=shares)

    def _improve(self, states: States, priced: _Priced) -> None:
        """Combine at these states, or at the likeliest within them that spend can reach."""
        if settled(states):
            self._combine(states)
            return
        likely = {name: likeliest(name, allowed, priced.shares) for name, allowed in states.items()}
        reachable = self._settle(states, likely)
        if reachable is None or frozenset(reachable.items()) in self._tried:
            return
        self._tried.add(frozenset(reachable.items()))
        fixed = {name: frozenset({state}) for name, state in reachable.items()}
        there = self._price(_Node(priced.bound, 0, fixed))
        if there is None or self._close_enough(there.bound * E4):
            return
        self._combine(fixed)

    def _combine(self, states: States) -> None:
        plans = combine(
            self.pool,
            states,
            deadline=self.deadline.part(0.3),
            relative_gap=self.relative_gap / 4,
        )
        if plans is not None:
            self._offer(plans)

    def _settle(self, states: States, wanted: Mapping[str, int]) -> dict[str, int] | None:
        """Move suppliers by a level until the known columns can reach every spend."""
        state_of = dict(wanted)
        for _ in range(2 * len(state_of) + 1):
            fixed = {name: frozenset({state}) for name, state in state_of.items()}
            relaxed = relax(self.pool, fixed, deadline=self.deadline)
            if relaxed is None:
                return None
            if not relaxed.missed:
                return state_of if relaxed.satisfied else None
            for name, yuan in relaxed.missed.items():
                order = sorted(states[name])
                at = order.index(state_of[name]) - (1 if yuan > 0 else -1)
                state_of[name] = order[min(max(at, 0), len(order) - 1)]
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
            shares = shares_of(name, allowed, priced.shares)
            if len(allowed) > 1 and max(shares.values()) < _ONE_SHARE:
                mixed.append((max(shares.values()), name))
        if not mixed:
            return []
        _, name = min(mixed)
        return [{**states, name: frozenset({state})} for state in sorted(states[name])]


def _careful(bound: float) -> float:
    return bound if math.isinf(bound) else bound - _ACCURACY * abs(bound)


def _spends(needs: Sequence[ProductNeed], plans: Sequence[ProductPlan]) -> dict[str, int]:
    spends: dict[str, int] = {}
    for need, plan in zip(needs, plans, strict=True):
        for priced, cost in zip(need.offers, plan.purchases, strict=True):
            spends[priced.offer.supplier] = spends.get(priced.offer.supplier, 0) + cost
    return spends
