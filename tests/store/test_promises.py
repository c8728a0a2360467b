"""Claims, reservations and pegs: where a unit stands from the join to the shipped parcel."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets, ledger, pegs, promises, reservations
from inventory.budgets import GiveBack
from inventory.ledger import MovementType
from inventory.pegs import PegWant
from inventory.promises import CapabilityRow, PromiseRow
from inventory.reservations import Want
from kit.clock import business_now
from kit.db import transaction
from kit.ids import new_id
from tests.store.inventory_world import (
    Standing,
    add_group,
    add_products,
    add_stock,
    broken,
    join,
    movement,
    orders_of,
    set_claims,
    standing,
)

pytestmark = pytest.mark.usefixtures("store")


def _want(order_id: UUID, units: int = 1) -> Want:
    return Want(order_id=order_id, sku="tea", warehouse="east", units=units)


async def _standing(session: AsyncSession) -> Standing:
    """Read the standing, and check that a recompute from the facts would not change it."""
    before = await standing(session)
    await budgets.recompute(session, ["tea"])
    assert await standing(session) == before
    assert await broken(session) == []
    return before


async def _promise(session: AsyncSession, line_id: UUID, units: int, *, days: int = 3) -> None:
    promised_at = await business_now(session) + timedelta(days=days)
    over = await promises.put(
        session,
        [
            PromiseRow(
                line_id=line_id,
                sku="tea",
                warehouse="east",
                units=units,
                promised_at=promised_at,
            )
        ],
    )
    assert over == {}


async def _ship(session: AsyncSession, orders: list[UUID]) -> list[UUID]:
    return await reservations.ship(
        session, orders, reference="wave", actor="test", occurred_at=datetime.now(UTC)
    )


@pytest.fixture(autouse=True)
async def _products(store: str) -> None:
    del store
    async with transaction() as session:
        await add_products(session, "tea")


async def test_a_unit_from_stock() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        group = await add_group(session)
        assert await _standing(session) == (10, 0, 0, 0, 10)

        order = await join(session, group)
        assert order is not None
        assert await _standing(session) == (10, 1, 1, 0, 10)

        assert await reservations.reserve(session, [_want(order)]) == {order}
        await set_claims(session, {order: 0})
        assert await _standing(session) == (9, 0, 1, 1, 10)

        assert await _ship(session, [order]) == [order]
        assert await _standing(session) == (9, 0, 1, 0, 9)

        assert await _ship(session, [order]) == []
        assert await _standing(session) == (9, 0, 1, 0, 9)


async def test_a_unit_by_a_peg() -> None:
    line_id = new_id()
    async with transaction() as session:
        await _promise(session, line_id, 10)
        await budgets.recompute(session, ["tea"])
        group = await add_group(session)

        order = await join(session, group)
        assert order is not None
        assert await _standing(session) == (10, 1, 1, 0, 0)

        wanted = PegWant(order_id=order, line_id=line_id, units=1)
        assert await pegs.peg(session, [wanted]) == {order}
        await set_claims(session, {order: 0})
        assert await _standing(session) == (9, 0, 1, 0, 0)

        await ledger.book(session, [movement("tea", 10, key="receipt")])
        assert await pegs.turn(session, line_id, good_units=10) == [order]
        await _promise(session, line_id, 0)
        assert await _standing(session) == (9, 0, 1, 1, 10)

        assert await _ship(session, [order]) == [order]
        assert await _standing(session) == (9, 0, 1, 0, 9)


async def test_expiry_gives_the_claim_and_the_seat_back() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        order = await join(session, await add_group(session))
        assert order is not None

        await budgets.give_back(session, [GiveBack(sku="tea", claim_units=1, seats=1)])
        await set_claims(session, {order: 0})

        assert await _standing(session) == (10, 0, 0, 0, 10)


async def test_a_refund_before_shipping_gives_the_reservation_and_the_seat_back() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        order = await join(session, await add_group(session))
        assert order is not None
        await reservations.reserve(session, [_want(order)])
        await set_claims(session, {order: 0})

        assert await reservations.free(session, [order]) == {order: 1}
        await budgets.give_back(session, [GiveBack(sku="tea", claim_units=0, seats=1)])

        assert await _standing(session) == (10, 0, 0, 0, 10)
        assert await reservations.free(session, [order]) == {}
        assert await _ship(session, [order]) == []
        assert await _standing(session) == (10, 0, 0, 0, 10)


async def test_a_refund_before_the_goods_came_gives_the_peg_and_the_seat_back() -> None:
    line_id = new_id()
    async with transaction() as session:
        await _promise(session, line_id, 10)
        await budgets.recompute(session, ["tea"])
        order = await join(session, await add_group(session))
        assert order is not None
        await pegs.peg(session, [PegWant(order_id=order, line_id=line_id, units=1)])
        await set_claims(session, {order: 0})

        assert await pegs.free(session, [order]) == {order: 1}
        await budgets.give_back(session, [GiveBack(sku="tea", claim_units=0, seats=1)])

        assert await _standing(session) == (10, 0, 0, 0, 0)
        assert await pegs.free(session, [order]) == {}


async def test_a_dissolved_reservation_restores_the_claim() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        order = await join(session, await add_group(session), units=3)
        assert order is not None
        await reservations.reserve(session, [_want(order, 3)])
        await set_claims(session, {order: 0})

        restored = await reservations.dissolve(session, [order])
        assert restored == {order: 3}
        await set_claims(session, restored)

        assert await _standing(session) == (10, 3, 1, 0, 10)
        assert await reservations.reserve(session, [_want(order, 3)]) == {order}


async def test_an_order_is_covered_once() -> None:
    line_id = new_id()
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        await _promise(session, line_id, 10)
        order = await join(session, await add_group(session))
        assert order is not None
        assert await reservations.reserve(session, [_want(order), _want(order)]) == {order}
        await set_claims(session, {order: 0})

        assert await reservations.reserve(session, [_want(order)]) == set()
        wanted = PegWant(order_id=order, line_id=line_id, units=1)
        assert await pegs.peg(session, [wanted]) == set()
        assert await broken(session) == []


async def test_a_short_receipt_covers_the_oldest_and_uncovers_the_latest() -> None:
    line_id = new_id()
    async with transaction() as session:
        await _promise(session, line_id, 5)
        await budgets.recompute(session, ["tea"])
        group = await add_group(session)
        orders = await orders_of(session, group, 5)
        wants = [PegWant(order_id=id_, line_id=line_id, units=1) for id_ in reversed(orders)]
        assert await pegs.peg(session, wants) == set(orders)
        await set_claims(session, dict.fromkeys(orders, 0))
        nobody = PegWant(order_id=new_id(), line_id=line_id, units=1)
        assert await pegs.peg(session, [nobody]) == set()

    async with transaction() as session:
        await budgets.lock(session, ["tea"])
        await ledger.book(session, [movement("tea", 2, key="receipt")])
        assert await pegs.turn(session, line_id, good_units=2) == orders[:2]
        row = PromiseRow(
            line_id=line_id,
            sku="tea",
            warehouse="east",
            units=1,
            promised_at=await business_now(session),
        )
        assert await promises.put(session, [row]) == {line_id: 2}
        uncovered = await pegs.dissolve(session, line_id=line_id, units_left=1)
        assert uncovered == {orders[4]: 1, orders[3]: 1}
        await set_claims(session, uncovered)

    async with transaction() as session:
        assert await standing(session) == (2, 2, 5, 2, 2)
        await budgets.recompute(session, ["tea"])
        # Two of five are covered by stock, one by what is still to come, two by nothing.
        assert await _standing(session) == (0, 2, 5, 2, 2)


async def test_goods_that_a_count_gave_to_others_cover_no_peg_twice() -> None:
    line_id = new_id()
    async with transaction() as session:
        await _promise(session, line_id, 1)
        await add_stock(session, "tea", 1)
        waiting, served = await orders_of(session, await add_group(session), 2)
        await pegs.peg(session, [PegWant(order_id=waiting, line_id=line_id, units=1)])
        await reservations.reserve(session, [_want(served)])
        await set_claims(session, {waiting: 0, served: 0})

        # The receipt that the reserved unit came with is heard only now.
        assert await pegs.turn(session, line_id, good_units=1) == []
        assert await broken(session) == []


async def test_a_peg_on_goods_too_late_to_promise_costs_no_budget() -> None:
    line_id = new_id()
    async with transaction() as session:
        await add_stock(session, "tea", 2)
        await _promise(session, line_id, 2, days=30)
        order = await join(session, await add_group(session))
        assert order is not None
        await pegs.peg(session, [PegWant(order_id=order, line_id=line_id, units=1)])
        await set_claims(session, {order: 0})

        assert "tea" in await budgets.dirty_skus(session)
        await budgets.recompute(session, ["tea"])

        assert await _standing(session) == (2, 0, 1, 0, 2)


async def test_an_order_sent_moves_from_capability_to_inbound_and_a_rejection_loses_it() -> None:
    line_id = new_id()
    capability = CapabilityRow(
        supplier="huaxin",
        sku="tea",
        capacity_per_day=10,
        days_to_sell=3,
        lead_days=4,
        moq_units=1,
        valid_to=None,
    )

    async def budget(session: AsyncSession) -> int:
        await budgets.recompute(session, await budgets.dirty_skus(session))
        return (await standing(session)).budget

    async with transaction() as session:
        assert await promises.put_capabilities(session, [capability]) == 1
        assert await promises.put_capabilities(session, [capability]) == 0
        assert await budget(session) == 30

        await promises.spend_capability(session, "huaxin", {"tea": 12})
        await _promise(session, line_id, 12)
        assert await budget(session) == 30

        await promises.settle_capability(session, "huaxin", rejected={"tea": 12})
        await _promise(session, line_id, 0)
        assert await budget(session) == 18

        await promises.spend_capability(session, "huaxin", {"tea": 18})
        await promises.settle_capability(session, "huaxin", done={"tea": 18})
        await promises.put_capabilities(session, [capability])
        assert await budget(session) == 18

        anew = CapabilityRow(
            supplier="huaxin",
            sku="tea",
            capacity_per_day=5,
            days_to_sell=3,
            lead_days=4,
            moq_units=1,
            valid_to=None,
        )
        await promises.put_capabilities(session, [anew])
        assert await budget(session) == 15


async def test_forty_planners_reserve_ten_units_once() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 10)
        group = await add_group(session)
        # Supply fell after they joined: forty claims stand against ten units.
        await budgets.move(session, [budgets.Shift(sku="tea", budget_units=30)])
        orders = await orders_of(session, group, 40)

    async def plan(order_id: UUID) -> set[UUID]:
        async with transaction() as session:
            done = await reservations.reserve(session, [_want(order_id)])
            await set_claims(session, dict.fromkeys(done, 0))
            return done

    done = await asyncio.gather(*(plan(order_id) for order_id in orders))

    assert sum(len(ids) for ids in done) == 10
    async with transaction() as session:
        assert (await standing(session)).reserved == 10
        assert await broken(session) == []


async def test_one_reservation_ships_or_is_freed_never_both() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 20)
        orders = await orders_of(session, await add_group(session), 20)
        await reservations.reserve(session, [_want(id_) for id_ in orders])
        await set_claims(session, dict.fromkeys(orders, 0))

    async def ship() -> int:
        async with transaction() as session:
            return len(await _ship(session, orders[:15]))

    async def refund() -> int:
        async with transaction() as session:
            return len(await reservations.free(session, orders[5:]))

    ended = await asyncio.gather(ship(), refund(), ship(), refund())

    assert sum(ended) == 20
    async with transaction() as session:
        shipped = ended[0] + ended[2]
        left = await standing(session)
        assert (left.reserved, left.on_hand) == (0, 20 - shipped)
        assert await broken(session) == []


async def test_joins_race_receipts_reservations_and_recomputes_and_nothing_is_sold_twice() -> None:
    async with transaction() as session:
        await add_stock(session, "tea", 20)
        group = await add_group(session)

    async def buy() -> UUID | None:
        async with transaction() as session:
            order_id = await join(session, group)
        if order_id is not None:
            async with transaction() as session:
                done = await reservations.reserve(session, [_want(order_id)])
                await set_claims(session, dict.fromkeys(done, 0))
        return order_id

    async def receive(number: int) -> None:
        receipt = movement("tea", 2, key=f"r{number}", kind=MovementType.RECEIPT)
        async with transaction() as session:
            await ledger.book(session, [receipt])
        async with transaction() as session:
            await budgets.recompute(session, await budgets.dirty_skus(session))

    outcomes = await asyncio.gather(
        *(buy() for _ in range(60)), *(receive(number) for number in range(5))
    )

    bought = [order_id for order_id in outcomes if order_id is not None]
    assert 20 <= len(bought) <= 30
    async with transaction() as session:
        await budgets.recompute(session, ["tea"])
        after = await _standing(session)
        assert after == (30 - len(bought), 0, len(bought), len(bought), 30)
