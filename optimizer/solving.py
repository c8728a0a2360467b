"""Hands a PuLP model to HiGHS in one transfer and reports what really came back."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import highspy
import numpy as np
import pulp

THREADS: Final = 1
"""HiGHS keeps one scheduler per process: a second value would silently yield empty results."""

_INTEGRALITY: Final = 1e-5


class Outcome(StrEnum):
    """What a solver run established."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a steady clock; parts of a computation share what is left before it."""

    at: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    @property
    def seconds_left(self) -> float:
        return self.at - self.clock()

    @property
    def passed(self) -> bool:
        return self.seconds_left <= 0

    def part(self, share: float) -> "Deadline":
        """Return a deadline for a step that may use `share` of what is left."""
        return Deadline(self.clock() + max(self.seconds_left, 0.0) * share, self.clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A solver run: `values` by variable name, `bound` that no solution can undercut."""

    outcome: Outcome
    objective: float
    bound: float
    values: Mapping[str, float]
    duals: Mapping[str, float]

    @property
    def usable(self) -> bool:
        return self.outcome in {Outcome.OPTIMAL, Outcome.FEASIBLE}


_NOTHING: Final = Solution(
    outcome=Outcome.NOTHING, objective=math.inf, bound=-math.inf, values={}, duals={}
)
_INFEASIBLE: Final = Solution(
    outcome=Outcome.INFEASIBLE, objective=math.inf, bound=math.inf, values={}, duals={}
)


def expression(terms: Iterable[tuple[Any, float]]) -> Any:
    """Return the linear expression of (variable, coefficient) pairs, equal variables summed."""
    summed: dict[Any, float] = {}
    for variable, coefficient in terms:
        summed[variable] = summed.get(variable, 0.0) + coefficient
    return pulp.LpAffineExpression(summed)


def solve(
    model: Any,
    *,
    deadline: Deadline,
    relative_gap: float = 0.0,
    start: Mapping[str, float] | None = None,
) -> Solution:
    """Minimise a PuLP model with HiGHS before the deadline.

    PuLP's own hand-over adds row by row and ignores start values; this one passes the whole
    model at once. The status is read from HiGHS itself: a run that ends at its time limit with
    a solution is feasible and not optimal, whatever PuLP calls it.

    The run stops as soon as its solution is proven to be within `relative_gap` of the optimum.
    `start` holds values by variable name of a known solution; names left out are free.
    """
    if deadline.passed:
        return _NOTHING
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)  # noqa: FBT003 (the solver's own signature)
    solver.setOptionValue("threads", THREADS)
    solver.setOptionValue("time_limit", max(deadline.seconds_left, 0.01))
    solver.setOptionValue("mip_rel_gap", relative_gap)
    solver.setOptionValue("mip_abs_gap", 1e-6)
    variables = model.variables()
    if not variables and not all(_holds_empty(row) for row in model.constraints()):
        # HiGHS calls a model without columns empty, whatever its rows demand.
        return _INFEASIBLE
    for index, variable in enumerate(variables):
        variable.index = index
    if solver.passModel(_transfer(model, variables)) == highspy.HighsStatus.kError:
        return _NOTHING
    if start:
        known = [(v.index, start[v.name]) for v in variables if v.name in start]
        solver.setSolution(
            len(known),
            np.array([index for index, _ in known], dtype=np.int32),
            np.array([value for _, value in known], dtype=np.float64),
        )
    solver.run()
    return _read(solver, model, variables)


def _holds_empty(row: Any) -> bool:
    bound = -row.constant
    if row.sense == pulp.LpConstraintEQ:
        return bool(bound == 0)
    return bool(bound >= 0) if row.sense == pulp.LpConstraintLE else bool(bound <= 0)


def _transfer(model: Any, variables: Sequence[Any]) -> Any:
    infinity = highspy.kHighsInf
    lp = highspy.HighsLp()
    lp.num_col_ = len(variables)
    lp.col_cost_ = np.array([model.objective.get(v, 0.0) for v in variables], dtype=np.float64)
    lp.offset_ = float(model.objective.constant)
    lp.col_lower_ = np.array([-infinity if v.lowBound is None else v.lowBound for v in variables])
    lp.col_upper_ = np.array([infinity if v.upBound is None else v.upBound for v in variables])
    kinds = highspy.HighsVarType
    integer = [v.cat == pulp.LpInteger for v in variables]
    if any(integer):
        lp.integrality_ = [kinds.kInteger if i else kinds.kContinuous for i in integer]
    rows = model.constraints()
    lp.num_row_ = len(rows)
    starts, indices, values, lower, upper = [0], [], [], [], []
    for row in rows:
        for variable, coefficient in row.items():
            indices.append(variable.index)
            values.append(coefficient)
        starts.append(len(indices))
        bound = -row.constant
        lower.append(-infinity if row.sense == pulp.LpConstraintLE else bound)
        upper.append(infinity if row.sense == pulp.LpConstraintGE else bound)
    lp.row_lower_ = np.array(lower, dtype=np.float64)
    lp.row_upper_ = np.array(upper, dtype=np.float64)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.array(starts, dtype=np.int32)
    lp.a_matrix_.index_ = np.array(indices, dtype=np.int32)
    lp.a_matrix_.value_ = np.array(values, dtype=np.float64)
    return lp


def _read(solver: Any, model: Any, variables: Sequence[Any]) -> Solution:
    status = solver.getModelStatus()
    kinds = highspy.HighsModelStatus
    if status in {kinds.kInfeasible, kinds.kUnboundedOrInfeasible}:
        return _INFEASIBLE
    information = solver.getInfo()
    feasible = highspy.SolutionStatus.kSolutionStatusFeasible
    if information.primal_solution_status != feasible and status != kinds.kModelEmpty:
        return _NOTHING
    solution = solver.getSolution()
    values = {v.name: x for v, x in zip(variables, solution.col_value, strict=True)}
    whole = all(
        abs(values[v.name] - round(values[v.name])) < _INTEGRALITY
        for v in variables
        if v.cat == pulp.LpInteger
    )
    if not whole:
        return _NOTHING
    duals: dict[str, float] = {}
    mixed = any(v.cat == pulp.LpInteger for v in variables)
    if not mixed:
        duals = {
            row.name: dual for row, dual in zip(model.constraints(), solution.row_dual, strict=True)
        }
    finished = status in {kinds.kOptimal, kinds.kModelEmpty}
    objective = information.objective_function_value
    bound = information.mip_dual_bound if mixed else objective if finished else -math.inf
    return Solution(
        outcome=Outcome.OPTIMAL if finished else Outcome.FEASIBLE,
        objective=objective,
        bound=bound,
        values=values,
        duals=duals,
    )
