"""The two questions the optimizer answers, and the answer as the JSON a command prints."""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np

from optimizer import fulfilling, purchasing
from optimizer.evaluate import evaluate_allocation, evaluate_procurement
from optimizer.explain import explain_purchase
from optimizer.explain_allocation import explain_fulfilment, explain_shortfall
from optimizer.explanation import Explanation, Text
from optimizer.impossible import explain_impossible
from optimizer.lanes import UNSERVED, lanes_of
from optimizer.reading import check_allocation, check_procurement
from optimizer.relaxation import impossible_products, only, smallest_shortage, without
from optimizer.schema import (
    E4,
    AllocationPlan,
    AllocationProblem,
    ProcurementPlan,
    ProcurementProblem,
    Status,
)
from optimizer.solving import Deadline

Proof = Literal["exact", "bound", "infeasible", "none"]
"""How much is known: the optimum; a bound with a gap; that no plan exists; nothing."""

DEFAULT_DEADLINE_SECONDS: Final = 30.0
DEFAULT_GAP: Final = 1e-4
"""Large problems stop when the plan is proven to be this close to the optimum."""

# What sums of floats and the solver's own tolerances may add to a bound by mistake.
_BOUND_ACCURACY: Final = 1e-9
_ROUNDING_E4: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedUnits:
    """Required units that the plan of an infeasible problem does not bring."""

    product: str
    warehouse: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcurementResult:
    """A purchase plan and how good it is proven to be; money in cents x 10^4.

    An infeasible problem has no objective; its plan, if any, brings as much as possible and
    `unserved` says what is missing.
    """

    status: Status
    objective_e4: int | None
    lower_bound_e4: int | None
    gap: float | None
    proof: Proof
    plan: ProcurementPlan | None
    unserved: tuple[UnservedUnits, ...]
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationResult:
    """A fulfilment plan and how good it is proven to be; money in cents x 10^4.

    An infeasible problem has no objective; its plan serves as many groups as were found to fit
    and `unserved` names the others.
    """

    status: Status
    objective_e4: int | None
    lower_bound_e4: int | None
    gap: float | None
    proof: Proof
    plan: AllocationPlan | None
    unserved: tuple[str, ...]
    explanation: Explanation


def plan_procurement(
    problem: ProcurementProblem,
    *,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
    relative_gap: float = DEFAULT_GAP,
) -> ProcurementResult:
    """Return the cheapest purchase plan found in time, priced by the evaluator.

    Raises:
        ProblemError: the problem contradicts itself.
    """
    check_procurement(problem)
    deadline = Deadline.after(deadline_seconds)
    found = purchasing.search(problem, deadline=deadline.part(0.8), relative_gap=relative_gap)
    if found.infeasible:
        return _partial_purchase(problem, deadline=deadline, relative_gap=relative_gap)
    judged = None if found.plan is None else evaluate_procurement(problem, found.plan)
    if found.plan is None or judged is None or not judged.feasible:
        return ProcurementResult(
            status="unknown",
            objective_e4=None,
            lower_bound_e4=_lower_bound(found.bound_e4, None),
            gap=None,
            proof="none",
            plan=None,
            unserved=(),
            explanation=_OUT_OF_TIME,
        )
    bound = _lower_bound(found.bound_e4, judged.objective_e4)
    return ProcurementResult(
        status="optimal" if bound == judged.objective_e4 else "feasible",
        objective_e4=judged.objective_e4,
        lower_bound_e4=bound,
        gap=_gap(judged.objective_e4, bound),
        proof=_proof(judged.objective_e4, bound),
        plan=found.plan,
        unserved=(),
        explanation=explain_purchase(problem, found.plan, judged),
    )


def plan_allocation(
    problem: AllocationProblem,
    *,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
    relative_gap: float = DEFAULT_GAP,
) -> AllocationResult:
    """Return the cheapest fulfilment plan found in time, priced by the evaluator.

    Raises:
        ProblemError: the problem contradicts itself.
    """
    check_allocation(problem)
    deadline = Deadline.after(deadline_seconds)
    lanes = lanes_of(problem)
    found = fulfilling.search(problem, deadline=deadline.part(0.9), relative_gap=relative_gap)
    plan = None if found.place is None else lanes.plan(found.place)
    judged = None if plan is None else evaluate_allocation(problem, plan)
    if found.place is None or plan is None or judged is None or not judged.feasible:
        place = fulfilling.serve_most(lanes, deadline=deadline.part(0.5))
        left_out = np.unique(lanes.group[place == UNSERVED]).tolist()
        return AllocationResult(
            status="infeasible" if found.infeasible else "unknown",
            objective_e4=None,
            lower_bound_e4=None,
            gap=None,
            proof="infeasible" if found.infeasible else "none",
            plan=lanes.plan(place),
            unserved=tuple(problem.groups[group].id for group in left_out),
            explanation=explain_shortfall(lanes, deadline=deadline),
        )
    objective = judged.objective_e4
    bound = objective
    if not found.optimal:
        # Every P2 cost is a whole number of cents, so the bound may be rounded up to one.
        cents = found.bound - max(abs(found.bound) * _BOUND_ACCURACY, _BOUND_ACCURACY)
        bound = min(objective, math.ceil(cents) * E4) if math.isfinite(cents) else 0
    return AllocationResult(
        status="optimal" if bound == objective else "feasible",
        objective_e4=objective,
        lower_bound_e4=bound,
        gap=_gap(objective, bound),
        proof=_proof(objective, bound),
        plan=plan,
        unserved=(),
        explanation=explain_fulfilment(lanes, found.place, judged),
    )


def to_document(result: ProcurementResult | AllocationResult) -> dict[str, Any]:
    """Return the result as the JSON object that `caravan plan ... --json` prints."""
    return msgspec.json.decode(msgspec.json.encode(result), type=dict[str, Any])


_OUT_OF_TIME: Final = Explanation(
    summary=Text(
        en="No plan was found before the deadline; allow more seconds",
        zh="限时内未找到方案，请放宽时限",
    )
)


def _partial_purchase(
    problem: ProcurementProblem, *, deadline: Deadline, relative_gap: float
) -> ProcurementResult:
    """Explain why there is no plan, and plan what can be brought all the same."""
    explanation = explain_impossible(problem, deadline=deadline.part(0.3))
    shortage: dict[tuple[str, str], int] = {}
    for name in impossible_products(problem):
        part = smallest_shortage(only(problem, name), deadline=deadline.part(0.2))
        shortage |= part or {}
    reduced = without(problem, shortage)
    found = purchasing.search(reduced, deadline=deadline.part(0.5), relative_gap=relative_gap)
    if found.infeasible:
        more = smallest_shortage(reduced, deadline=deadline.part(0.5)) or {}
        shortage = {pair: shortage.get(pair, 0) + more.get(pair, 0) for pair in shortage | more}
        reduced = without(problem, shortage)
        found = purchasing.search(reduced, deadline=deadline, relative_gap=relative_gap)
    return ProcurementResult(
        status="infeasible",
        objective_e4=None,
        lower_bound_e4=None,
        gap=None,
        proof="infeasible",
        plan=found.plan,
        unserved=tuple(
            UnservedUnits(product=product, warehouse=warehouse, units=units)
            for (product, warehouse), units in shortage.items()
        ),
        explanation=explanation,
    )


def _lower_bound(bound_e4: float, objective_e4: int | None) -> int | None:
    """Round a bound up to the next possible objective, but never above the one found."""
    if objective_e4 is not None and bound_e4 >= objective_e4:
        return objective_e4
    return math.ceil(bound_e4 - _ROUNDING_E4) if math.isfinite(bound_e4) else None


def _gap(objective: int, bound: int | None) -> float | None:
    if bound is None:
        return None
    return 0.0 if objective == bound else (objective - bound) / max(abs(objective), 1)


def _proof(objective: int, bound: int | None) -> Proof:
    if bound is None:
        return "none"
    return "exact" if objective == bound else "bound"
