"""Fulfilment plans against enumeration of every assignment."""

import itertools
import math
import random

import pytest

from optimizer.evaluate import evaluate_allocation
from optimizer.fulfilling import search
from optimizer.lanes import lanes_of
from optimizer.schema import (
    E4,
    AllocationPlan,
    AllocationProblem,
    AllocationWarehouse,
    CarrierRate,
    Group,
    Member,
    Stock,
    Truck,
)
from optimizer.solving import Deadline


def small_problem(seed: int) -> AllocationProblem:
    """Return a problem with every kind of term, small enough to enumerate."""
    dice = random.Random(seed)  # noqa: S311 (instances, not secrets)
    warehouses = ("W1", "W2", "W3")[: dice.choice([2, 2, 3])]
    zones = ("N", "S")
    groups = small_groups(dice, warehouses, zones)
    wanted = {
        product: sum(m.units for group in groups if group.product == product for m in group.members)
        for product in ("A", "B")
    }
    lanes = [(warehouse, zone) for warehouse in warehouses for zone in zones]
    return AllocationProblem(
        warehouses=tuple(
            AllocationWarehouse(
                id=name,
                wave_cost=dice.choice([0, dice.randint(50, 600)]),
                parcel_capacity=dice.choice([None, None, dice.randint(2, 6)]),
            )
            for name in warehouses
        ),
        zones=zones,
        stock=tuple(
            Stock(warehouse=name, product=product, units=dice.randint(0, wanted[product] + 1))
            for name in warehouses
            for product in ("A", "B")
        ),
        carrier=tuple(
            CarrierRate(
                warehouse=warehouse,
                zone=zone,
                per_parcel=dice.randint(100, 900),
                per_volume=dice.randint(0, 5),
            )
            for warehouse, zone in lanes
            if dice.random() < 0.93
        ),
        trucks=tuple(
            Truck(
                warehouse=warehouse,
                zone=zone,
                capacity=dice.randint(15, 60),
                cost=dice.randint(100, 700),
            )
            for warehouse, zone in lanes
            if dice.random() < 0.5
        ),
        groups=groups,
    )


def small_groups(
    dice: random.Random, warehouses: tuple[str, ...], zones: tuple[str, ...]
) -> tuple[Group, ...]:
    return tuple(
        Group(
            id=f"g{number}",
            product=dice.choice(["A", "A", "B"]),
            split_penalty=dice.choice([0, dice.randint(100, 700)]),
            whole=dice.random() < 0.25,
            warehouses=None if dice.random() < 0.8 else warehouses[:2],
            members=tuple(
                Member(
                    id=f"g{number}m{position}",
                    zone=dice.choice(zones),
                    units=dice.randint(1, 3),
                    volume=dice.randint(0, 25),
                )
                for position in range(dice.randint(1, 3))
            ),
        )
        for number in range(dice.randint(2, 3))
    )


def enumerated_optimum(problem: AllocationProblem) -> int | None:
    """Return the least objective over all assignments, None when none is allowed."""
    members = [member.id for group in problem.groups for member in group.members]
    names = [warehouse.id for warehouse in problem.warehouses]
    judged = (
        evaluate_allocation(
            problem, AllocationPlan(assignment=dict(zip(members, places, strict=True)))
        )
        for places in itertools.product(names, repeat=len(members))
    )
    return min((found.objective_e4 for found in judged if found.feasible), default=None)


@pytest.mark.parametrize("seed", range(60))
def test_the_plan_costs_what_enumeration_finds(seed: int) -> None:
    problem = small_problem(seed)

    found = search(problem, deadline=Deadline.after(20), relative_gap=0.0)

    expected = enumerated_optimum(problem)
    assert found.infeasible is (expected is None)
    if found.place is not None:
        judged = evaluate_allocation(problem, lanes_of(problem).plan(found.place))
        assert judged.violations == ()
        assert judged.objective_e4 == expected
        assert math.ceil(found.bound - 1e-6) * E4 == expected
