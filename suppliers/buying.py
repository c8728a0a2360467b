"""Buys what can be bought: solves the plan, and where it is impossible gives way step by step.

A plan in which one SKU cannot be had must not keep the others from being bought. What stands in
the way gives way in the order in which it hurts least: first slower offers are let in, then the
safety stock waits, then the last served orders of a SKU wait for capacity, and only then the SKU
is left out, with the optimizer's explanation why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from optimizer.components import split
from optimizer.explanation import Explanation
from optimizer.needs import product_needs
from optimizer.plan import ProcurementResult
from optimizer.procurement import largest_spends
from optimizer.relaxation import impossible_products
from optimizer.schema import ProcurementPlan, ProcurementProblem
from suppliers.needs import Missing
from suppliers.offers import Company
from suppliers.problems import (
    Reach,
    SkuDemand,
    build_problem,
    cut_to,
    offers_of,
    reachable_units,
)

Solve = Callable[[ProcurementProblem], ProcurementResult]

# Every round lets something give way, so this many are never needed.
_MOST_ROUNDS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Needs that are not bought for, and why; `explanation` is the optimizer's where it has one."""

    sku: str
    missing: tuple[Missing, ...]
    reason: str
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """A problem that has a plan, and the plan."""

    problem: ProcurementProblem
    result: ProcurementResult
    plan: ProcurementPlan
    demands: tuple[SkuDemand, ...]


@dataclass(slots=True, kw_only=True)
class Purchase:
    """Everything that is bought (mostly one plan), and what is left out."""

    bought: list[Bought] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Buyer:
    """One purchase decision on its way to a plan."""

    companies: Mapping[str, Company]
    now: datetime
    name: str
    solve: Solve
    purchase: Purchase = field(default_factory=Purchase)

    def buy(self, demands: Sequence[SkuDemand]) -> Purchase:
        """Return what is bought of the demands; all of them need something."""
        active = {demand.sku: demand for demand in demands}
        for demand in demands:
            self._fit_capacity(active, demand)
        for _ in range(_MOST_ROUNDS):
            if not active:
                break
            problem = self._problem(active.values())
            self._bar_unreachable(active, problem)
            problem = self._problem(active.values())
            impossible = impossible_products(problem)
            if impossible:
                for sku in impossible:
                    self._give_way(active, sku)
                continue
            result = self.solve(problem)
            if not _served(result):
                self._solve_parts(active, problem, result)
                continue
            self._keep(problem, result, tuple(active.values()))
            break
        return self.purchase

    def _problem(self, demands: Iterable[SkuDemand]) -> ProcurementProblem:
        return build_problem(tuple(demands), companies=self.companies, now=self.now, name=self.name)

    def _keep(
        self,
        problem: ProcurementProblem,
        result: ProcurementResult,
        demands: tuple[SkuDemand, ...],
    ) -> None:
        assert result.plan is not None  # noqa: S101  # it serves everything
        self.purchase.bought.append(
            Bought(problem=problem, result=result, plan=result.plan, demands=demands)
        )

    def _fit_capacity(self, active: dict[str, SkuDemand], demand: SkuDemand) -> None:
        """Let in slower offers until the suppliers can make enough; put off what is beyond."""
        units = 0
        for reach in Reach:
            if reach < demand.reach:
                continue
            demand = replace(demand, reach=reach)
            units = reachable_units(offers_of(demand, companies=self.companies, now=self.now))
            if units >= demand.must_units:
                break
        if units < demand.must_units + demand.safety_gap:
            demand = replace(demand, with_safety=False)
        demand, off = cut_to(demand, units=units)
        if off:
            self.purchase.left_out.append(
                LeftOut(
                    sku=demand.sku,
                    missing=off,
                    reason=f"suppliers can deliver {units} units now, and more is needed"
                    if units
                    else "no supplier can deliver it now",
                )
            )
        if demand.missing:
            active[demand.sku] = demand
        else:
            del active[demand.sku]

    def _give_way(self, active: dict[str, SkuDemand], sku: str) -> None:
        demand = active[sku]
        if demand.reach is not Reach.LATE:
            active[sku] = replace(demand, reach=Reach(demand.reach + 1), barred=frozenset())
        elif demand.safety_gap:
            active[sku] = replace(demand, with_safety=False)
        else:
            explanation = self.solve(self._problem([demand])).explanation
            self._leave_out(active, sku, explanation)

    def _leave_out(
        self, active: dict[str, SkuDemand], sku: str, explanation: Explanation | None
    ) -> None:
        demand = active.pop(sku)
        reason = "no plan serves it" if explanation is None else explanation.summary.en
        self.purchase.left_out.append(
            LeftOut(sku=sku, missing=demand.missing, reason=reason, explanation=explanation)
        )

    def _bar_unreachable(self, active: dict[str, SkuDemand], problem: ProcurementProblem) -> None:
        """Leave out suppliers whose minimum order value all useful purchases together miss."""
        spends = largest_spends(product_needs(problem))
        for supplier in problem.suppliers:
            if supplier.min_order_value > spends.get(supplier.id, 0):
                for sku, demand in active.items():
                    if any(terms.supplier == supplier.id for terms in demand.terms):
                        active[sku] = replace(demand, barred=demand.barred | {supplier.id})

    def _solve_parts(
        self, active: dict[str, SkuDemand], problem: ProcurementProblem, whole: ProcurementResult
    ) -> None:
        """Take the parts that have a plan, then SKUs that have one alone; the rest gives way."""
        parts = split(problem)
        for part in parts:
            skus = [product.id for product in part.problem.products]
            result = whole if len(parts) == 1 else self.solve(part.problem)
            if _served(result):
                demands = tuple(active.pop(sku) for sku in skus)
                self._keep(part.problem, result, demands)
                continue
            for sku in skus:
                alone = self._problem([active[sku]])
                single = result if len(skus) == 1 else self.solve(alone)
                if _served(single):
                    self._keep(alone, single, (active.pop(sku),))
                else:
                    self._give_way(active, sku)


def _served(result: ProcurementResult) -> bool:
    """Return whether the plan brings all that must be; an infeasible one brings a part."""
    return result.plan is not None and result.status in {"optimal", "feasible"}
