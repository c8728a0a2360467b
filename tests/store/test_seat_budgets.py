"""Seat budgets on a real Postgres: recomputed for many at once, right under every race."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import CampaignState
from groups.tables import Campaign, CampaignVersion, Group
from inventory import budgets, ledger, promises
from inventory.budgets import GiveBack, Terms
from inventory.promises import PromiseRow
from inventory.tables import SupplyCapability
from kit.clock import business_now, move_clock
from kit.db import transaction
from kit.ids import new_id
from operations import cap_groups
from tests.store.inventory_world import (
    WEEK_SECONDS,
    add_group,
    add_products,
    add_stock,
    movement,
    standing,
)

pytestmark = pytest.mark.usefixtures("store")


async def _budget(sku: str = "tea") -> int:
    async with transaction() as session:
        return (await standing(session, sku)).budget


async def _promise(
    session: AsyncSession, line_id: UUID, units: int, *, days: float, sku: str = "tea"
) -> None:
    promised_at = await business_now(session) + timedelta(days=days)
    row = PromiseRow(
        line_id=line_id, sku=sku, warehouse="east", units=units, promised_at=promised_at
    )
    await promises.put(session, [row])


async def test_whatever_changes_stock_or_supply_is_recomputed_once() -> None:
    async with transaction() as session:
        await add_products(session, "tea", "mug")
    assert await cap_groups.recompute_dirty() == 2
    assert await cap_groups.recompute_dirty() == 0

    async with transaction() as session:
        await ledger.book(session, [movement("tea", 5, key="a"), movement("tea", 2, key="b")])
        await _promise(session, new_id(), 6, days=1)

    assert await cap_groups.recompute_dirty() == 1
    assert await _budget() == 13
    assert await cap_groups.recompute_dirty() == 0


async def test_a_change_that_commits_after_the_facts_were_read_is_recomputed_again() -> None:
    async with transaction() as session:
        await add_products(session, "tea")
    await cap_groups.recompute_dirty()

    async with transaction() as receiving:
        await ledger.book(receiving, [movement("tea", 5, key="a")])
        async with transaction() as session:
            await budgets.recompute(session, ["tea"])
        assert await _budget() == 0

    assert await cap_groups.recompute_dirty() == 1
    assert await _budget() == 5


async def test_time_alone_changes_a_budget() -> None:
    async with transaction() as session:
        await add_products(session, "tea")
        await _promise(session, new_id(), 6, days=9)
    await cap_groups.recompute_dirty()
    assert await _budget() == 0

    async with transaction() as session:
        await move_clock(session, to=await business_now(session) + timedelta(days=2, hours=1))
    assert await cap_groups.recompute_dirty() == 1
    assert await _budget() == 6

    async with transaction() as session:
        await move_clock(session, to=await business_now(session) + timedelta(days=8))
    assert await cap_groups.recompute_dirty() == 1
    assert await _budget() == 0
    assert await cap_groups.recompute_dirty() == 0


async def test_goods_on_their_way_into_stock_are_never_counted_twice_or_not_at_all() -> None:
    line_id = new_id()
    async with transaction() as session:
        await add_products(session, "tea")
        await _promise(session, line_id, 60, days=1)

    seen: set[int] = set()

    async def receive() -> None:
        for number in range(1, 61):
            async with transaction() as session:
                await ledger.book(session, [movement("tea", 1, key=f"r{number}")])
                await _promise(session, line_id, 60 - number, days=1)

    async def watch(receiving: asyncio.Task[None]) -> None:
        while not receiving.done():
            async with transaction() as session:
                await budgets.recompute(session, ["tea"])
                seen.add((await standing(session)).budget)

    receiving = asyncio.create_task(receive())
    await watch(receiving)
    await receiving

    assert seen == {60}
    assert await _budget() == 60


async def test_a_thousand_buyers_of_a_hundred_units() -> None:
    async with transaction() as session:
        await add_products(session, "tea")
        await add_stock(session, "tea", 100)

    async def buy() -> bool:
        async with transaction() as session:
            return await budgets.take(session, GiveBack(sku="tea", claim_units=1, seats=1))

    places = asyncio.Semaphore(16)

    async def wait_and_buy() -> bool:
        async with places:
            return await buy()

    bought = await asyncio.gather(*(wait_and_buy() for _ in range(1000)))

    assert bought.count(True) == 100
    async with transaction() as session:
        assert await standing(session) == (100, 100, 100, 0, 100)


async def test_the_participant_cap_binds_whatever_the_stock() -> None:
    async with transaction() as session:
        await add_products(session, "tea")
        await add_stock(session, "tea", 100)
        terms = Terms(sku="tea", ship_by_seconds=WEEK_SECONDS, cap_seats=3)
        assert await budgets.set_terms(session, [terms]) == 1
        assert await budgets.set_terms(session, [terms]) == 0

        one = GiveBack(sku="tea", claim_units=2, seats=1)
        assert [await budgets.take(session, one) for _ in range(4)] == [True, True, True, False]

        await budgets.give_back(session, [one])
        assert (await standing(session))[:3] == (100, 4, 2)
        assert await budgets.take(session, one)


async def test_a_budget_falls_below_its_claims_and_tells_the_shop_once() -> None:
    async with transaction() as session:
        await add_products(session, "tea")
        await add_stock(session, "tea", 10)
        assert await budgets.take(session, GiveBack(sku="tea", claim_units=8, seats=8))
        await ledger.book(session, [movement("tea", -4, key="lost")])

    for _ in range(2):
        async with transaction() as session:
            await budgets.recompute(session, ["tea"])

    async with transaction() as session:
        assert (await standing(session))[:3] == (6, 8, 8)
        assert not await budgets.take(session, GiveBack(sku="tea", claim_units=1, seats=1))
        connection = await session.connection()
        told = await connection.execute(
            text("SELECT key, body FROM outbox_message WHERE topic = 'seat_cap.low'")
        )
        assert [(row.key, row.body["claimed_units"]) for row in told] == [("tea", 8)]


async def _sell(
    session: AsyncSession,
    sku: str,
    *,
    ship_days: int,
    seat_cap: int | None = None,
    state: CampaignState = CampaignState.ACTIVE,
) -> Group:
    """Open a group, and then edit its campaign to these terms."""
    group = await add_group(session, sku)
    campaign = await session.get_one(Campaign, group.campaign_id)
    first = await session.get_one(CampaignVersion, (campaign.id, 1))
    terms = first.model_dump() | {
        "version": 2,
        "ship_within_seconds": ship_days * 86_400,
        "seat_cap": seat_cap,
    }
    session.add(CampaignVersion(**terms))
    campaign.version, campaign.state = 2, state
    await session.flush()
    return group


async def test_terms_are_the_strictest_of_what_a_seat_can_still_be_taken_in() -> None:
    async with transaction() as session:
        await add_products(session, "tea", "mug", "pot", "cup")
        for sku, ship_days, cap, state in (
            ("tea", 9, 500, CampaignState.ACTIVE),
            ("tea", 5, 80, CampaignState.ACTIVE),
            ("mug", 3, 40, CampaignState.ENDED),
            ("pot", 3, 40, CampaignState.ENDED),
        ):
            group = await _sell(session, sku, ship_days=ship_days, seat_cap=cap, state=state)
            if sku != "mug":  # only the mug's group is still open, on the first version's terms
                connection = await session.connection()
                await connection.execute(
                    text("UPDATE buying_group SET state = 'succeeded' WHERE id = :id"),
                    {"id": group.id},
                )
        terms = await cap_groups.terms_on_sale(session, ["cup", "mug", "pot", "tea"])

    assert terms == [
        Terms(sku="cup", ship_by_seconds=None, cap_seats=None),
        Terms(sku="mug", ship_by_seconds=WEEK_SECONDS, cap_seats=40),
        Terms(sku="pot", ship_by_seconds=None, cap_seats=None),
        Terms(sku="tea", ship_by_seconds=5 * 86_400, cap_seats=80),
    ]


async def test_a_round_over_all_skus_says_what_changed_and_the_next_one_nothing() -> None:
    async with transaction() as session:
        await add_products(session, "tea", "mug")
        await add_group(session, "tea")
        await ledger.book(session, [movement("tea", 10, key="a")])

    first = await cap_groups.cap_groups()
    second = await cap_groups.cap_groups()

    # Nobody sells the mug: its terms were dropped.
    assert (first.skus, first.terms_changed, first.budgets_changed) == (2, 1, 1)
    assert [(row.sku, row.before_units, row.budget_units) for row in first.rows] == [
        ("mug", 0, 0),
        ("tea", 0, 10),
    ]
    assert first.rows[1].parts == {"on_hand": 10}
    assert (second.terms_changed, second.budgets_changed) == (0, 0)


async def test_three_thousand_budgets_are_recomputed_together() -> None:
    skus = [f"s{number:04d}" for number in range(3000)]
    async with transaction(long=True) as session:
        await add_products(session, *skus)
        await ledger.book(session, [movement(sku, 7, key=sku) for sku in skus])
        session.add_all(
            SupplyCapability(
                supplier="huaxin",
                sku=sku,
                capacity_per_day=10,
                days_to_sell=2,
                lead_days=3,
                moq_units=1,
            )
            for sku in skus
        )

    started = time.monotonic()
    async with transaction(long=True) as session:
        assert await budgets.recompute(session, skus) == 3000
    took = time.monotonic() - started

    async with transaction() as session:
        connection = await session.connection()
        found = await connection.exec_driver_sql("SELECT DISTINCT budget_units FROM seat_budget")
        assert found.scalars().all() == [27]
        assert await budgets.dirty_skus(session) == []
    # About 0.1 s on the 2 cores this was written on; the bound only catches a row at a time.
    assert took < 5
