"""The fulfilment problem, or a part of it, as a mixed-integer model in PuLP.

Whole-group columns come first; member columns exist only for groups that may be worth splitting.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pulp

from optimizer.lanes import UNSERVED, Floats, Ints, Lanes
from optimizer.solving import Deadline, Outcome, Solution, expression, solve

_VISIBLE: Final = 1e-6
_CHOSEN: Final = 0.5

Terms = list[tuple[Any, float]]

UNSERVED_WEIGHT: Final = 1000.0
"""Times the dearest group: no saving is worth leaving a group behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which groups are decided, at which member costs, and what a model of them includes.

    `split` are the groups that get member columns. `shared` names what the groups have in common
    beside stock ("parcels", "waves", "trucks"); what it leaves out is left to the caller, which
    makes products independent of each other. `room` is the parcels left where others took some.
    """

    groups: Sequence[int]
    cost: Floats
    split: frozenset[int]
    shared: frozenset[str] = frozenset()
    may_leave: bool = False
    elastic: bool = False
    room: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where the members of a part go; `place` is indexed like the lanes' members.

    `missing` are units of stock by (warehouse, product) and parcels by (warehouse, -1) that an
    elastic model had to assume.
    """

    outcome: Outcome
    place: Ints | None
    objective: float
    bound: float
    missing: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Model:
    model: Any
    lanes: Lanes
    part: Part
    costs: Terms = field(default_factory=list)
    stock: dict[tuple[int, int], Terms] = field(default_factory=lambda: defaultdict(list))
    parcels: dict[int, Terms] = field(default_factory=lambda: defaultdict(list))
    load: dict[tuple[int, int], Terms] = field(default_factory=lambda: defaultdict(list))
    opens: dict[int, list[Any]] = field(default_factory=lambda: defaultdict(list))
    whole: dict[tuple[int, int], str] = field(default_factory=dict)
    member: dict[tuple[int, int], str] = field(default_factory=dict)
    slacks: dict[tuple[int, int], str] = field(default_factory=dict)

    def choice(self, name: str, cost: float) -> Any:
        variable = self.model.add_variable(name, 0, 1, pulp.LpInteger)
        self.costs.append((variable, cost))
        return variable

    def row(self, constraint: Any, name: str) -> None:
        self.model.addConstraint(constraint, name)


def place_exactly(
    lanes: Lanes,
    part: Part,
    *,
    deadline: Deadline,
    relative_gap: float = 0.0,
    start: Ints | None = None,
) -> Placing:
    """Solve one model for a part; `start` is a known placing that the solver may improve."""
    built = _build(lanes, part)
    known = None if start is None else _start_values(built, start)
    solution = solve(built.model, deadline=deadline, relative_gap=relative_gap, start=known)
    if not solution.usable:
        return Placing(
            outcome=solution.outcome, place=None, objective=math.inf, bound=solution.bound
        )
    return Placing(
        outcome=solution.outcome,
        place=_places(built, solution),
        objective=solution.objective,
        bound=solution.bound,
        missing={
            pair: math.ceil(solution.values[name] - _VISIBLE)
            for pair, name in built.slacks.items()
            if solution.values[name] > _VISIBLE
        },
    )


def _build(lanes: Lanes, part: Part) -> _Model:
    built = _Model(model=pulp.LpProblem("allocation", pulp.LpMinimize), lanes=lanes, part=part)
    whole = lanes.whole(part.cost)
    finite = part.cost[np.isfinite(part.cost)]
    heaviest = UNSERVED_WEIGHT * (1.0 + float(finite.max(initial=0.0)))
    for group in part.groups:
        options: Terms = []
        for at in np.flatnonzero(np.isfinite(whole[group])).tolist():
            if part.elastic or lanes.group_units[group] <= lanes.stock[at, lanes.product[group]]:
                options.append((_whole_column(built, group, at, cost=whole[group, at]), 1))
        if group in part.split and not lanes.whole_only[group]:
            options.append((_split_columns(built, group), 1))
        if part.may_leave:
            # Earlier groups weigh a little more: who completed first is served first.
            weight = heaviest * float(lanes.size[group]) * (1.0 + 0.1 / (1.0 + group))
            options.append((built.choice(f"r_{group}", weight), 1))
        built.row(expression(options) == 1, f"group_{group}")
    _add_stock(built)
    _add_shared(built)
    if part.elastic:
        names = set(built.slacks.values())
        built.costs = [(v, 1.0) for v, _ in built.costs if v.name in names]
    built.model.setObjective(expression(built.costs))
    return built


def _whole_column(built: _Model, group: int, at: int, *, cost: float) -> Any:
    lanes = built.lanes
    column = built.choice(f"x_{group}_{at}", float(cost))
    built.whole[group, at] = column.name
    built.stock[at, int(lanes.product[group])].append((column, int(lanes.group_units[group])))
    built.parcels[at].append((column, int(lanes.size[group])))
    built.opens[at].append(column)
    for member in lanes.members_of(group):
        built.load[at, int(lanes.zone[member])].append((column, int(lanes.volume[member])))
    return column


def _split_columns(built: _Model, group: int) -> Any:
    """Add member columns; the group pays its penalty per warehouse beyond the first."""
    lanes, product = built.lanes, int(built.lanes.product[group])
    penalty = float(lanes.penalty[group])
    split = built.choice(f"s_{group}", -penalty)
    here: dict[int, Any] = {}
    for member in lanes.members_of(group):
        options: Terms = []
        for at in np.flatnonzero(np.isfinite(built.part.cost[member])).tolist():
            if at not in here:
                here[at] = built.choice(f"u_{group}_{at}", penalty)
                built.row(expression([(here[at], 1), (split, -1)]) <= 0, f"only_{group}_{at}")
                built.opens[at].append(here[at])
            column = built.choice(f"a_{member}_{at}", float(built.part.cost[member, at]))
            built.member[member, at] = column.name
            built.row(expression([(column, 1), (here[at], -1)]) <= 0, f"used_{member}_{at}")
            built.stock[at, product].append((column, int(lanes.units[member])))
            built.parcels[at].append((column, 1))
            zone = int(lanes.zone[member])
            built.load[at, zone].append((column, int(lanes.volume[member])))
            options.append((column, 1))
        built.row(expression([*options, (split, -1)]) == 0, f"member_{member}")
    two = [(variable, 1) for variable in here.values()]
    built.row(expression([*two, (split, -2)]) >= 0, f"two_{group}")
    return split


def _slack(built: _Model, pair: tuple[int, int]) -> Terms:
    if not built.part.elastic:
        return []
    slack = built.model.add_variable(f"more_{pair[0]}_{pair[1] + 1}", 0)
    built.costs.append((slack, 1.0))
    built.slacks[pair] = slack.name
    return [(slack, -1)]


def _add_stock(built: _Model) -> None:
    for (at, product), terms in built.stock.items():
        units = int(built.lanes.stock[at, product])
        if _most(terms) > units:
            slack = _slack(built, (at, product))
            built.row(expression([*terms, *slack]) <= units, f"stock_{at}_{product}")


def _most(terms: Terms) -> float:
    return sum(amount for _, amount in terms)


def _add_shared(built: _Model) -> None:
    lanes, shared = built.lanes, built.part.shared
    limits = lanes.parcel_capacity if built.part.room is None else built.part.room
    for at, terms in built.parcels.items():
        capacity = float(limits[at])
        if "parcels" in shared and _most(terms) > capacity:
            slack = _slack(built, (at, -1))
            built.row(expression([*terms, *slack]) <= capacity, f"parcels_{at}")
    for at, columns in built.opens.items():
        if "waves" in shared and lanes.wave[at]:
            _add_wave(built, at, columns)
    for (at, zone), terms in built.load.items():
        if "trucks" in shared and lanes.truck_cost[at, zone] and _most(terms):
            capacity = int(lanes.truck_capacity[at, zone])
            most = math.ceil(_most(terms) / capacity)
            trucks = built.model.add_variable(f"t_{at}_{zone}", 0, most, pulp.LpInteger)
            built.costs.append((trucks, float(lanes.truck_cost[at, zone])))
            built.row(expression([*terms, (trucks, -capacity)]) <= 0, f"load_{at}_{zone}")


def _add_wave(built: _Model, at: int, columns: Sequence[Any]) -> None:
    wave = built.choice(f"y_{at}", float(built.lanes.wave[at]))
    for number, column in enumerate(columns):
        built.row(expression([(column, 1), (wave, -1)]) <= 0, f"open_{at}_{number}")
    for (place, product), terms in built.stock.items():
        units = int(built.lanes.stock[place, product])
        if place == at and not built.part.elastic and _most(terms) > units:
            built.row(expression([*terms, (wave, -units)]) <= 0, f"wave_{at}_{product}")


def _start_values(built: _Model, place: Ints) -> dict[str, float]:
    known = dict.fromkeys([*built.whole.values(), *built.member.values()], 0.0)
    for group in built.part.groups:
        members = built.lanes.members_of(group)
        used = {int(place[member]) for member in members}
        if UNSERVED in used:
            continue
        if len(used) == 1 and (column := built.whole.get((group, used.pop()))):
            known[column] = 1.0
            continue
        for member in members:
            name = built.member.get((member, int(place[member])))
            if name is not None:
                known[name] = 1.0
    return known


def _places(built: _Model, solution: Solution) -> Ints:
    place = np.full(len(built.lanes.units), UNSERVED, dtype=np.int64)
    for (group, at), name in built.whole.items():
        if solution.values[name] > _CHOSEN:
            place[built.lanes.start[group] : built.lanes.start[group] + built.lanes.size[group]] = (
                at
            )
    for (member, at), name in built.member.items():
        if solution.values[name] > _CHOSEN:
            place[member] = at
    return place
