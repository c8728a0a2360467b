"""A feasible placement as a question to the optimizer, and its answer as a placement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from logistics.network import Network, Quote
from logistics.placing import GroupWant, Placed, Placement, Want, fair_order, open_ways
from logistics.shelves import Draw, Shelves, Source
from optimizer.schema import (
    AllocationProblem,
    AllocationWarehouse,
    CarrierRate,
    Group,
    Member,
    Stock,
)

# Packing, tracking and answering for another departure of one group.
SPLIT_PENALTY_FEN: Final = 500

_Zone = tuple[str, str, int, int]  # province, city, units, grams of a unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The groups that are served from shelves alone, and who they are in the problem."""

    problem: AllocationProblem
    groups: Mapping[str, GroupWant]


def question_of(
    placement: Placement, *, network: Network, shelves: Shelves, capacity: Mapping[str, int]
) -> Question | None:
    """Ask where the groups that are placed on stock alone are served most cheaply.

    The parcels of equal weight to one place have one price, so they are a zone of the problem;
    tariffs with a first weight and steps fit into it exactly. Groups that wait for inbound stay
    where they are. The placement itself is an answer, so a plan always exists.

    Args:
        shelves: what the placement left; the units it drew are added again.
        capacity: likewise, in parcels.
    """
    rows = {
        group_id: placed
        for group_id, placed in placement.placed.items()
        if all(each.from_stock for each in placed)
    }
    if not rows:
        return None
    stock = dict(shelves.stock_left())
    room = dict(capacity)
    for placed in rows.values():
        for each in placed:
            place = (each.warehouse, each.group.sku)
            stock[place] = stock.get(place, 0) + each.draw.units
            room[each.warehouse] += each.quote.parcels
    groups = fair_order(placed[0].group for placed in rows.values())
    zones = {_zone(group, want): None for group in groups for want in group.wants}
    names = {zone: f"z{number}" for number, zone in enumerate(zones)}
    open_places = [place for place in network.places.values() if not place.on_hold]
    wanted = {group.sku for group in groups}
    problem = AllocationProblem(
        name="fulfilment",
        warehouses=tuple(
            AllocationWarehouse(
                id=place.code,
                wave_cost=place.wave_cost_fen,
                parcel_capacity=max(room.get(place.code, 0), 0),
            )
            for place in open_places
        ),
        zones=tuple(names.values()),
        stock=tuple(
            Stock(warehouse=warehouse, product=sku, units=units)
            for (warehouse, sku), units in sorted(stock.items())
            if sku in wanted and not network.places[warehouse].on_hold
        ),
        carrier=tuple(
            CarrierRate(warehouse=place.code, zone=name, per_parcel=quote.price_fen)
            for place in open_places
            for zone, name in names.items()
            if (quote := _quote(network, place.code, zone)) is not None
        ),
        groups=tuple(
            Group(
                id=str(group.group_id),
                product=group.sku,
                split_penalty=0 if group.whole else SPLIT_PENALTY_FEN,
                whole=group.whole,
                warehouses=_candidates(group, network),
                members=tuple(
                    Member(id=str(want.order_id), zone=names[_zone(group, want)], units=want.units)
                    for want in group.wants
                ),
            )
            for group in groups
        ),
    )
    return Question(problem=problem, groups={str(group.group_id): group for group in groups})


def answered(
    question: Question,
    assignment: Mapping[str, str],
    *,
    placement: Placement,
    network: Network,
) -> Placement:
    """Return the placement with the groups of the question where the optimizer put them."""
    placed: dict[UUID, Sequence[Placed]] = dict(placement.placed)
    for group in question.groups.values():
        now = {each.want.order_id: each for each in placement.placed[group.group_id]}
        placed[group.group_id] = [
            _moved(now[want.order_id], assignment[str(want.order_id)], network=network)
            for want in group.wants
        ]
    return Placement(placed=placed, unserved=placement.unserved)


def plan_cost_fen(placement: Placement, *, network: Network) -> int:
    """Return the price of the parcels, of opening warehouses and of splitting groups."""
    used = {each.warehouse for placed in placement.placed.values() for each in placed}
    splits = sum(
        len({each.warehouse for each in placed}) - 1 for placed in placement.placed.values()
    )
    waves = sum(network.places[warehouse].wave_cost_fen for warehouse in used)
    return placement.cost_fen + waves + splits * SPLIT_PENALTY_FEN


def _moved(placed: Placed, warehouse: str, *, network: Network) -> Placed:
    if warehouse == placed.warehouse:
        return placed
    quote = _quote(network, warehouse, _zone(placed.group, placed.want))
    if quote is None:
        raise ValueError(f"{warehouse} does not deliver to {placed.want.province}")
    source = placed.draw.source
    return Placed(
        group=placed.group,
        want=placed.want,
        warehouse=warehouse,
        draw=Draw(
            source=Source(warehouse=warehouse, sku=source.sku, units=placed.draw.units),
            units=placed.draw.units,
        ),
        quote=quote,
        late=placed.late,
    )


def _candidates(group: GroupWant, network: Network) -> tuple[str, ...] | None:
    if group.whole:
        return tuple(warehouse for warehouse, _ in open_ways(group, group.wants, network=network))
    if group.only is None:
        return None
    return tuple(code for code in sorted(group.only) if not network.places[code].on_hold)


def _zone(group: GroupWant, want: Want) -> _Zone:
    return want.province, want.city, want.units, group.unit_grams


def _quote(network: Network, warehouse: str, zone: _Zone) -> Quote | None:
    province, city, units, unit_grams = zone
    return network.quote(
        warehouse, province=province, city=city, units=units, unit_grams=unit_grams
    )
