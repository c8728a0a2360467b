"""What movements and counts do to a level, in every order that messages can arrive in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from typing import Final

import pytest

from inventory.projection import (
    BelowZero,
    Count,
    Difference,
    Level,
    Movement,
    Place,
    difference,
    is_news,
    is_possible,
    project,
)
from inventory.states import Bucket, MovementType

TEA = Place("tea", "east")
OPENED: Final = datetime(2011, 12, 5, 8, tzinfo=UTC)
STALE_AS_OF: Final = OPENED + timedelta(hours=1)
AS_OF: Final = OPENED + timedelta(hours=2)
MOMENTS: Final = (
    OPENED + timedelta(minutes=30),
    OPENED + timedelta(minutes=90),
    OPENED + timedelta(minutes=150),
)


def _movement(
    units: int,
    *,
    key: str,
    at: datetime = OPENED,
    bucket: Bucket = Bucket.AVAILABLE,
    kind: MovementType = MovementType.ADJUST,
) -> Movement:
    return Movement(
        sku=TEA.sku,
        warehouse=TEA.warehouse,
        bucket=bucket,
        qty_delta=units,
        kind=kind,
        reference="",
        key=key,
        actor="test",
        reason="",
        occurred_at=at,
    )


class Shelf:
    """A ledger of one place in memory, moved only by the rules under test."""

    def __init__(self) -> None:
        self.level = Level()
        self.rows: list[Movement] = []

    def book(self, *movements: Movement) -> None:
        known = {row.key for row in self.rows}
        after = project({TEA: self.level}, [row for row in movements if row.key not in known])
        self.rows += [booked.movement for booked in after.booked]
        self.level = after.levels[TEA]

    def count(self, counted: Count, *, as_of: datetime) -> None:
        if not is_news(as_of, self.level):
            return
        since = [row for row in self.rows if row.occurred_at > as_of]
        moved = Count(
            on_hand=sum(row.qty_delta for row in since),
            held=sum(row.qty_delta for row in since if row.bucket is Bucket.HELD),
        )
        differs = difference(counted, self.level, moved_since=moved)
        assert is_possible(self.level, differs)
        for bucket, units in (
            (Bucket.AVAILABLE, differs.available),
            (Bucket.HELD, differs.held),
        ):
            if units:
                key = f"count:{len(self.rows)}"
                kind = MovementType.RECONCILE
                self.book(_movement(units, key=key, at=as_of, bucket=bucket, kind=kind))
        self.level = replace(self.level, counted_at=as_of)


Event = Callable[[Shelf], None]


def _events(delta_at: datetime, receipt_at: datetime, ship_at: datetime) -> Sequence[Event]:
    delta = _movement(2, key="delta", at=delta_at, bucket=Bucket.HELD)
    receipt = _movement(10, key="receipt", at=receipt_at, kind=MovementType.RECEIPT)
    ship = _movement(-3, key="ship", at=ship_at, kind=MovementType.SHIP)
    return (
        lambda shelf: shelf.book(delta),
        lambda shelf: shelf.count(Count(on_hand=31, held=4), as_of=AS_OF),
        lambda shelf: shelf.count(Count(on_hand=23, held=1), as_of=STALE_AS_OF),
        lambda shelf: shelf.book(receipt),
        lambda shelf: shelf.book(ship),
        lambda shelf: shelf.book(delta),
    )


@pytest.mark.parametrize(("delta_at", "receipt_at", "ship_at"), list(product(MOMENTS, repeat=3)))
def test_every_order_of_arrival_ends_in_the_same_level(
    delta_at: datetime, receipt_at: datetime, ship_at: datetime
) -> None:
    later = {"delta": 2, "receipt": 10, "ship": -3}
    when = {"delta": delta_at, "receipt": receipt_at, "ship": ship_at}
    on_hand = 31 + sum(units for name, units in later.items() if when[name] > AS_OF)
    held = 4 + (2 if delta_at > AS_OF else 0)

    ends = set()
    for order in permutations(_events(delta_at, receipt_at, ship_at)):
        shelf = Shelf()
        shelf.book(_movement(20, key="opening"))
        for event in order:
            event(shelf)
        ends.add((shelf.level.on_hand, shelf.level.held))
        assert shelf.level.last_seq == len(shelf.rows)
        assert shelf.level.on_hand == sum(row.qty_delta for row in shelf.rows)

    assert ends == {(on_hand, held)}


def test_the_difference_is_told_by_bucket() -> None:
    level = Level(on_hand=10, held=2)
    nothing = Count(on_hand=0, held=0)

    spoiled = difference(Count(on_hand=10, held=5), level, moved_since=nothing)

    assert spoiled == Difference(available=-3, held=3)
    assert spoiled.on_hand == 0


def test_a_count_of_less_than_has_left_since_is_impossible() -> None:
    level = Level(on_hand=2, held=0)
    left_since = Count(on_hand=-3, held=0)

    differs = difference(Count(on_hand=2, held=0), level, moved_since=left_since)

    assert differs == Difference(available=-3, held=0)
    assert not is_possible(level, differs)


def test_a_batch_may_pass_through_less_than_zero_but_not_end_there() -> None:
    out, back = _movement(-4, key="out"), _movement(4, key="back")

    assert project({TEA: Level()}, [out, back]).levels[TEA] == Level(last_seq=2)
    with pytest.raises(BelowZero, match="tea in east"):
        project({TEA: Level()}, [back, out, replace(out, key="again")])


def test_held_units_cannot_fall_below_zero_either() -> None:
    with pytest.raises(BelowZero):
        project({TEA: Level(on_hand=5)}, [_movement(-1, key="a", bucket=Bucket.HELD)])
