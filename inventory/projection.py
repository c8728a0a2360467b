"""What movements do to levels and what a count says about them: arithmetic, no I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, NamedTuple

from inventory.states import Bucket, MovementType
from kit.errors import Conflict


class Place(NamedTuple):
    """One SKU in one warehouse; sorts in lock order."""

    sku: str
    warehouse: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One change of one bucket, booked once under its key.

    `on_hand` moves with every movement, `held` with those of the held bucket; putting goods aside
    is therefore two movements: -n available and +n held.
    """

    sku: str
    warehouse: str
    bucket: Bucket
    qty_delta: int
    kind: MovementType
    reference: str
    key: str
    actor: str
    reason: str
    occurred_at: datetime

    @property
    def place(self) -> Place:
        return Place(self.sku, self.warehouse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A locked stock level.

    counted_at: as of when the warehouse's own count was last taken over; what occurred up to then
    is in the count.
    """

    on_hand: int = 0
    held: int = 0
    reserved: int = 0
    last_seq: int = 0
    counted_at: datetime | None = None

    @property
    def free(self) -> int:
        """Units that may be reserved; negative in a shortage."""
        return self.on_hand - self.held - self.reserved


class BelowZero(Conflict):
    """The movements would leave fewer than no units: an earlier fact has not been heard yet."""

    code: ClassVar[str] = "inventory.below_zero"

    def __init__(self, places: Sequence[Place]) -> None:
        named = ", ".join(f"{place.sku} in {place.warehouse}" for place in places[:5])
        super().__init__(f"below zero units: {named}")
        self.places = tuple(places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A movement with its number in the ledger of its place."""

    movement: Movement
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Numbered movements and the levels they lead to."""

    booked: Sequence[Booked]
    levels: Mapping[Place, Level]


def project(levels: Mapping[Place, Level], movements: Iterable[Movement]) -> Projection:
    """Return the movements numbered without holes, and the levels after them.

    A movement that occurred at or before the last count of its place is in that count already: it
    is booked, for the record, with an opposite `reconcile`, so that it is not counted twice.

    Raises:
        BelowZero: a level would end below zero units.
    """
    after = dict(levels)
    booked: list[Booked] = []
    for movement in movements:
        seen = after[movement.place].counted_at
        rows = [movement]
        if (
            movement.kind is not MovementType.RECONCILE
            and seen is not None
            and movement.occurred_at <= seen
        ):
            rows.append(_counted_already(movement))
        for row in rows:
            level = _moved(after[row.place], row)
            after[row.place] = level
            booked.append(Booked(movement=row, seq=level.last_seq))
    below = sorted(place for place, level in after.items() if min(level.on_hand, level.held) < 0)
    if below:
        raise BelowZero(below)
    return Projection(booked=booked, levels=after)


def _moved(level: Level, movement: Movement) -> Level:
    held = movement.qty_delta if movement.bucket is Bucket.HELD else 0
    return replace(
        level,
        on_hand=level.on_hand + movement.qty_delta,
        held=level.held + held,
        last_seq=level.last_seq + 1,
    )


def _counted_already(movement: Movement) -> Movement:
    return replace(
        movement,
        qty_delta=-movement.qty_delta,
        kind=MovementType.RECONCILE,
        key=f"{movement.key}:counted",
        reason="occurred before a count that was taken over already",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a warehouse counted of one SKU."""

    on_hand: int
    """Everything there."""
    held: int
    """The part of it that cannot be sold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What has to be booked so that the level at the time of the count equals the count."""

    available: int
    held: int

    @property
    def on_hand(self) -> int:
        return self.available + self.held


def difference(count: Count, level: Level, *, moved_since: Count) -> Difference:
    """Return reported - on_hand_at(as_of), by bucket, so that later local movements survive.

    Args:
        level: the level now.
        moved_since: sum of the movements that occurred after the count's as_of.

    >>> shipped_since = Count(on_hand=-2, held=0)
    >>> difference(Count(on_hand=9, held=1), Level(on_hand=8), moved_since=shipped_since)
    Difference(available=-2, held=1)
    """
    held = count.held - (level.held - moved_since.held)
    on_hand = count.on_hand - (level.on_hand - moved_since.on_hand)
    return Difference(available=on_hand - held, held=held)


def is_possible(level: Level, booked: Difference) -> bool:
    """Tell whether the level may move by `booked` without ending below zero."""
    return level.on_hand + booked.on_hand >= 0 and level.held + booked.held >= 0


def is_news(as_of: datetime, level: Level) -> bool:
    """Tell whether a count says more than the last one taken over; an older one is stale.

    A count with the same as_of is another part of the same one, or the same part again.
    """
    return level.counted_at is None or as_of >= level.counted_at
