"""A fulfilment problem as arrays: what every member costs from every warehouse."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from optimizer.schema import AllocationPlan, AllocationProblem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNSERVED: Final = -1
_PAIR: Final = 2


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """Members of all groups in one row after the other; costs in cents, inf where none.

    `cost[member, warehouse]` is the carrier's price; `start[group]` the group's first member.
    """

    problem: AllocationProblem
    cost: Floats
    units: Ints
    volume: Ints
    zone: Ints
    group: Ints
    start: Ints
    size: Ints
    product: Ints
    penalty: Floats
    whole_only: npt.NDArray[np.bool_]
    stock: Ints
    parcel_capacity: Floats
    wave: Floats
    truck_capacity: Floats
    truck_cost: Floats

    @property
    def warehouses(self) -> int:
        return len(self.wave)

    @property
    def groups(self) -> int:
        return len(self.start)

    @cached_property
    def group_units(self) -> Ints:
        return _by_group(self.units, self.start)

    @cached_property
    def truck_price(self) -> Floats:
        """Cents per unit of volume if trucks could be paid in fractions, by (warehouse, zone)."""
        return np.divide(self.truck_cost, self.truck_capacity)

    def priced(self, price: Floats) -> Floats:
        """Return `cost` plus a price per volume by (warehouse, zone)."""
        return self.cost + price[:, self.zone].T * self.volume[:, None]

    def whole(self, cost: Floats) -> Floats:
        """Return by (group, warehouse) the sum of its members' costs."""
        return np.add.reduceat(cost, self.start, axis=0) if self.groups else cost

    def apart(self, cost: Floats) -> Floats:
        """Return a group's cost with every member at its cheapest, penalty left out."""
        apart = np.add.reduceat(cost.min(axis=1), self.start)
        apart[self.whole_only | (self.size == 1)] = np.inf
        return np.asarray(apart, dtype=np.float64)

    def split_bound(self, cost: Floats) -> Floats:
        """Return what a group costs at least when it is split; inf when it must not be.

        Two warehouses are tried pair by pair; more than two pay the penalty at least twice.
        """
        if not self.groups:
            return np.zeros(0)
        apart = self.apart(cost)
        tempting = np.flatnonzero(apart + self.penalty < self.whole(cost).min(axis=1))
        bound = np.where(self.size > _PAIR, apart + _PAIR * self.penalty, np.inf)
        if len(tempting):
            members = np.isin(self.group, tempting)
            starts = np.cumsum(self.size[tempting]) - self.size[tempting]
            narrowed = cost[members]
            for one, other in itertools.combinations(range(self.warehouses), _PAIR):
                pair = np.minimum(narrowed[:, one], narrowed[:, other])
                total = np.add.reduceat(pair, starts) + self.penalty[tempting]
                bound[tempting] = np.minimum(bound[tempting], total)
        untried = np.setdiff1d(np.arange(self.groups), tempting, assume_unique=True)
        bound[untried] = apart[untried] + self.penalty[untried]
        return bound

    def members_of(self, group: int) -> range:
        return range(int(self.start[group]), int(self.start[group] + self.size[group]))

    def taken(self, place: Ints) -> Ints:
        """Return the units taken by (warehouse, product)."""
        served = place != UNSERVED
        taken = np.zeros_like(self.stock)
        np.add.at(taken, (place[served], self.product[self.group[served]]), self.units[served])
        return taken

    def load(self, place: Ints) -> Ints:
        """Return the volume by (warehouse, zone)."""
        served = place != UNSERVED
        load = np.zeros(self.truck_cost.shape, dtype=np.int64)
        np.add.at(load, (place[served], self.zone[served]), self.volume[served])
        return load

    def parcels(self, place: Ints) -> Ints:
        """Return the parcels by warehouse."""
        return np.bincount(place[place != UNSERVED], minlength=self.warehouses)

    def total(self, place: Ints) -> float:
        """Return the cost in cents of an assignment, rules unchecked."""
        served = np.flatnonzero(place != UNSERVED)
        trucks = np.ceil(self.load(place) / self.truck_capacity) * self.truck_cost
        pairs = np.unique(self.group[served] * self.warehouses + place[served])
        spread = np.bincount(pairs // self.warehouses, minlength=self.groups)
        split = (np.maximum(spread - 1, 0) * self.penalty).sum()
        waves = self.wave[self.parcels(place) > 0].sum()
        return float(self.cost[served, place[served]].sum() + trucks.sum() + split + waves)

    def within_limits(self, place: Ints) -> bool:
        """Return whether stock and parcel capacity suffice."""
        return bool(
            (self.taken(place) <= self.stock).all()
            and (self.parcels(place) <= self.parcel_capacity).all()
        )

    def plan(self, place: Ints) -> AllocationPlan:
        """Return the assignment by id."""
        names = [warehouse.id for warehouse in self.problem.warehouses]
        members = [member.id for group in self.problem.groups for member in group.members]
        return AllocationPlan(
            assignment={
                member: names[at]
                for member, at in zip(members, place.tolist(), strict=True)
                if at != UNSERVED
            }
        )


def lanes_of(problem: AllocationProblem) -> Lanes:
    """Return the arrays of a problem."""
    warehouse = {row.id: at for at, row in enumerate(problem.warehouses)}
    zone = {name: at for at, name in enumerate(problem.zones)}
    products = {name: at for at, name in enumerate(dict.fromkeys(_products(problem)))}
    shape = (len(warehouse), len(zone))
    per_parcel, per_volume = np.full(shape, np.inf), np.zeros(shape)
    for rate in problem.carrier:
        per_parcel[warehouse[rate.warehouse], zone[rate.zone]] = rate.per_parcel
        per_volume[warehouse[rate.warehouse], zone[rate.zone]] = rate.per_volume
    truck_capacity, truck_cost = np.ones(shape), np.zeros(shape)
    for truck in problem.trucks:
        truck_capacity[warehouse[truck.warehouse], zone[truck.zone]] = truck.capacity
        truck_cost[warehouse[truck.warehouse], zone[truck.zone]] = truck.cost
    stock = np.zeros((len(warehouse), max(len(products), 1)), dtype=np.int64)
    for row in problem.stock:
        if row.product in products:
            stock[warehouse[row.warehouse], products[row.product]] = row.units
    sizes = _ints([len(group.members) for group in problem.groups])
    members = [member for group in problem.groups for member in group.members]
    volume = _ints([member.volume for member in members])
    zones = _ints([zone[member.zone] for member in members])
    group_of = np.repeat(np.arange(len(problem.groups)), sizes)
    cost = per_parcel[:, zones].T + per_volume[:, zones].T * volume[:, None]
    cost[~_allowed(problem, warehouse)[group_of]] = np.inf
    capacities = [row.parcel_capacity for row in problem.warehouses]
    return Lanes(
        problem=problem,
        cost=cost,
        units=_ints([member.units for member in members]),
        volume=volume,
        zone=zones,
        group=group_of,
        start=np.cumsum(sizes) - sizes,
        size=sizes,
        product=_ints([products[group.product] for group in problem.groups]),
        penalty=np.array([float(group.split_penalty) for group in problem.groups]),
        whole_only=np.array([group.whole for group in problem.groups], dtype=np.bool_),
        stock=stock,
        parcel_capacity=np.array([np.inf if c is None else float(c) for c in capacities]),
        wave=np.array([float(row.wave_cost) for row in problem.warehouses]),
        truck_capacity=truck_capacity,
        truck_cost=truck_cost,
    )


def _products(problem: AllocationProblem) -> list[str]:
    return [group.product for group in problem.groups]


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _by_group(values: Ints, start: Ints) -> Ints:
    return np.add.reduceat(values, start) if len(start) else np.zeros(0, dtype=np.int64)


def _allowed(problem: AllocationProblem, warehouse: dict[str, int]) -> npt.NDArray[np.bool_]:
    allowed = np.ones((len(problem.groups), len(warehouse)), dtype=np.bool_)
    for at, group in enumerate(problem.groups):
        if group.warehouses is not None:
            allowed[at] = False
            allowed[at, [warehouse[name] for name in group.warehouses]] = True
    return allowed
