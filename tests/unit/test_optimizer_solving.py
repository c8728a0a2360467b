"""The hand-over to the solver: the same model, the true status."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulp
import pytest

from optimizer.solving import THREADS, Deadline, Outcome, expression, solve


def knapsack(seed: int, *, items: int = 12, integer: bool = True) -> Any:
    """Return a model with rows of all three senses, an offset and bounds."""
    dice = random.Random(seed)  # noqa: S311 (instances, not secrets)
    model = pulp.LpProblem("knapsack", pulp.LpMinimize)
    kind = pulp.LpInteger if integer else pulp.LpContinuous
    taken = [model.add_variable(f"x_{at}", 0, dice.randint(1, 4), kind) for at in range(items)]
    free = model.add_variable("free")
    weights = [dice.randint(1, 9) for _ in taken]
    values = [dice.randint(1, 9) for _ in taken]
    model.addConstraint(expression(zip(taken, weights, strict=True)) <= 40, "weight")
    model.addConstraint(expression([*zip(taken, values, strict=True), (free, 1)]) == 30, "value")
    model.addConstraint(expression([(free, 1)]) >= -5, "floor")
    costs = [(variable, dice.randint(1, 20)) for variable in taken]
    model.setObjective(expression([*costs, (free, 3)]) + 7)
    return model


@pytest.mark.parametrize("integer", [True, False])
def test_one_transfer_solves_the_same_model_as_pulps_own(*, integer: bool) -> None:
    for seed in range(8):
        model = knapsack(seed, integer=integer)

        ours = solve(model, deadline=Deadline.after(20))

        model.solve(pulp.HiGHS(msg=False, threads=THREADS))
        assert ours.outcome is Outcome.OPTIMAL
        assert ours.objective == pytest.approx(pulp.value(model.objective))
        assert ours.bound == pytest.approx(ours.objective)


def test_equal_variables_in_an_expression_are_summed() -> None:
    model = pulp.LpProblem("twice", pulp.LpMinimize)
    variable = model.add_variable("x", 0, 10)

    twice = expression([(variable, 2), (variable, 3)])

    assert twice[variable] == 5


def test_the_dual_of_a_row_is_what_one_more_unit_of_it_costs() -> None:
    model = pulp.LpProblem("dual", pulp.LpMinimize)
    variable = model.add_variable("x", 0)
    model.addConstraint(expression([(variable, 2)]) >= 8, "need")
    model.setObjective(expression([(variable, 10)]))

    solution = solve(model, deadline=Deadline.after(20))

    assert solution.duals["need"] == pytest.approx(5)


def test_what_cannot_be_is_infeasible_even_without_variables() -> None:
    contradiction = pulp.LpProblem("contradiction", pulp.LpMinimize)
    variable = contradiction.add_variable("x", 0, 1, pulp.LpInteger)
    contradiction.setObjective(expression([(variable, 1)]))
    contradiction.addConstraint(expression([(variable, 2)]) >= 3, "too_much")
    nothing = pulp.LpProblem("nothing", pulp.LpMinimize)
    nothing.setObjective(expression([]))
    nothing.addConstraint(expression([]) >= 1, "from_nothing")

    for model in (contradiction, nothing):
        assert solve(model, deadline=Deadline.after(20)).outcome is Outcome.INFEASIBLE


def test_no_time_is_no_answer() -> None:
    assert solve(knapsack(1), deadline=Deadline.after(-1)).outcome is Outcome.NOTHING


def test_a_known_solution_is_accepted_as_a_start() -> None:
    model = knapsack(3)
    best = solve(model, deadline=Deadline.after(20))

    again = solve(model, deadline=Deadline.after(20), start=best.values)

    assert again.objective == pytest.approx(best.objective)


def test_threads_solve_side_by_side() -> None:
    alone = [solve(knapsack(seed), deadline=Deadline.after(20)).objective for seed in range(12)]

    with ThreadPoolExecutor(max_workers=4) as pool:
        together = list(
            pool.map(
                lambda seed: solve(knapsack(seed), deadline=Deadline.after(20)).objective,
                range(12),
            )
        )

    assert together == pytest.approx(alone)


def test_parts_of_a_deadline_end_before_it() -> None:
    moment = [100.0]
    deadline = Deadline(110.0, lambda: moment[0])

    part = deadline.part(0.3)

    assert part.seconds_left == pytest.approx(3)
    moment[0] = 111.0
    assert deadline.passed
    assert deadline.part(0.5).seconds_left <= 0
