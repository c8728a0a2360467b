"""The oracle: the best plan of every product alone, at given values of its suppliers' spend.

It is a dynamic program over units. On one tier the cost is a line, so the best quantity for every
total at once is a sliding minimum, which doubling finds in a logarithmic number of array
operations.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from optimizer.needs import ProductNeed
from optimizer.schema import E4
from optimizer.tiers import Tier

Floats = npt.NDArray[np.float64]

MOST_UNITS: Final = 1_000_000
"""Longer tables than this would not fit beside each other in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """How much a cent spent at a supplier weighs, and what using it for a product costs extra.

    A supplier without weight weighs 1; `entry` is in cents by (product, supplier); suppliers in
    `closed` may not be used.
    """

    weight: Mapping[str, float] = field(default_factory=dict)
    entry: Mapping[tuple[str, str], float] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The best units per offer; `value` in cents, inf when no plan exists."""

    value: float
    units: tuple[int, ...]


class Oracle:
    """Prices one product; built once, asked many times.

    The value is exact when `exact`. Otherwise freight differs between sites in a way that depends
    on the supplier; then the value is a lower bound and the units are a good guess.
    """

    def __init__(self, need: ProductNeed) -> None:
        self.need = need
        by_site, self._surcharge, self.exact = _freight(need)
        self._placing = _placing_cost(need, by_site)

    def choose(self, prices: Prices) -> Choice:
        """Return the best plan at these prices."""
        size = len(self._placing)
        offers = self.need.offers
        start = np.full(size, math.inf)
        start[0] = 0.0
        tables = [start]
        for priced, surcharge in zip(offers, self._surcharge, strict=True):
            supplier = priced.offer.supplier
            table = tables[-1]
            if supplier not in prices.closed:
                weight = prices.weight.get(supplier, 1.0)
                entry = prices.entry.get((self.need.product.id, supplier), 0.0)
                table = table.copy()
                for tier in priced.tiers:
                    slope = tier.price * weight + surcharge
                    fixed = tier.intercept * weight + entry
                    _relax(table, tables[-1], tier, pack=priced.offer.pack, line=(slope, fixed))
            tables.append(table)
        totals = tables[-1] + self._placing
        best = int(np.argmin(totals))
        value = float(totals[best])
        if math.isinf(value):
            return Choice(value=value, units=(0,) * len(offers))
        return Choice(value=value, units=self._trace(tables, best, prices))

    def _trace(self, tables: Sequence[Floats], total: int, prices: Prices) -> tuple[int, ...]:
        units: list[int] = []
        for at in range(len(self.need.offers) - 1, -1, -1):
            priced, before = self.need.offers[at], tables[at]
            best_units, best_value = 0, float(before[total])
            supplier = priced.offer.supplier
            if supplier not in prices.closed:
                weight = prices.weight.get(supplier, 1.0)
                entry = prices.entry.get((self.need.product.id, supplier), 0.0)
                for tier in priced.tiers:
                    most = min(tier.hi, total)
                    quantities = np.arange(tier.lo, most + 1, priced.offer.pack)
                    if not len(quantities):
                        continue
                    slope = tier.price * weight + self._surcharge[at]
                    values = before[total - quantities] + slope * quantities
                    values += tier.intercept * weight + entry
                    index = int(np.argmin(values))
                    if values[index] < best_value:
                        best_units, best_value = int(quantities[index]), float(values[index])
            units.append(best_units)
            total -= best_units
        return tuple(reversed(units))


def fits(need: ProductNeed) -> bool:
    """Return whether the product's quantities are small enough for a table over units."""
    return need.most <= MOST_UNITS


def _relax(
    table: Floats, before: Floats, tier: Tier, *, pack: int, line: tuple[float, float]
) -> None:
    """Lower `table[t]` to the least of before[t - q] + slope q + fixed over the tier's q."""
    slope, fixed = line
    size = len(table)
    if tier.lo >= size:
        return
    if not np.isfinite(before[1:]).any():
        # Nothing is bought yet: there is one way to reach every total.
        quantities = np.arange(tier.lo, min(tier.hi, size - 1) + 1, pack)
        values = before[0] + slope * quantities + fixed
        table[quantities] = np.minimum(table[quantities], values)
        return
    room = size - tier.lo
    window = before[:room] - slope * np.arange(room)
    count = (min(tier.hi, size - 1) - tier.lo) // pack + 1
    least = _sliding_minimum(window, stride=pack, count=count)
    totals = np.arange(tier.lo, size)
    np.minimum(table[tier.lo :], least + slope * totals + fixed, out=table[tier.lo :])


def _sliding_minimum(values: Floats, *, stride: int, count: int) -> Floats:
    """Return at each i the least of values[i], values[i - stride], ... over `count` terms."""
    least = values.copy()
    covered = 1
    while covered < count:
        step = min(covered, count - covered) * stride
        if step >= len(least):
            break
        shifted = np.minimum(least[step:], least[:-step])
        least = np.concatenate((least[:step], shifted))
        covered += step // stride
    return least


def _freight(need: ProductNeed) -> tuple[list[float], list[float], bool]:
    """Split freight into a part by site and a part by offer that together never exceed it."""
    by_site: list[float] = []
    for at in range(len(need.sites)):
        lanes = [row.freight[at] for row in need.offers]
        by_site.append(float(min((lane for lane in lanes if lane is not None), default=0)))
    surcharge: list[float] = []
    exact = True
    for row in need.offers:
        over = [
            lane - base for lane, base in zip(row.freight, by_site, strict=True) if lane is not None
        ]
        surcharge.append(min(over, default=0.0))
        exact = exact and len(over) == len(by_site) and max(over, default=0.0) == surcharge[-1]
    return by_site, surcharge, exact


def _placing_cost(need: ProductNeed, by_site: Sequence[float]) -> Floats:
    """Return the cost in cents of placing each total; inf below the must."""
    must_cost = sum(site.must * base for site, base in zip(need.sites, by_site, strict=True))
    options = sorted(
        (slot.cost_e4 / E4 + base, slot.units)
        for site, base in zip(need.sites, by_site, strict=True)
        for slot in site.slots
    )
    steps = [np.full(units, cost) for cost, units in options]
    extra: Any = np.concatenate([np.zeros(1), *steps]) if steps else np.zeros(1)
    cost = np.full(need.most + 1, math.inf)
    cost[need.must :] = must_cost + np.cumsum(extra)
    return cost
