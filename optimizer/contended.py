"""Exact small models for the products whose stock is contended."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from optimizer.allocation import Part, Placing, place_exactly
from optimizer.lanes import UNSERVED, Floats, Ints, Lanes
from optimizer.solving import Deadline

_PRODUCT_GAP: Final = 1e-3
_PARCEL_GAP: Final = 1e-3


def splittable(lanes: Lanes, groups: Sequence[int]) -> frozenset[int]:
    """Return the groups that may leave from several warehouses."""
    return frozenset(g for g in groups if not lanes.whole_only[g] and lanes.size[g] > 1)


def polish(lanes: Lanes, cost: Floats, place: Ints, *, bounds: Floats, deadline: Deadline) -> None:
    """Replace the placing of products by exact ones, the largest gap to the bound first."""
    members = np.arange(len(place))
    spent = np.bincount(lanes.product[lanes.group], cost[members, place], minlength=len(bounds))
    gaps = spent - bounds
    for product in np.argsort(-gaps).tolist():
        if deadline.passed or gaps[product] <= _PRODUCT_GAP * abs(bounds[product]):
            return
        found = place_product(
            lanes, product, cost, place=place, deadline=deadline.part(0.3), start=place
        )
        if found.place is not None:
            mine = lanes.product[lanes.group] == product
            place[mine] = found.place[mine]


def place_product(
    lanes: Lanes,
    product: int,
    cost: Floats,
    *,
    place: Ints,
    deadline: Deadline,
    start: Ints | None = None,
    may_leave: bool = False,
) -> Placing:
    """Place one product's groups; member columns for all only when nothing else works.

    What `place` says of the other products takes its parcels first.
    """
    groups = np.flatnonzero(lanes.product == product).tolist()
    others = np.where(lanes.product[lanes.group] == product, UNSERVED, place)
    room = lanes.parcel_capacity - lanes.parcels(others)
    whole, split = lanes.whole(cost).min(axis=1), lanes.split_bound(cost)
    eager = frozenset(group for group in groups if split[group] < whole[group])
    if start is not None:
        eager |= {g for g in groups if len(set(place[list(lanes.members_of(g))].tolist())) > 1}
    everyone = splittable(lanes, groups)
    for columns_for in (everyone,) if may_leave else dict.fromkeys((eager, everyone)):
        part = Part(
            groups=groups,
            cost=cost,
            split=columns_for,
            shared=frozenset({"parcels"}),
            room=room,
            may_leave=may_leave,
        )
        found = place_exactly(
            lanes, part, deadline=deadline, relative_gap=_PRODUCT_GAP, start=start
        )
        if found.place is not None:
            break
    return found


def within_parcels(lanes: Lanes, cost: Floats, *, deadline: Deadline) -> Placing:
    """Place everybody under the parcel capacities; member columns only when nothing else works."""
    everyone = range(lanes.groups)
    for split in dict.fromkeys((frozenset[int](), splittable(lanes, everyone))):
        part = Part(groups=everyone, cost=cost, split=split, shared=frozenset({"parcels"}))
        found = place_exactly(lanes, part, deadline=deadline, relative_gap=_PARCEL_GAP)
        if found.place is not None:
            break
    return found
