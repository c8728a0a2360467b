"""Counts and changes that warehouses report, applied in whatever order they arrive."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from itertools import permutations, product
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets, discrepancies, ledger, levels, reservations
from inventory.ledger import MovementType, Place
from inventory.projection import Level
from inventory.reservations import Want
from kit import inbox
from kit.db import transaction
from kit.ids import new_id
from kit.inbox import Letter
from operations import apply_stock_feed
from operations.errors import CannotApply
from tests.store.inventory_world import (
    OPENED_AT,
    add_products,
    add_stock,
    broken,
    movement,
    standing,
)

pytestmark = pytest.mark.usefixtures("store")

STALE_AS_OF = OPENED_AT + timedelta(hours=1)
AS_OF = OPENED_AT + timedelta(hours=2)
LATER = OPENED_AT + timedelta(hours=3)


def _letter(kind: str, body: Mapping[str, Any]) -> Letter:
    return Letter(
        id=new_id(),
        source="warehouses:east",
        external_id=f"evt-{new_id().hex}",
        kind=kind,
        body=body,
        occurred_at=AS_OF,
        attempts=1,
    )


def _snapshot(
    counts: Mapping[str, tuple[int, int]], *, as_of: datetime = AS_OF, complete: bool = False
) -> Letter:
    lines = [
        {"sku": sku, "on_hand": on_hand, "held": held} for sku, (on_hand, held) in counts.items()
    ]
    body = {"as_of": as_of.isoformat(), "complete": complete, "lines": lines}
    return _letter("inventory.snapshot", body)


def _delta(
    sku: str, units: int, *, id_: str, at: datetime = LATER, bucket: str = "available"
) -> dict[str, Any]:
    return {
        "id": id_,
        "sku": sku,
        "units": units,
        "bucket": bucket,
        "reason": "found",
        "occurred_at": at.isoformat(),
    }


async def _apply(letter: Letter) -> None:
    async with transaction(long=True) as session:
        await apply_stock_feed.apply(session, letter)


async def _level(sku: str = "tea") -> Level:
    async with transaction() as session:
        place = Place(sku, "east")
        return (await levels.read(session, [place]))[place]


async def _nothing_is_broken() -> None:
    async with transaction() as session:
        assert await broken(session) == []


async def _facts() -> list[dict[str, Any]]:
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text("SELECT body FROM outbox_message WHERE topic = 'stock.changed' ORDER BY id")
        )
        return [row.body for row in rows]


@pytest.fixture(autouse=True)
async def _products(store: str) -> None:
    del store
    async with transaction() as session:
        await add_products(session, "tea", "mug", "pot")


class Arrivals:
    """720 SKUs, each hearing six messages in an order of its own, in 27 timings in turn."""

    MESSAGES = ("delta", "snapshot", "stale", "receipt", "ship", "duplicate")
    MOMENTS = tuple(OPENED_AT + timedelta(minutes=minutes) for minutes in (30, 90, 150))

    def __init__(self) -> None:
        timings = list(product(self.MOMENTS, repeat=3))
        orders = permutations(self.MESSAGES)
        self.orders = {f"s{number:03d}": order for number, order in enumerate(orders)}
        self.timing = {sku: timings[int(sku[1:]) % len(timings)] for sku in self.orders}
        self.buyers = {sku: new_id() for sku in self.orders}

    async def open(self) -> None:
        """Put 20 units of each on the shelves and reserve three of them."""
        wants = [
            Want(order_id=buyer, sku=sku, warehouse="east", units=3)
            for sku, buyer in self.buyers.items()
        ]
        async with transaction(long=True) as session:
            await add_products(session, *self.orders)
            opening = [movement(sku, 20, key=f"opening:{sku}") for sku in self.orders]
            assert await ledger.book(session, opening) == 720
            shifts = [
                budgets.Shift(sku=sku, budget_units=17, claimed_units=3) for sku in self.orders
            ]
            await budgets.move(session, shifts)
            assert len(await reservations.reserve(session, wants)) == 720

    async def hear(self, step: int) -> None:
        """Let every SKU hear the message that is its `step`-th."""
        by_message: dict[str, list[str]] = defaultdict(list)
        for sku, order in self.orders.items():
            by_message[order[step]].append(sku)
        for message, skus in by_message.items():
            if message in {"delta", "duplicate"}:
                await self._change(skus)
            elif message == "snapshot":
                await _apply(_snapshot(dict.fromkeys(skus, (31, 4))))
            elif message == "stale":
                await _apply(_snapshot(dict.fromkeys(skus, (23, 1)), as_of=STALE_AS_OF))
            elif message == "receipt":
                await self._receive(skus)
            else:
                await self._ship(skus)

    async def _change(self, skus: Collection[str]) -> None:
        deltas = [
            _delta(sku, 2, id_=f"d:{sku}", at=self.timing[sku][0], bucket="held") for sku in skus
        ]
        await _apply(_letter("inventory.delta", {"deltas": deltas}))

    async def _receive(self, skus: Collection[str]) -> None:
        receipts = [
            movement(sku, 10, key=f"receipt:{sku}", occurred_at=self.timing[sku][1]) for sku in skus
        ]
        async with transaction(long=True) as session:
            assert await ledger.book(session, receipts) == len(skus)

    async def _ship(self, skus: Collection[str]) -> None:
        for moment in self.MOMENTS:
            leaving = [self.buyers[sku] for sku in skus if self.timing[sku][2] == moment]
            async with transaction(long=True) as session:
                await reservations.ship(
                    session, leaving, reference="wave", actor="test", occurred_at=moment
                )

    def expected(self, sku: str) -> tuple[int, int, int]:
        """Return on_hand, held and reserved: the count and what happened after it."""
        delta_at, receipt_at, ship_at = self.timing[sku]
        held = 2 if delta_at > AS_OF else 0
        return 31 + held + 10 * (receipt_at > AS_OF) - 3 * (ship_at > AS_OF), 4 + held, 0


async def test_every_order_of_arrival_ends_in_the_same_projection() -> None:
    arrivals = Arrivals()
    await arrivals.open()

    for step in range(6):
        await arrivals.hear(step)

    async with transaction() as session:
        found = await levels.read(session, [Place(sku, "east") for sku in arrivals.orders])
        assert {
            place.sku: (level.on_hand, level.held, level.reserved) for place, level in found.items()
        } == {sku: arrivals.expected(sku) for sku in arrivals.orders}
        assert await broken(session) == []
        assert await ledger.rebuild(session) == 0


async def test_a_delta_is_booked_once_whatever_letter_it_comes_in() -> None:
    deltas = [_delta("tea", 5, id_="1"), _delta("mug", 3, id_="2"), _delta("tea", -1, id_="3")]

    await _apply(_letter("inventory.delta", {"deltas": deltas}))
    await _apply(_letter("inventory.delta", {"deltas": deltas[:1]}))

    assert (await _level("tea")).on_hand == 4
    assert (await _level("mug")).on_hand == 3
    assert await _facts() == [{"warehouse": "east", "skus": ["mug", "tea"], "sku_count": 2}]
    await _nothing_is_broken()


async def test_the_same_snapshot_again_changes_nothing() -> None:
    counted = {"tea": (9, 2), "mug": (4, 0)}
    await _apply(_snapshot(counted))
    before = await _level()

    await _apply(_snapshot(counted))

    assert await _level() == before == Level(on_hand=9, held=2, last_seq=2, counted_at=AS_OF)
    assert len(await _facts()) == 1


async def test_later_local_movements_survive_a_count() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        shipped = movement("tea", -4, key="s", kind=MovementType.SHIP, occurred_at=LATER)
        await ledger.book(session, [shipped])

    await _apply(_snapshot({"tea": (9, 0)}))

    assert (await _level()).on_hand == 5
    await _nothing_is_broken()


async def test_skus_absent_from_a_count_are_unchanged_unless_it_is_complete() -> None:
    await _apply(_snapshot({"tea": (9, 0), "mug": (4, 0)}, as_of=STALE_AS_OF))

    await _apply(_snapshot({"tea": (8, 0)}))
    assert (await _level("mug")).on_hand == 4

    await _apply(_snapshot({"tea": (8, 0)}, as_of=LATER, complete=True))
    assert (await _level("mug")).on_hand == 0
    assert (await _level("tea")).on_hand == 8
    await _nothing_is_broken()


@pytest.mark.parametrize("closing_first", [False, True])
async def test_parts_of_one_count_add_up_in_either_order(*, closing_first: bool) -> None:
    await _apply(_snapshot({"tea": (1, 0), "mug": (1, 0), "pot": (1, 0)}, as_of=STALE_AS_OF))
    parts = [_snapshot({"tea": (9, 0)}), _snapshot({"mug": (4, 0)}, complete=True)]

    for part in reversed(parts) if closing_first else parts:
        await _apply(part)

    assert [(await _level(sku)).on_hand for sku in ("tea", "mug", "pot")] == [9, 4, 0]
    await _nothing_is_broken()


async def test_goods_received_before_a_complete_count_that_lacks_them_are_not_added() -> None:
    await _apply(_snapshot({"tea": (8, 0)}, complete=True))

    async with transaction() as session:
        await ledger.book(session, [movement("mug", 5, key="r", occurred_at=STALE_AS_OF)])
    await _apply(_snapshot({"mug": (7, 0)}, as_of=STALE_AS_OF))
    assert (await _level("mug")).on_hand == 0

    async with transaction() as session:
        await ledger.book(session, [movement("mug", 5, key="r2", occurred_at=LATER)])
    assert (await _level("mug")).on_hand == 5
    await _nothing_is_broken()


async def test_a_product_nobody_knows_does_not_stop_a_count() -> None:
    await _apply(_snapshot({"tea": (9, 0), "phantom": (1, 0)}))

    assert (await _level()).on_hand == 9
    async with transaction() as session:
        connection = await session.connection()
        heard = await connection.exec_driver_sql("SELECT last_error FROM feed_source")
        assert heard.scalar_one() == "unknown SKU phantom"
    with pytest.raises(CannotApply, match="phantom"):
        await _apply(_snapshot({"phantom": (1, 0)}, as_of=LATER))


async def test_changes_of_a_product_nobody_knows_wait_for_a_person() -> None:
    deltas = [_delta("tea", 5, id_="1"), _delta("phantom", 1, id_="2")]

    with pytest.raises(CannotApply, match="phantom"):
        await _apply(_letter("inventory.delta", {"deltas": deltas}))

    async with transaction() as session:
        assert await levels.read(session, [Place("tea", "east")]) == {}


async def test_a_change_ahead_of_its_cause_is_parked_and_applied_when_replayed() -> None:
    taken = _letter("inventory.delta", {"deltas": [_delta("tea", -5, id_="out")]})
    async with transaction() as session:
        await inbox.take_in(
            session,
            source=taken.source,
            external_id=taken.external_id,
            kind=taken.kind,
            body=taken.body,
            occurred_at=AS_OF,
        )
        (letter,) = await inbox.claim(session)
    with pytest.raises(CannotApply, match=apply_stock_feed.AHEAD) as refused:
        await _apply(letter)
    async with transaction() as session:
        await inbox.park(session, letter.id, reason=refused.value.reason)
        await ledger.book(session, [movement("tea", 8, key="r", occurred_at=LATER)])

    assert await apply_stock_feed.replay_early() == 1
    assert await apply_stock_feed.replay_early() == 0

    async with transaction() as session:
        (again,) = await inbox.claim(session)
    await _apply(again)
    assert (await _level()).on_hand == 3


async def _covered_order(session: AsyncSession, *, units: int) -> None:
    order_id = new_id()
    await budgets.move(session, [budgets.Shift(sku="tea", claimed_units=units)])
    want = Want(order_id=order_id, sku="tea", warehouse="east", units=units)
    assert await reservations.reserve(session, [want]) == {order_id}


async def test_a_count_below_what_is_promised_is_booked_and_stops_new_seats() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        await _covered_order(session, units=6)
        await budgets.recompute(session, ["tea"])
        assert (await standing(session)).budget == 4

    await _apply(_snapshot({"tea": (4, 0)}))

    async with transaction() as session:
        (short,) = await discrepancies.open_of(session, ["tea"])
        assert (short.kind, short.units) == ("shortage", 2)
        assert "tea" in await budgets.dirty_skus(session)
        await budgets.recompute(session, ["tea"])
        assert (await standing(session)).budget == -2
        assert not await budgets.take(session, budgets.GiveBack(sku="tea", claim_units=1, seats=1))
        connection = await session.connection()
        low = await connection.exec_driver_sql(
            "SELECT body FROM outbox_message WHERE topic = 'seat_cap.low'"
        )
        assert [row.body["budget_units"] for row in low] == [-2]

    await _apply(_snapshot({"tea": (6, 0)}, as_of=LATER))
    async with transaction() as session:
        assert await discrepancies.open_of(session, ["tea"]) == []
        assert await broken(session) == []


async def test_a_count_that_contradicts_what_left_since_waits_with_the_lower_number() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        await add_stock(session, "mug", 10)
        left = movement("tea", -8, key="s", kind=MovementType.SHIP, occurred_at=LATER)
        await ledger.book(session, [left])

    await _apply(_snapshot({"tea": (7, 0), "mug": (9, 0)}))

    assert (await _level("mug")).on_hand == 9
    assert (await _level("tea")).on_hand == 2
    async with transaction() as session:
        (review,) = await discrepancies.open_of(session, ["tea"])
        assert (review.kind, review.units, review.detail["counted_on_hand"]) == ("review", -3, 7)
        await budgets.recompute(session, ["tea"])
        assert (await standing(session)).budget == -1

    await _apply(_snapshot({"tea": (2, 0)}, as_of=LATER))
    async with transaction() as session:
        assert await discrepancies.open_of(session, ["tea"]) == []
        await budgets.recompute(session, ["tea"])
        assert (await standing(session)).budget == 2


async def test_one_source_says_how_far_it_was_heard() -> None:
    await _apply(_snapshot({"tea": (9, 0)}))
    await _apply(_snapshot({"tea": (8, 0)}, as_of=STALE_AS_OF))
    await _apply(_letter("inventory.delta", {"deltas": [_delta("tea", 1, id_="1")]}))

    async with transaction() as session:
        connection = await session.connection()
        (source,) = (await connection.exec_driver_sql("SELECT * FROM feed_source")).all()
    assert (source.last_snapshot_as_of, source.last_event_at) == (AS_OF, LATER)
    assert source.last_heard_at is not None
