"""What must be bought where: uncovered orders, less what lies there or is already on its way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class UncoveredNeed:
    """A confirmed order that holds neither stock nor inbound goods."""

    order_id: UUID
    group_id: UUID
    sku: str
    units: int
    ways: Mapping[str, int]  # price of its parcels by warehouse that may serve it
    ship_by: datetime
    whole: bool  # the group leaves from one warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Orders that must be served from one warehouse: a whole group, or one order."""

    sku: str
    orders: tuple[UncoveredNeed, ...]

    @property
    def units(self) -> int:
        return sum(order.units for order in self.orders)

    @property
    def ship_by(self) -> datetime:
        return min(order.ship_by for order in self.orders)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A bundle and how many units of it must be bought for which warehouse."""

    bundle: Bundle
    warehouse: str
    units: int


@dataclass(slots=True, kw_only=True)
class Netted:
    """The result of netting; `leftover` is what remains of stock and inbound, by SKU."""

    missing: list[Missing] = field(default_factory=list)
    covered_orders: int = 0
    unreachable: list[Bundle] = field(default_factory=list)
    leftover: dict[str, int] = field(default_factory=dict)


def bundles(needs: Sequence[UncoveredNeed]) -> list[Bundle]:
    """Return what must be served together, in the order given: earliest completed group first."""
    together: dict[tuple[str, UUID], list[UncoveredNeed]] = {}
    for need in needs:
        key = need.group_id if need.whole else need.order_id
        together.setdefault((need.sku, key), []).append(need)
    return [Bundle(sku=sku, orders=tuple(orders)) for (sku, _), orders in together.items()]


def net(
    needs: Sequence[UncoveredNeed],
    *,
    available: Mapping[tuple[str, str], int],
    delivered_to: Mapping[str, frozenset[str]],
) -> Netted:
    """Return what must be bought, after what is there was given to the earliest groups.

    A bundle takes stock where a single warehouse has all of it, the cheapest such warehouse
    first; only when none has, the rest is bought for the cheapest one that a supplier delivers
    to. So stock that lies elsewhere is not bought twice, and stock in fragments that no bundle
    can use does not hold up a purchase.

    Args:
        needs: in the order in which they are served.
        available: free stock plus inbound nobody is promised, by (SKU, warehouse).
        delivered_to: warehouses that suppliers of a SKU deliver to.
    """
    left = defaultdict(int, available)
    result = Netted()
    for bundle in bundles(needs):
        candidates = _candidates(bundle)
        place = next((name for name in candidates if left[bundle.sku, name] >= bundle.units), None)
        if place is not None:
            left[bundle.sku, place] -= bundle.units
            result.covered_orders += len(bundle.orders)
            continue
        reached = delivered_to.get(bundle.sku, frozenset())
        place = next((name for name in candidates if name in reached), None)
        if place is None:
            result.unreachable.append(bundle)
            continue
        taken = min(max(left[bundle.sku, place], 0), bundle.units)
        left[bundle.sku, place] -= taken
        missing = Missing(bundle=bundle, warehouse=place, units=bundle.units - taken)
        result.missing.append(missing)
    for (sku, _), units in left.items():
        result.leftover[sku] = result.leftover.get(sku, 0) + units
    return result


def _candidates(bundle: Bundle) -> list[str]:
    """Return the warehouses that can serve all of the bundle, cheapest first."""
    serving = set(bundle.orders[0].ways).intersection(*(order.ways for order in bundle.orders))
    cost = {name: sum(order.ways[name] for order in bundle.orders) for name in serving}
    return sorted(cost, key=lambda name: (cost[name], name))
