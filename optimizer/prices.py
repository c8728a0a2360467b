"""Prices for scarce stock and parcels, found by raising what is oversubscribed.

Any prices give a bound; good ones also tell groups apart by what their place is worth to others.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.lanes import UNSERVED, Floats, Ints, Lanes
from optimizer.solving import Deadline

_ROUNDS: Final = 80
_FIRST_STEP: Final = 1.0
_LAST_STEP: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Member costs with scarcity included, and the bound in cents by product."""

    cost: Floats
    bounds: Floats

    @property
    def bound(self) -> float:
        return float(self.bounds.sum())


def scarcity_prices(lanes: Lanes, cost: Floats, *, deadline: Deadline) -> Prices:
    """Return the prices of the best bound found, by projected subgradient steps.

    Without parcel capacities products share nothing, so each keeps its own best prices.
    """
    shape = lanes.stock.shape
    stock_price, parcel_price = np.zeros(shape), np.zeros(lanes.warehouses)
    capped = np.isfinite(lanes.parcel_capacity)
    capacity = np.where(capped, lanes.parcel_capacity, 0.0)
    wanted = np.maximum(np.bincount(lanes.product, lanes.group_units, minlength=shape[1]), 1.0)
    scale = _worth_of_a_unit(lanes, cost)
    worth_of_parcel = float(scale.mean())
    best_bounds = np.full(shape[1], -np.inf)
    best_stock, best_parcel = stock_price.copy(), parcel_price.copy()
    for step in np.geomspace(_FIRST_STEP, _LAST_STEP, _ROUNDS):
        priced = _priced(lanes, cost, stock_price, parcel_price)
        value, place = _choose(lanes, priced)
        paid = (stock_price * lanes.stock).sum(axis=0)
        bounds = np.bincount(lanes.product, value, minlength=shape[1]) - paid
        if capped.any():
            # The share of the parcels' price belongs to no product; the first one carries it.
            bounds[0] -= float((parcel_price * capacity).sum())
            better = np.full(shape[1], bounds.sum() > best_bounds.sum())
        else:
            better = bounds > best_bounds
        best_bounds = np.where(better, bounds, best_bounds)
        best_stock[:, better] = stock_price[:, better]
        best_parcel = parcel_price.copy() if better.all() else best_parcel
        over = lanes.taken(place) - lanes.stock
        stock_price = np.maximum(stock_price + step * scale * over / wanted, 0.0)
        if capped.any():
            crowd = np.where(capped, lanes.parcels(place) - capacity, 0.0)
            push = step * worth_of_parcel * crowd / max(float(len(lanes.units)), 1.0)
            parcel_price = np.maximum(parcel_price + push, 0.0)
        satisfied = (over <= 0).all() and not stock_price.any() and not parcel_price.any()
        if satisfied or deadline.passed:
            break
    priced = _priced(lanes, cost, best_stock, best_parcel)
    value = np.minimum(lanes.whole(priced).min(axis=1), lanes.split_bound(priced))
    paid = (best_stock * lanes.stock).sum(axis=0)
    bounds = np.bincount(lanes.product, value, minlength=shape[1]) - paid
    bounds[0] -= float((best_parcel * capacity).sum())
    return Prices(cost=priced, bounds=bounds)


def _worth_of_a_unit(lanes: Lanes, cost: Floats) -> Floats:
    """Return by product how much the places of its groups differ in cents per unit."""
    whole = lanes.whole(cost)
    finite = np.isfinite(whole)
    least = np.where(finite, whole, np.inf).min(axis=1)
    most = np.where(finite, whole, -np.inf).max(axis=1)
    spread = np.where(np.isfinite(least), most - least, 0.0)
    units = np.maximum(np.bincount(lanes.product, lanes.group_units), 1.0)
    return np.asarray(np.bincount(lanes.product, spread) / units + 1.0, dtype=np.float64)


def _priced(lanes: Lanes, cost: Floats, stock_price: Floats, parcel_price: Floats) -> Floats:
    of_member = lanes.product[lanes.group]
    scarce = stock_price[:, of_member].T * lanes.units[:, None]
    return np.asarray(cost + scarce + parcel_price, dtype=np.float64)


def _choose(lanes: Lanes, priced: Floats) -> tuple[Floats, Ints]:
    """Return every group's least cost at these prices, and where its members would go."""
    # The steps need a direction, not the sharpest bound.
    whole, split = lanes.whole(priced), lanes.apart(priced) + lanes.penalty
    at = np.argmin(whole, axis=1)
    value = whole[np.arange(lanes.groups), at]
    apart = split < value
    place = np.where(apart[lanes.group], np.argmin(priced, axis=1), at[lanes.group])
    reachable = np.isfinite(priced[np.arange(len(place)), place])
    return np.minimum(value, split), np.where(reachable, place, UNSERVED)
