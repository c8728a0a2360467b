"""The ledger of goods on a real Postgres: once, without holes, and true to its movements."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text

from inventory import discrepancies, ledger, levels, reservations
from inventory.ledger import BelowZero, Bucket, Movement, MovementType, Place
from inventory.levels import UnknownProduct
from inventory.projection import Level
from inventory.reservations import Want
from kit.db import repeat_on_deadlock, transaction
from tests.store.inventory_world import (
    OPENED_AT,
    add_group,
    add_products,
    add_stock,
    broken,
    movement,
    orders_of,
    set_claims,
)

pytestmark = pytest.mark.usefixtures("store")

EAST = Place("tea", "east")


async def _book(movements: Sequence[Movement]) -> int:
    async with transaction() as session:
        return await ledger.book(session, movements)


async def _level(place: Place = EAST) -> Level:
    async with transaction() as session:
        return (await levels.read(session, [place]))[place]


@pytest.fixture(autouse=True)
async def _products(store: str) -> None:
    del store
    async with transaction() as session:
        await add_products(session, "tea", "mug")


async def test_a_batch_moves_the_levels_and_is_numbered_without_holes() -> None:
    booked = await _book(
        [
            movement("tea", 10, key="a"),
            movement("mug", 4, key="b"),
            movement("tea", -3, key="c", kind=MovementType.ADJUST),
            movement("tea", 2, key="d", bucket=Bucket.HELD),
        ]
    )

    assert booked == 4
    assert await _level() == Level(on_hand=9, held=2, last_seq=3)
    assert (await _level(Place("mug", "east"))).on_hand == 4
    async with transaction() as session:
        assert await broken(session) == []


async def test_putting_aside_moves_no_goods() -> None:
    await _book([movement("tea", 10, key="a")])

    await _book(
        [
            movement("tea", -3, key="h1", kind=MovementType.HOLD),
            movement("tea", 3, key="h2", kind=MovementType.HOLD, bucket=Bucket.HELD),
        ]
    )

    assert await _level() == Level(on_hand=10, held=3, last_seq=3)


async def test_a_key_is_booked_once_even_within_one_batch() -> None:
    assert await _book([movement("tea", 5, key="a"), movement("tea", 5, key="a")]) == 1
    assert await _book([movement("tea", 5, key="a"), movement("tea", 1, key="b")]) == 1

    assert await _level() == Level(on_hand=6, last_seq=2)


async def test_below_zero_books_nothing() -> None:
    await _book([movement("tea", 2, key="a")])

    with pytest.raises(BelowZero) as refused:
        await _book([movement("mug", 1, key="b"), movement("tea", -3, key="c")])

    assert refused.value.places == (EAST,)
    assert await _level() == Level(on_hand=2, last_seq=1)
    async with transaction() as session:
        assert await levels.read(session, [Place("mug", "east")]) == {}


async def test_an_unknown_product_is_named() -> None:
    with pytest.raises(UnknownProduct, match="phantom"):
        await _book([movement("phantom", 1, key="a")])


async def test_writers_in_opposite_orders_neither_deadlock_nor_lose_a_movement() -> None:
    async def write(writer: int) -> int:
        skus = ["tea", "mug"] if writer % 2 else ["mug", "tea"]
        return await repeat_on_deadlock(
            lambda: _book([movement(sku, 1, key=f"{writer}:{sku}") for sku in skus])
        )

    booked = await asyncio.gather(*(write(writer) for writer in range(40)))

    assert booked == [2] * 40
    assert await _level() == Level(on_hand=40, last_seq=40)
    async with transaction() as session:
        assert await broken(session) == []


async def test_one_key_sent_ten_times_at_once_is_booked_once() -> None:
    booked = await asyncio.gather(*(_book([movement("tea", 7, key="same")]) for _ in range(10)))

    assert sorted(booked) == [0] * 9 + [1]
    assert (await _level()).on_hand == 7


async def test_a_level_below_what_is_promised_is_booked_and_explained_until_it_is_made_good() -> (
    None
):
    async with transaction() as session:
        await add_stock(session, "tea", 5)
        *early, last = await orders_of(session, await add_group(session), 5)
        wants = [Want(order_id=id_, sku="tea", warehouse="east", units=1) for id_ in early]
        assert await reservations.reserve(session, wants) == set(early)
        await set_claims(session, dict.fromkeys(early, 0))

    await _book([movement("tea", -3, key="broken", kind=MovementType.ADJUST)])

    async with transaction() as session:
        (short,) = await discrepancies.open_of(session, ["tea"])
        assert (short.kind, short.place, short.units) == ("shortage", EAST, 2)
        assert await broken(session) == []
        one_more = Want(order_id=last, sku="tea", warehouse="east", units=1)
        assert await reservations.reserve(session, [one_more]) == set()
    await _book([movement("tea", 2, key="found", kind=MovementType.ADJUST)])
    async with transaction() as session:
        assert await discrepancies.open_of(session, ["tea"]) == []
        assert await broken(session) == []


async def test_levels_are_rebuilt_from_what_was_booked_and_promised() -> None:
    await _book([movement("tea", 10, key="a"), movement("tea", 2, key="b", bucket=Bucket.HELD)])
    await _book([movement("mug", 4, key="c", warehouse="west")])
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE stock_level SET on_hand = 99, held = 98, reserved = 97, last_seq = 96"
            " WHERE sku = 'tea'"
        )

    async with transaction() as session:
        assert await ledger.rebuild(session, "mug") == 0
        assert await ledger.rebuild(session) == 1
        assert await ledger.rebuild(session) == 0

    assert await _level() == Level(on_hand=12, held=2, last_seq=2)
    async with transaction() as session:
        assert await broken(session) == []


async def test_what_was_counted_already_is_booked_with_its_opposite() -> None:
    await _book([movement("tea", 10, key="a")])
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO snapshot_line (warehouse, sku, as_of, on_hand, held)"
                " VALUES ('east', 'tea', CAST(:as_of AS timestamptz), 10, 0)"
            ),
            {"as_of": OPENED_AT},
        )

    before, after = OPENED_AT, OPENED_AT + timedelta(seconds=1)
    assert await _book([movement("tea", 3, key="late", occurred_at=before)]) == 1
    assert await _book([movement("tea", 2, key="new", occurred_at=after)]) == 1
    assert await _book([movement("tea", 3, key="late", occurred_at=before)]) == 0

    assert await _level() == Level(on_hand=12, last_seq=4, counted_at=OPENED_AT)
    async with transaction() as session:
        assert await broken(session) == []
