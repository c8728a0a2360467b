"""Which pegs are granted, turned and given up: rules of values, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from inventory.projection import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class PegWant:
    """Inbound units of one line for one order, whose claim they will replace."""

    order_id: UUID
    line_id: UUID
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A locked line on its way."""

    line_id: UUID
    place: Place
    units: int
    pegged_units: int
    open: bool

    @property
    def free(self) -> int:
        """Units that belong to nobody yet."""
        return self.units - self.pegged_units if self.open else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pegged:
    """A live peg."""

    order_id: UUID
    line_id: UUID
    place: Place
    units: int


def grant(wants: Sequence[PegWant], promises: Mapping[UUID, Promise]) -> list[PegWant]:
    """Return the wants whose units are free on their line, in order, at most one of an order."""
    left = {line_id: promise.free for line_id, promise in promises.items()}
    granted: dict[UUID, PegWant] = {}
    for want in wants:
        if want.order_id not in granted and want.units <= left.get(want.line_id, 0):
            left[want.line_id] -= want.units
            granted[want.order_id] = want
    return list(granted.values())


def reached(pegs: Sequence[Pegged], *, units: int) -> list[Pegged]:
    """Return the oldest pegs that `units` cover, in order and without passing one over.

    A later small order must not take what the next delivery would complete for an earlier one.
    """
    found: list[Pegged] = []
    for peg in sorted(pegs, key=lambda peg: peg.order_id):
        units -= peg.units
        if units < 0:
            break
        found.append(peg)
    return found


def beyond(pegs: Sequence[Pegged], *, units_left: int) -> list[Pegged]:
    """Return the latest pegs that must go for the others to fit into `units_left`."""
    pegged = sum(peg.units for peg in pegs)
    gone: list[Pegged] = []
    for peg in sorted(pegs, key=lambda peg: peg.order_id, reverse=True):
        if pegged <= units_left:
            break
        pegged -= peg.units
        gone.append(peg)
    return gone
