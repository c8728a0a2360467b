"""Solves a fulfilment problem: product by product at lane prices, then as one model if it fits."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from optimizer.allocation import Part, Placing, place_exactly
from optimizer.contended import place_product, polish, splittable, within_parcels
from optimizer.filling import fill
from optimizer.lanes import UNSERVED, Floats, Ints, Lanes, lanes_of
from optimizer.prices import scarcity_prices
from optimizer.repack import Packing
from optimizer.schema import AllocationProblem
from optimizer.solving import Deadline, Outcome

MOST_EXACT_COLUMNS: Final = 5_000
"""Columns up to which one model of the whole problem is solved to proven optimality."""

EVERYTHING: Final = frozenset({"parcels", "waves", "trucks"})

_MOST_SUBSETS: Final = 6
# HiGHS proves a bound to its own tolerances; costs are whole cents.
_SOLVER_ACCURACY: Final = 1e-7
_LESS_THAN_A_CENT: Final = 0.01
# A nearly empty truck must not look so dear that nobody ever fills it.
_DEAREST_RIDE: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilment:
    """What the search found: places by member or None, and a bound in cents for every plan."""

    place: Ints | None
    bound: float
    optimal: bool
    infeasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """An assignment at fixed lane prices; `bound` holds for these prices, parcels left out."""

    place: Ints | None
    bound: float
    infeasible: bool


def search(problem: AllocationProblem, *, deadline: Deadline, relative_gap: float) -> Fulfilment:
    """Return the best assignment of all groups found before the deadline."""
    lanes = lanes_of(problem)
    if not lanes.groups:
        return Fulfilment(place=np.zeros(0, np.int64), bound=0.0, optimal=True, infeasible=False)
    everywhere = np.zeros(lanes.warehouses, dtype=np.bool_)
    draft = _draft(lanes, lanes.truck_price, closed=everywhere, deadline=deadline.part(0.5))
    if draft.infeasible:
        return Fulfilment(place=None, bound=math.inf, optimal=False, infeasible=True)
    bound = _with_waves(lanes, draft.bound)
    best = _improved(lanes, draft.place, deadline=deadline.part(0.3))
    if not _close(lanes, best, bound, relative_gap):
        best = _reprice(lanes, best, deadline=deadline.part(0.4))
    if columns(lanes) <= MOST_EXACT_COLUMNS:
        return _exact(lanes, best, bound=bound, deadline=deadline)
    if best is not None:
        best = _close_warehouses(lanes, best, deadline=deadline.part(0.5))
        best = _polished(lanes, best, deadline=deadline)
    optimal = best is not None and bound >= lanes.total(best)
    return Fulfilment(place=best, bound=bound, optimal=optimal, infeasible=False)


def columns(lanes: Lanes) -> int:
    """Return how many columns a model with every split would have."""
    splittable = ~lanes.whole_only & (lanes.size > 1)
    members = int(lanes.size[splittable].sum())
    return lanes.warehouses * (lanes.groups + int(splittable.sum()) + members)


def serve_most(lanes: Lanes, *, deadline: Deadline) -> Ints:
    """Return places for as many groups as can be found room for; a group is never half served."""
    if not lanes.groups:
        return np.zeros(0, dtype=np.int64)
    cost = lanes.priced(lanes.truck_price)
    prices = scarcity_prices(lanes, cost, deadline=deadline)
    place = fill(lanes, prices.cost)
    for product in np.unique(lanes.product[lanes.group[place == UNSERVED]]).tolist():
        found = place_product(
            lanes, product, cost, place=place, deadline=deadline.part(0.3), may_leave=True
        )
        mine = lanes.product[lanes.group] == product
        if found.place is not None and _served(found.place[mine]) > _served(place[mine]):
            place[mine] = found.place[mine]
    return place


def _served(place: Ints) -> int:
    return int((place != UNSERVED).sum())


def _exact(lanes: Lanes, best: Ints | None, *, bound: float, deadline: Deadline) -> Fulfilment:
    everyone = range(lanes.groups)
    part = Part(
        groups=everyone,
        cost=lanes.cost,
        split=splittable(lanes, everyone),
        shared=EVERYTHING,
    )
    found = place_exactly(lanes, part, deadline=deadline, start=best)
    if found.outcome is Outcome.INFEASIBLE:
        return Fulfilment(place=None, bound=math.inf, optimal=False, infeasible=True)
    better = _cheaper(lanes, found.place, best)
    # The model's optimum counts as proof only where our own arithmetic finds the same cost.
    optimal = (
        found.outcome is Outcome.OPTIMAL
        and better is not None
        and math.isclose(
            lanes.total(better),
            found.objective,
            rel_tol=_SOLVER_ACCURACY,
            abs_tol=_LESS_THAN_A_CENT,
        )
    )
    careful = found.bound - abs(found.bound) * _SOLVER_ACCURACY
    return Fulfilment(place=better, bound=max(bound, careful), optimal=optimal, infeasible=False)


def _cheaper(lanes: Lanes, one: Ints | None, other: Ints | None) -> Ints | None:
    """Return the cheaper of two assignments that serve everybody within all limits."""
    allowed = [
        place
        for place in (one, other)
        if place is not None and (place != UNSERVED).all() and lanes.within_limits(place)
    ]
    return min(allowed, key=lanes.total, default=None)


def _close(lanes: Lanes, place: Ints | None, bound: float, relative_gap: float) -> bool:
    return place is not None and lanes.total(place) * (1 - relative_gap) <= bound


def _draft(
    lanes: Lanes, price: Floats, *, closed: npt.NDArray[np.bool_], deadline: Deadline
) -> _Draft:
    """Place everybody with trucks paid by volume and some warehouses closed.

    Scarcity prices first, groups one by one at these prices next; then one exact small model for
    every product that left somebody out, and with the time that is left for those farthest from
    their bound.
    """
    cost = lanes.priced(price)
    cost[:, closed] = np.inf
    if not np.isfinite(np.minimum(lanes.whole(cost).min(axis=1), lanes.split_bound(cost))).all():
        return _Draft(place=None, bound=math.inf, infeasible=True)
    prices = scarcity_prices(lanes, cost, deadline=deadline)
    place = fill(lanes, prices.cost)
    left_out = np.unique(lanes.product[lanes.group[place == UNSERVED]])
    for product in left_out.tolist():
        found = place_product(lanes, product, cost, place=place, deadline=deadline)
        if found.place is None:
            return _crowded(lanes, cost, found, bound=prices.bound, deadline=deadline)
        mine = lanes.product[lanes.group] == product
        place[mine] = found.place[mine]
    polish(lanes, cost, place, bounds=prices.bounds, deadline=deadline.part(0.6))
    return _Draft(place=place, bound=prices.bound, infeasible=False)


def _crowded(
    lanes: Lanes, cost: Floats, found: Placing, *, bound: float, deadline: Deadline
) -> _Draft:
    """Settle what a product alone could not: others may have taken the parcels it needs."""
    if np.isinf(lanes.parcel_capacity).all():
        impossible = found.outcome is Outcome.INFEASIBLE
        return _Draft(place=None, bound=bound, infeasible=impossible)
    within = within_parcels(lanes, cost, deadline=deadline)
    impossible = within.outcome is Outcome.INFEASIBLE
    return _Draft(place=within.place, bound=bound, infeasible=impossible)


def _polished(lanes: Lanes, best: Ints, *, deadline: Deadline) -> Ints:
    """Use the time that is left on exact models of single products."""
    cost = lanes.priced(_paid_by_volume(lanes, best))
    cost[:, lanes.parcels(best) == 0] = np.inf
    tried = best.copy()
    bounds = scarcity_prices(lanes, cost, deadline=deadline).bounds
    polish(lanes, cost, tried, bounds=bounds, deadline=deadline.part(0.8))
    improved = _improved(lanes, tried, deadline=deadline)
    return best if (better := _cheaper(lanes, improved, best)) is None else better


def _paid_by_volume(lanes: Lanes, place: Ints) -> Floats:
    """Return what a plan's trucks cost per volume, by (warehouse, zone)."""
    load = np.maximum(lanes.load(place), 1)
    paid = np.ceil(load / lanes.truck_capacity) * lanes.truck_cost
    return np.asarray(np.minimum(paid / load, _DEAREST_RIDE * lanes.truck_price))


def _improved(lanes: Lanes, place: Ints | None, *, deadline: Deadline) -> Ints | None:
    if place is None:
        return None
    if not lanes.truck_cost.any() and not lanes.wave.any():
        return place
    return Packing(lanes, place).improve(deadline=deadline)


def _reprice(lanes: Lanes, best: Ints | None, *, deadline: Deadline) -> Ints | None:
    """Try lane prices that follow the trucks of the best plan, and none at all."""
    if not lanes.truck_cost.any():
        return best
    prices = [np.zeros_like(lanes.truck_price)]
    if best is not None:
        prices.insert(0, _paid_by_volume(lanes, best))
    nothing_closed = np.zeros(lanes.warehouses, dtype=np.bool_)
    for price in prices:
        if deadline.passed:
            break
        draft = _draft(lanes, price, closed=nothing_closed, deadline=deadline.part(0.5))
        tried = _improved(lanes, draft.place, deadline=deadline.part(0.5))
        best = _cheaper(lanes, tried, best)
    return best


def _close_warehouses(lanes: Lanes, best: Ints, *, deadline: Deadline) -> Ints:
    """Try to do without a warehouse whose wave costs more than its detours would."""
    for _ in range(lanes.warehouses):
        used = lanes.parcels(best) > 0
        whole = lanes.whole(lanes.cost)
        at = best[lanes.start]
        options: list[tuple[float, int]] = []
        for candidate in np.flatnonzero(used & (lanes.wave > 0)).tolist():
            others = whole.copy()
            others[:, ~used] = np.inf
            others[:, candidate] = np.inf
            here = at == candidate
            detour = float((others[here].min(axis=1) - whole[here, candidate]).sum())
            if detour < lanes.wave[candidate]:
                options.append((detour - float(lanes.wave[candidate]), candidate))
        closed = ~used
        for _, candidate in sorted(options):
            if deadline.passed:
                return best
            closed[candidate] = True
            draft = _draft(lanes, lanes.truck_price, closed=closed, deadline=deadline.part(0.5))
            closed[candidate] = not used[candidate]
            tried = _improved(lanes, draft.place, deadline=deadline.part(0.5))
            better = _cheaper(lanes, tried, best)
            if better is not None and better is not best:
                best = better
                break
        else:
            return best
    return best


def _with_waves(lanes: Lanes, bound: float) -> float:
    """Return the bound with what the used warehouses' waves cost at least."""
    least = bound + float(lanes.wave.min(initial=math.inf))
    if lanes.warehouses > _MOST_SUBSETS or not lanes.wave.any():
        return least
    cost = lanes.priced(lanes.truck_price)
    by_subset = math.inf
    for subset in range(1, 2**lanes.warehouses):
        inside = np.array([bool(subset >> at & 1) for at in range(lanes.warehouses)])
        narrowed = np.where(inside, cost, np.inf)
        apart = lanes.apart(narrowed) + lanes.penalty
        least_of = np.minimum(lanes.whole(narrowed).min(axis=1), apart)
        by_subset = min(by_subset, float(least_of.sum()) + float(lanes.wave[inside].sum()))
    return max(least, by_subset)
