"""Which completed groups can be served from where: the fair, feasible plan that needs no solver.

Groups choose in the order in which they were complete, so nobody is overtaken. The result says
who is served at all; the optimizer may then serve the same groups more cheaply.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from logistics.network import Network, Quote
from logistics.shelves import Draw, Shelves


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """An order that needs goods.

    Args:
        address_key: the same for orders of one buyer to one address, which may share a parcel.
    """

    order_id: UUID
    units: int
    province: str
    city: str
    address_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWant:
    """The uncovered orders of a completed group.

    Args:
        only: the warehouses it may leave from, such as the one where the rest of it waits; None
            is all of them.
    """

    group_id: UUID
    sku: str
    unit_grams: int
    whole: bool
    completed_at: datetime
    ship_by: datetime
    wants: tuple[Want, ...]
    only: frozenset[str] | None = None

    @property
    def units(self) -> int:
        return sum(want.units for want in self.wants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where one order is served."""

    group: GroupWant
    want: Want
    warehouse: str
    draw: Draw
    quote: Quote
    late: bool  # it leaves after the promise

    @property
    def from_stock(self) -> bool:
        return self.draw.source.line_id is None


class Reason(StrEnum):
    """Why a group is not served now."""

    NO_LANE = "no_lane"  # no single warehouse that is open delivers to all of its members
    SHORT = "short"  # goods are missing, wherever it would leave from
    CAPACITY = "capacity"  # the goods are there, the parcels are too many


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A group that waits; `missing_units` at the warehouse that lacks fewest."""

    group: GroupWant
    reason: Reason
    warehouse: str | None = None
    missing_units: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A feasible plan."""

    placed: Mapping[UUID, Sequence[Placed]]  # by group
    unserved: Sequence[Unserved]

    @property
    def cost_fen(self) -> int:
        """What the parcels cost, without the price of opening waves."""
        return sum(each.quote.price_fen for group in self.placed.values() for each in group)


Rank = Callable[[Network, GroupWant, str, Sequence[tuple[Want, Quote]]], float]


def by_price(
    _network: Network, _group: GroupWant, _warehouse: str, quotes: Sequence[tuple[Want, Quote]]
) -> float:
    """Rank a warehouse by what the parcels cost."""
    return float(sum(quote.price_fen for _, quote in quotes))


def by_distance(
    network: Network, _group: GroupWant, warehouse: str, quotes: Sequence[tuple[Want, Quote]]
) -> float:
    """Rank a warehouse by the way to the members: what a shop does without a plan."""
    return sum(network.km(warehouse, want.province) for want, _ in quotes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    key: tuple[int, float, float, str]
    warehouse: str
    placed: tuple[Placed, ...]
    parcels: int


def fair_order(groups: Iterable[GroupWant]) -> list[GroupWant]:
    """Return groups in the order in which they were complete."""
    return sorted(groups, key=lambda group: (group.completed_at, group.group_id))


def place_fairly(
    groups: Iterable[GroupWant],
    *,
    network: Network,
    shelves: Shelves,
    capacity: MutableMapping[str, int],
    rank: Rank = by_price,
) -> Placement:
    """Serve groups one after another from what is left; each wholly or not at all.

    Stock on the shelf goes before inbound, inbound in time before late inbound, then the rank
    decides. A whole group is served from one warehouse. A group that cannot be served leaves its
    goods to the next: it would only hold up others, and its need is bought for all the same.

    Args:
        shelves: what is given away is taken from them.
        capacity: parcels each warehouse can still take; lowered by what is placed.
    """
    placed: dict[UUID, Sequence[Placed]] = {}
    unserved: list[Unserved] = []
    for group in fair_order(groups):
        found = _serve(group, network=network, shelves=shelves, capacity=capacity, rank=rank)
        if isinstance(found, Unserved):
            unserved.append(found)
        else:
            placed[group.group_id] = found
    return Placement(placed=placed, unserved=unserved)


def _serve(
    group: GroupWant,
    *,
    network: Network,
    shelves: Shelves,
    capacity: MutableMapping[str, int],
    rank: Rank,
) -> Unserved | list[Placed]:
    # A whole group chooses once, the orders of the others choose one by one, the largest first.
    bundles: list[tuple[Want, ...]]
    if group.whole:
        bundles = [group.wants]
    else:
        bundles = [(w,) for w in sorted(group.wants, key=lambda w: (-w.units, w.order_id))]
    taken: list[_Option] = []
    for wants in bundles:
        options = _options(group, wants, network=network, shelves=shelves, rank=rank)
        roomy = [o for o in options if capacity.get(o.warehouse, 0) >= o.parcels]
        if not roomy:
            for option in taken:
                shelves.put_back(each.draw for each in option.placed)
                capacity[option.warehouse] += option.parcels
            if options:
                return Unserved(group=group, reason=Reason.CAPACITY)
            return _why_short(group, wants, network=network, shelves=shelves)
        best = min(roomy, key=lambda option: option.key)
        shelves.take(each.draw for each in best.placed)
        capacity[best.warehouse] -= best.parcels
        taken.append(best)
    return [each for option in taken for each in option.placed]


def open_ways(
    group: GroupWant, wants: Sequence[Want], *, network: Network
) -> list[tuple[str, list[tuple[Want, Quote]]]]:
    """Return the open warehouses that deliver to all of these orders, with their quotes."""
    ways = []
    for warehouse, place in network.places.items():
        if place.on_hold or (group.only is not None and warehouse not in group.only):
            continue
        quotes = []
        for want in wants:
            quote = network.quote(
                warehouse,
                province=want.province,
                city=want.city,
                units=want.units,
                unit_grams=group.unit_grams,
            )
            if quote is None:
                break
            quotes.append((want, quote))
        else:
            ways.append((warehouse, quotes))
    return ways


def _options(
    group: GroupWant,
    wants: Sequence[Want],
    *,
    network: Network,
    shelves: Shelves,
    rank: Rank,
) -> list[_Option]:
    options = []
    wanted = [want.units for want in wants]
    for warehouse, quotes in open_ways(group, wants, network=network):
        draws = shelves.fit(warehouse, group.sku, wanted=wanted, stock_only=True) or shelves.fit(
            warehouse, group.sku, wanted=wanted
        )
        if draws is None:
            continue
        cut_off = network.places[warehouse].cut_off
        moments = [d.source.available_at for d in draws if d.source.available_at is not None]
        late = bool(moments) and cut_off.next(max(moments)) > group.ship_by
        options.append(
            _Option(
                key=(
                    2 if late else 1 if moments else 0,
                    max(moments).timestamp() if late else 0.0,
                    rank(network, group, warehouse, quotes),
                    warehouse,
                ),
                warehouse=warehouse,
                placed=tuple(
                    Placed(
                        group=group,
                        want=want,
                        warehouse=warehouse,
                        draw=draw,
                        quote=quote,
                        late=late,
                    )
                    for (want, quote), draw in zip(quotes, draws, strict=True)
                ),
                parcels=sum(quote.parcels for _, quote in quotes),
            )
        )
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The place where least is missing, and how much."""

    warehouse: str
    units: int


def least_missing(
    group: GroupWant, wants: Sequence[Want], *, network: Network, shelves: Shelves
) -> Missing | None:
    """Return where orders that leave together lack fewest units; None when nobody delivers.

    Equal shortages go to the cheapest way. Units that suffice in sum and still leave an order
    out, because it is served from one source, count as the smallest order missing.
    """
    wanted = sum(want.units for want in wants)
    ranked = [
        (
            max(wanted - shelves.left(warehouse, group.sku), min(w.units for w in wants)),
            sum(quote.price_fen for _, quote in quotes),
            warehouse,
        )
        for warehouse, quotes in open_ways(group, wants, network=network)
        if shelves.fit(warehouse, group.sku, wanted=[want.units for want in wants]) is None
    ]
    if not ranked:
        return None
    units, _, warehouse = min(ranked)
    return Missing(warehouse=warehouse, units=units)


def _why_short(
    group: GroupWant, wants: Sequence[Want], *, network: Network, shelves: Shelves
) -> Unserved:
    missing = least_missing(group, wants, network=network, shelves=shelves)
    if missing is None:
        return Unserved(group=group, reason=Reason.NO_LANE)
    return Unserved(
        group=group,
        reason=Reason.SHORT,
        warehouse=missing.warehouse,
        missing_units=missing.units,
    )
