"""Places groups one by one at given prices, those with most to lose first."""

from collections.abc import Sequence

import numpy as np

from optimizer.lanes import UNSERVED, Floats, Ints, Lanes


def fill(lanes: Lanes, priced: Floats, *, order: Sequence[int] | None = None) -> Ints:
    """Return a placing within stock and parcel capacity; some groups may stay unserved.

    A group takes its cheapest warehouse that still holds it; it is split where that is cheaper,
    or where nothing else is left and its policy allows it.
    """
    place = np.full(len(lanes.units), UNSERVED, dtype=np.int64)
    free = lanes.stock.copy()
    room = lanes.parcel_capacity.copy()
    whole, split = lanes.whole(priced), lanes.split_bound(priced)
    preferred = np.argsort(whole, axis=1, kind="stable")
    for group in _by_regret(lanes, whole) if order is None else order:
        fits = [
            at
            for at in preferred[group].tolist()
            if np.isfinite(whole[group, at])
            and lanes.group_units[group] <= free[at, lanes.product[group]]
            and lanes.size[group] <= room[at]
        ]
        apart = np.isfinite(split[group]) and (not fits or split[group] < whole[group, fits[0]])
        chosen = _split(lanes, group, priced, free=free, room=room) if apart else None
        if fits and (chosen is None or _cost(lanes, group, priced, chosen) > whole[group, fits[0]]):
            chosen = [fits[0]] * int(lanes.size[group])
        if chosen is None:
            continue
        for member, at in zip(lanes.members_of(group), chosen, strict=True):
            place[member] = at
            free[at, lanes.product[group]] -= lanes.units[member]
            room[at] -= 1
    return place


def _by_regret(lanes: Lanes, whole: Floats) -> list[int]:
    """Return the groups that lose most by their second choice first; of equals the larger."""
    ranked = np.sort(whole, axis=1)
    second = ranked[:, min(1, ranked.shape[1] - 1)]
    regret = np.where(np.isfinite(second), second, np.inf)
    regret -= np.where(np.isfinite(ranked[:, 0]), ranked[:, 0], 0.0)
    order: list[int] = np.lexsort((-lanes.group_units, -regret)).tolist()
    return order


def _cost(lanes: Lanes, group: int, priced: Floats, chosen: Sequence[int]) -> float:
    members = lanes.members_of(group)
    parcels = sum(float(priced[m, at]) for m, at in zip(members, chosen, strict=True))
    return parcels + float(lanes.penalty[group]) * (len(set(chosen)) - 1)


def _split(
    lanes: Lanes, group: int, priced: Floats, *, free: Ints, room: Floats
) -> list[int] | None:
    """Return a warehouse per member, largest member first; None when one finds no place."""
    product = int(lanes.product[group])
    left = free[:, product].copy()
    parcels = room.copy()
    chosen: dict[int, int] = {}
    members = sorted(lanes.members_of(group), key=lambda m: -int(lanes.units[m]))
    used: set[int] = set()
    for member in members:
        best, to = np.inf, UNSERVED
        for at in range(lanes.warehouses):
            extra = float(lanes.penalty[group]) if used and at not in used else 0.0
            cost = float(priced[member, at]) + extra
            if lanes.units[member] <= left[at] and parcels[at] >= 1 and cost < best:
                best, to = cost, at
        if to == UNSERVED:
            return None
        chosen[member] = to
        used.add(to)
        left[to] -= lanes.units[member]
        parcels[to] -= 1
    return [chosen[member] for member in lanes.members_of(group)]
