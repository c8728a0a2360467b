"""Places bought units: the cheapest way from suppliers to sites and their optional units."""

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.schema import E4


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`shipments[supplier][site]` and `covered[site][slot]` in units; freight and slots in e4."""

    shipments: tuple[tuple[int, ...], ...]
    covered: tuple[tuple[int, ...], ...]
    cost_e4: int


@dataclass(slots=True)
class _Arc:
    """One direction of a lane in the residual network."""

    head: int
    room: int
    cost: int
    back: int


def ship(
    *,
    supplies: Sequence[int],
    freight: Sequence[Sequence[int | None]],
    musts: Sequence[int],
    slots: Sequence[Sequence[tuple[int, int]]],
) -> Placement | None:
    """Return the cheapest placement of all supplies, or None when there is none.

    Every must is filled, every supplied unit is placed, slots take at most their units.
    `freight` is cents per unit by supplier and site, None where there is no lane; `slots` are
    per site pairs of cost per unit in e4 and units.

    >>> placed = ship(supplies=[5], freight=[[1, 2]], musts=[2, 1], slots=[[(50_000, 9)], []])
    >>> placed.shipments, placed.covered, placed.cost_e4
    (((4, 1),), ((2,), ()), 160000)
    """
    if not sum(musts) <= sum(supplies):
        return None
    sources = [index for index, units in enumerate(supplies) if units]
    if len(sources) <= 1:
        units = supplies[sources[0]] if sources else 0
        lanes = list(freight[sources[0]]) if sources else [0] * len(musts)
        filled = _from_one(units, lanes=lanes, musts=musts, slots=slots)
        if filled is None:
            return None
        arrived = [must + sum(row) for must, row in zip(musts, filled, strict=True)]
        none = tuple(0 for _ in musts)
        shipments = [tuple(arrived) if index in sources else none for index in range(len(supplies))]
    else:
        flow = _from_many(supplies, freight=freight, musts=musts, slots=slots)
        if flow is None:
            return None
        shipments, filled = flow
    cost = sum(
        (lane or 0) * E4 * units
        for row, lanes_of in zip(shipments, freight, strict=True)
        for units, lane in zip(row, lanes_of, strict=True)
    )
    cost += sum(
        units * slot[0]
        for row, site in zip(filled, slots, strict=True)
        for units, slot in zip(row, site, strict=True)
    )
    return Placement(
        shipments=tuple(shipments), covered=tuple(tuple(row) for row in filled), cost_e4=cost
    )


def _from_one(
    units: int,
    *,
    lanes: Sequence[int | None],
    musts: Sequence[int],
    slots: Sequence[Sequence[tuple[int, int]]],
) -> list[list[int]] | None:
    if any(must and lane is None for must, lane in zip(musts, lanes, strict=True)):
        return None
    filled = [[0] * len(row) for row in slots]
    left = units - sum(musts)
    options = sorted(
        (cost + lane * E4, site, at, room)
        for site, (row, lane) in enumerate(zip(slots, lanes, strict=True))
        if lane is not None
        for at, (cost, room) in enumerate(row)
    )
    for _, site, at, room in options:
        filled[site][at] = min(room, left)
        left -= filled[site][at]
    return None if left else filled


def _from_many(
    supplies: Sequence[int],
    *,
    freight: Sequence[Sequence[int | None]],
    musts: Sequence[int],
    slots: Sequence[Sequence[tuple[int, int]]],
) -> tuple[list[tuple[int, ...]], list[list[int]]] | None:
    """Send the units along successive cheapest paths of the residual network."""
    suppliers, sites = len(supplies), len(musts)
    source, sink = suppliers + sites, suppliers + sites + 1
    network: list[list[_Arc]] = [[] for _ in range(suppliers + sites + 2)]
    dearest = 1 + max((abs(cost) for row in slots for cost, _ in row), default=0)
    dearest += E4 * max((lane or 0 for row in freight for lane in row), default=0)
    # A must is worth more than any detour through the whole network could cost.
    reward = 4 * dearest * len(network)
    for index, units in enumerate(supplies):
        _connect(network, source, index, room=units, cost=0)
        for site, lane in enumerate(freight[index]):
            if lane is not None and units:
                _connect(network, index, suppliers + site, room=units, cost=lane * E4)
    for site, must in enumerate(musts):
        _connect(network, suppliers + site, sink, room=must, cost=-reward)
        for cost, room in slots[site]:
            _connect(network, suppliers + site, sink, room=room, cost=cost)
    wanted = sum(supplies)
    while wanted:
        path = _cheapest_path(network, source, sink)
        if path is None:
            return None
        step = min(wanted, *(arc.room for arc in path))
        for arc in path:
            arc.room -= step
            network[arc.head][arc.back].room += step
        wanted -= step
    return _read_flow(network, suppliers=suppliers, musts=musts, slots=slots)


def _read_flow(
    network: Sequence[Sequence[_Arc]],
    *,
    suppliers: int,
    musts: Sequence[int],
    slots: Sequence[Sequence[tuple[int, int]]],
) -> tuple[list[tuple[int, ...]], list[list[int]]] | None:
    sink = suppliers + len(musts) + 1
    shipped = [[0] * len(musts) for _ in range(suppliers)]
    filled: list[list[int]] = []
    for site, must in enumerate(musts):
        to_sink = []
        for arc in network[suppliers + site]:
            sent = network[arc.head][arc.back].room
            if arc.head == sink:
                to_sink.append(sent)
            elif arc.head < suppliers:
                # The backward half of a lane holds what was sent along it.
                shipped[arc.head][site] = arc.room
        if to_sink[0] < must:
            return None
        filled.append(to_sink[1 : 1 + len(slots[site])])
    return [tuple(row) for row in shipped], filled


def _connect(network: list[list[_Arc]], tail: int, head: int, *, room: int, cost: int) -> None:
    network[tail].append(_Arc(head, room, cost, len(network[head])))
    network[head].append(_Arc(tail, 0, -cost, len(network[tail]) - 1))


def _cheapest_path(network: Sequence[Sequence[_Arc]], source: int, sink: int) -> list[_Arc] | None:
    distance: list[int | None] = [None] * len(network)
    distance[source] = 0
    reached: list[tuple[int, _Arc] | None] = [None] * len(network)
    waiting = [source]
    while waiting:
        tail = waiting.pop(0)
        here = distance[tail]
        for arc in network[tail]:
            if here is None or not arc.room:
                continue
            there = distance[arc.head]
            if there is None or here + arc.cost < there:
                distance[arc.head] = here + arc.cost
                reached[arc.head] = (tail, arc)
                if arc.head not in waiting:
                    waiting.append(arc.head)
    if distance[sink] is None:
        return None
    path: list[_Arc] = []
    node = sink
    while node != source:
        step = reached[node]
        if step is None:
            return None
        node, arc = step
        path.append(arc)
    return path
