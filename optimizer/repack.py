"""Moves single groups between warehouses while the true cost falls: started trucks and all."""

import math
from collections.abc import Iterable

import numpy as np

from optimizer.lanes import UNSERVED, Ints, Lanes
from optimizer.solving import Deadline

_GAIN = 1e-6


class Packing:
    """An assignment with its loads, so that the cost of one more move is known at once."""

    def __init__(self, lanes: Lanes, place: Ints) -> None:
        self.lanes, self.place = lanes, place.copy()
        self.load = lanes.load(place)
        self.free = lanes.stock - lanes.taken(place)
        self.parcels = lanes.parcels(place)
        self.whole = lanes.whole(lanes.cost)

    def improve(self, *, deadline: Deadline, passes: int = 6) -> Ints:
        """Return the assignment after moves that each lower the cost and keep every limit."""
        for _ in range(passes):
            moved = 0
            for group in self._worth_a_look():
                if deadline.passed:
                    return self.place
                moved += self._move_best(group)
            moved += self._empty_trucks(deadline)
            if not moved:
                break
        return self.place

    def _worth_a_look(self) -> Iterable[int]:
        """Return the groups in whole, those in half-empty trucks or far from home first."""
        lanes = self.lanes
        at = self.place[lanes.start]
        gain = np.zeros(lanes.groups)
        here = self.whole[np.arange(lanes.groups), at]
        known = (at != UNSERVED) & np.isfinite(here)
        gain[known] = here[known] - self.whole[known].min(axis=1)
        order: list[int] = np.argsort(-gain, kind="stable").tolist()
        return order

    def _move_best(self, group: int) -> int:
        here = self._whole_at(group)
        if here is None:
            return 0
        best, to = -_GAIN, here
        for there in range(self.lanes.warehouses):
            if there != here and self._fits(group, there):
                change = self._change(group, here, there)
                if change < best:
                    best, to = change, there
        if to == here:
            return 0
        self._move(group, here, to)
        return 1

    def _empty_trucks(self, deadline: Deadline) -> int:
        """Try to save each lane's last truck by moving several groups off it together."""
        lanes, saved = self.lanes, 0
        for at, zone in zip(*np.nonzero(lanes.truck_cost), strict=True):
            if deadline.passed:
                break
            saved += self._empty_one(int(at), int(zone))
        return saved

    def _empty_one(self, at: int, zone: int) -> int:
        lanes = self.lanes
        surplus = int(self.load[at, zone] % lanes.truck_capacity[at, zone])
        if not self.load[at, zone] or not surplus:
            return 0
        done: list[tuple[int, int]] = []
        total = 0.0
        for _, group, there, volume in sorted(self._ways_out(at, zone)):
            if surplus <= 0:
                break
            if self._whole_at(group) != at or not self._fits(group, there):
                continue
            total += self._change(group, at, there)
            self._move(group, at, there)
            done.append((group, there))
            surplus -= volume
        if surplus <= 0 and total < -_GAIN:
            return len(done)
        for group, there in reversed(done):
            self._move(group, there, at)
        return 0

    def _ways_out(self, at: int, zone: int) -> list[tuple[float, int, int, int]]:
        """Return (cost per volume, group, warehouse, volume) of moves off a lane."""
        lanes = self.lanes
        members = np.flatnonzero((self.place == at) & (lanes.zone == zone))
        ways: list[tuple[float, int, int, int]] = []
        for group in dict.fromkeys(lanes.group[members].tolist()):
            volume = self._volume(group, zone)
            if self._whole_at(group) != at or not volume:
                continue
            ways += [
                (self._change(group, at, there) / volume, group, there, volume)
                for there in range(lanes.warehouses)
                if there != at and self._fits(group, there)
            ]
        return ways

    def _whole_at(self, group: int) -> int | None:
        members = self.lanes.members_of(group)
        places = set(self.place[members.start : members.stop].tolist())
        at: int = places.pop()
        return None if places or at == UNSERVED else at

    def _volume(self, group: int, zone: int) -> int:
        lanes = self.lanes
        return sum(
            int(lanes.volume[member])
            for member in lanes.members_of(group)
            if lanes.zone[member] == zone
        )

    def _fits(self, group: int, there: int) -> bool:
        lanes = self.lanes
        return bool(
            math.isfinite(self.whole[group, there])
            and lanes.group_units[group] <= self.free[there, lanes.product[group]]
            and self.parcels[there] + lanes.size[group] <= lanes.parcel_capacity[there]
        )

    def _change(self, group: int, here: int, there: int) -> float:
        lanes = self.lanes
        change = float(self.whole[group, there] - self.whole[group, here])
        if self.parcels[there] == 0:
            change += float(lanes.wave[there])
        if self.parcels[here] == lanes.size[group]:
            change -= float(lanes.wave[here])
        volumes: dict[int, int] = {}
        for member in lanes.members_of(group):
            zone = int(lanes.zone[member])
            volumes[zone] = volumes.get(zone, 0) + int(lanes.volume[member])
        for zone, volume in volumes.items():
            change += self._trucks(there, zone, volume) + self._trucks(here, zone, -volume)
        return change

    def _trucks(self, at: int, zone: int, volume: int) -> float:
        price = float(self.lanes.truck_cost[at, zone])
        if not price:
            return 0.0
        capacity = float(self.lanes.truck_capacity[at, zone])
        load = int(self.load[at, zone])
        return price * (math.ceil((load + volume) / capacity) - math.ceil(load / capacity))

    def _move(self, group: int, here: int, there: int) -> None:
        lanes = self.lanes
        members = lanes.members_of(group)
        self.place[members.start : members.stop] = there
        for member in members:
            zone, volume = lanes.zone[member], lanes.volume[member]
            self.load[here, zone] -= volume
            self.load[there, zone] += volume
        units, product = lanes.group_units[group], lanes.product[group]
        self.free[here, product] += units
        self.free[there, product] -= units
        self.parcels[here] -= lanes.size[group]
        self.parcels[there] += lanes.size[group]
