"""What suppliers and warehouses say, in every order, against the rows."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from inventory import budgets
from kit.clock import business_now, move_clock
from kit.db import transaction
from operations.close_short import close_short, next_due, watch_purchases
from operations.errors import CannotApply
from operations.plan_purchases import plan_purchases
from suppliers import capability
from suppliers.orders import SupplyOrder
from suppliers.states import PurchaseOrderState
from tests.store import inventory_world
from tests.store import supply_world as world
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")

S = PurchaseOrderState


@pytest.fixture
async def _shop(store: str) -> None:
    """Tea, sold by jade and, dearer, by reed."""
    del store
    await world.build_network()
    await world.add_products("tea")
    await world.add_supplier("jade", price_tolerance_bp=200, over_delivery_bp=500)
    await world.add_supplier("reed")
    await world.agree("jade", "tea", tiers=((1, 1000),), hard_safety_days=1)
    await world.agree("reed", "tea", tiers=((1, 1100),))
    async with transaction() as session:
        await capability.refresh(session)


async def _sent(units: int = 10) -> tuple[SupplyOrder, world.Waiting]:
    """Buy for one group of `units` members and send the order."""
    group = await world.succeed(members=units)
    await plan_purchases(key="morning")
    (order,) = await world.all_orders()
    return await world.mark_sent(order.id), group


async def _assert_sound() -> None:
    async with transaction() as session:
        assert await inventory_world.broken(session) == []
    assert await world.broken() == []


async def _states(order_ids: tuple[UUID, ...]) -> dict[str, int]:
    rows = await sql(
        "SELECT state, count(*) AS n FROM buyer_order WHERE id = ANY(CAST(:ids AS uuid[]))"
        " GROUP BY state",
        ids=list(order_ids),
    )
    return {row.state: row.n for row in rows}


async def _level() -> tuple[int, int, int]:
    rows = await sql("SELECT on_hand, held, reserved FROM stock_level")
    return (0, 0, 0) if not rows else tuple(rows[0])


async def _capability(supplier: str = "jade") -> tuple[int, int, int]:
    (row,) = await sql(
        "SELECT open_units, lost_units, days_to_sell FROM supply_capability"
        " WHERE supplier = :supplier AND sku = 'tea'",
        supplier=supplier,
    )
    return tuple(row)


@pytest.mark.usefixtures("_shop")
async def test_an_order_lives_from_sent_to_received_and_its_buyers_get_the_goods() -> None:
    order, group = await _sent()
    spent = await _capability()
    await world.peg(order.id, group.order_ids)

    await world.said_by(
        "jade", "purchase_order.accepted", order.id, lines=world.accepted_lines(order)
    )
    accepted = await world.read_order(order.id)
    async with transaction() as session:
        expected_at = await business_now(session) + timedelta(days=1)
    await world.said_by(
        "jade",
        "despatch_advice.created",
        order.id,
        asn_no="a-1",
        revision=1,
        expected_at=expected_at.isoformat(),
        lines=[{"line_no": 1, "units": 10}],
    )
    (promise,) = await sql("SELECT * FROM supply_promise")
    await world.counted_by("east", order.id, (1, 10, 0))

    received = await world.read_order(order.id)
    assert (spent, accepted.state, received.state) == ((10, 0, 4), S.ACKNOWLEDGED, S.RECEIVED)
    assert promise.promised_at == expected_at
    assert await _states(group.order_ids) == {"allocated": 10}
    assert await _level() == (10, 0, 10)
    assert await _capability() == (0, 0, 4)
    assert received.due_at is None
    assert "goods.received" in await world.topics()
    await _assert_sound()


def _steps(order: SupplyOrder) -> dict[str, Callable[[], Awaitable[None]]]:
    async def accept() -> None:
        lines = world.accepted_lines(order, {1: 8})
        await world.said_by("jade", "purchase_order.partially_accepted", order.id, lines=lines)

    async def advise() -> None:
        await world.said_by(
            "jade",
            "despatch_advice.created",
            order.id,
            asn_no="a-1",
            revision=1,
            expected_at=order.lines[0].requested_at.isoformat(),
            lines=[{"line_no": 1, "units": 8}],
        )

    async def receive() -> None:
        await world.counted_by("east", order.id, (1, 7, 1), received_at=order.lines[0].requested_at)

    return {"accept": accept, "advise": advise, "receive": receive, "again": receive}


@pytest.mark.parametrize(
    "sequence", sorted(set(permutations(("accept", "advise", "receive", "again"))))
)
@pytest.mark.usefixtures("_shop")
async def test_every_order_of_acceptance_advice_and_receipts_ends_the_same(
    sequence: tuple[str, ...],
) -> None:
    order, _ = await _sent()
    steps = _steps(order)

    for name in sequence:
        await steps[name]()

    (line,) = (after := await world.read_order(order.id)).lines
    units = line.units
    assert (after.state, after.due_at, after.supplier_revision) == (S.RECEIVED, None, 1)
    assert (units.accepted_units, units.rejected_units, units.unanswered_units) == (8, 2, 0)
    assert (units.good_units, units.damaged_units, units.open_units) == (7, 1, 0)
    assert await _level() == (8, 1, 0)
    assert len(await sql("SELECT 1 FROM receipt")) == 1
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_a_rejection_drops_inbound_and_the_next_plan_goes_elsewhere() -> None:
    order, group = await _sent()
    await world.peg(order.id, group.order_ids)

    await world.said_by("jade", "purchase_order.rejected", order.id, reason="out_of_capacity")
    promised = await sql("SELECT units, state FROM supply_promise")
    async with transaction() as session:
        dirty = await budgets.dirty_skus(session)
    decision = await plan_purchases(key="after")

    rejected, replacement = await world.all_orders()
    assert rejected.state is S.REJECTED
    assert [tuple(row) for row in promised] == [(0, "closed")]
    assert dirty == ["tea"]
    assert await _capability() == (0, 10, 0)
    assert (replacement.supplier, replacement.replaces_po_id) == ("reed", order.id)
    assert replacement.lines[0].units.ordered_units == 10
    assert decision.orders[0].replaces_po_id == str(order.id)
    assert {"orders.uncovered", "purchase_order.rejected"} <= set(await world.topics())
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_what_a_supplier_rejects_in_part_is_bought_elsewhere() -> None:
    order, group = await _sent()
    await world.peg(order.id, group.order_ids)

    await world.said_by(
        "jade",
        "purchase_order.partially_accepted",
        order.id,
        lines=world.accepted_lines(order, {1: 6}),
    )
    await plan_purchases(key="after")

    first, second = await world.all_orders()
    assert first.state is S.PARTIALLY_ACCEPTED
    assert await _capability() == (6, 4, 0)
    # The whole group lost its pegs, and six units are still on their way to it.
    assert (second.supplier, second.replaces_po_id) == ("reed", order.id)
    assert second.lines[0].units.ordered_units == 4
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_rejected_capability_comes_back_after_a_day() -> None:
    order, _ = await _sent()
    await world.said_by("jade", "purchase_order.rejected", order.id, reason="out_of_capacity")
    resting = await _capability()

    async with transaction() as session:
        await move_clock(session, to=await business_now(session) + timedelta(hours=25))
        await capability.refresh(session)

    assert (resting, await _capability()) == ((0, 10, 0), (0, 0, 4))


@pytest.mark.usefixtures("_shop")
async def test_other_terms_are_kept_for_a_person_and_no_unit_is_lost() -> None:
    order, group = await _sent()
    await world.peg(order.id, group.order_ids)

    await world.said_by(
        "jade",
        "purchase_order.changed",
        order.id,
        change_id="c-1",
        reason="raw_material",
        lines=world.accepted_lines(order, price_fen=1100),
    )

    proposed = await world.read_order(order.id)
    (promise,) = await sql("SELECT units, pegged_units FROM supply_promise")
    assert proposed.state is S.CHANGE_PROPOSED
    assert proposed.proposal is not None
    assert proposed.proposal["effect"]["extra_fen"] == 1000
    assert proposed.lines[0].units.unanswered_units == 10
    assert tuple(promise) == (10, 10)
    await world.counted_by("east", order.id, (1, 10, 0))
    assert (await world.read_order(order.id)).state is S.RECEIVED
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_a_change_within_tolerance_is_an_acceptance() -> None:
    order, _ = await _sent()

    await world.said_by(
        "jade",
        "purchase_order.changed",
        order.id,
        lines=world.accepted_lines(order, price_fen=1020),
    )

    accepted = await world.read_order(order.id)
    assert (accepted.state, accepted.proposal) == (S.ACKNOWLEDGED, None)
    assert accepted.lines[0].unit_price_fen == 1000  # fixed when it was ordered


@pytest.mark.usefixtures("_shop")
async def test_an_older_answer_that_comes_late_changes_nothing() -> None:
    order, _ = await _sent()
    lines = world.accepted_lines(order)
    await world.said_by("jade", "purchase_order.accepted", order.id, lines=lines, revision=2)

    await world.said_by("jade", "purchase_order.rejected", order.id, revision=1, reason="no")

    assert (await world.read_order(order.id)).state is S.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("source", "kind", "data"),
    [
        ("suppliers:reed", "purchase_order.rejected", {}),
        ("suppliers:jade", "purchase_order.accepted", {"lines": []}),
        (
            "suppliers:jade",
            "purchase_order.accepted",
            {"lines": [{"line_no": 1, "accepted_units": 11, "unit_price_fen": 1000}]},
        ),
        (
            "suppliers:jade",
            "purchase_order.partially_accepted",
            {"lines": [{"line_no": 7, "accepted_units": 1, "unit_price_fen": 1000}]},
        ),
        ("suppliers:jade", "purchase_order.accepted", {"lines": "all of them"}),
        ("suppliers:jade", "purchase_order.lost", {}),
        (
            "warehouses:north",
            "receipt_advice.posted",
            {
                "receipt_no": "r-9",
                "received_at": "2011-12-05T09:00:00+00:00",
                "lines": [{"line_no": 1, "good_units": 1, "damaged_units": 0}],
            },
        ),
        (
            "suppliers:jade",
            "despatch_advice.created",
            {"asn_no": "a", "revision": 1, "lines": [{"line_no": 1, "units": 1}]},
        ),
    ],
)
@pytest.mark.usefixtures("_shop")
async def test_what_cannot_be_true_is_set_aside_and_changes_nothing(
    source: str, kind: str, data: dict[str, Any]
) -> None:
    order, _ = await _sent()
    body = {"client_ref": str(order.id), "supplier_ref": "so-1", "revision": 1, **data}

    with pytest.raises(CannotApply):
        await world.hear_letter(source, kind, body)

    assert await world.read_order(order.id) == order
    await _assert_sound()


@pytest.mark.parametrize("client_ref", ["nonsense", "00000000-0000-7000-8000-000000000000"])
async def test_a_word_about_an_unknown_order_is_set_aside(client_ref: str) -> None:
    with pytest.raises(CannotApply):
        await world.hear_letter(
            "suppliers:jade",
            "purchase_order.rejected",
            {"client_ref": client_ref, "supplier_ref": "x", "revision": 1},
        )


@pytest.mark.usefixtures("_shop")
async def test_goods_for_a_rejected_order_are_set_aside_for_a_person() -> None:
    order, _ = await _sent()
    await world.said_by("jade", "purchase_order.rejected", order.id, reason="no")

    with pytest.raises(CannotApply):
        await world.counted_by("east", order.id, (1, 10, 0))

    assert (await _level())[0] == 0
    assert await sql("SELECT 1 FROM receipt") == []


@pytest.mark.usefixtures("_shop")
async def test_advice_revisions_replace_one_another_in_any_order() -> None:
    order, _ = await _sent()
    day = timedelta(days=1)
    first, second = order.lines[0].requested_at, order.lines[0].requested_at + 2 * day

    async def advise(revision: int, expected_at: Any) -> None:
        await world.said_by(
            "jade",
            "despatch_advice.updated",
            order.id,
            asn_no="a-1",
            revision=revision,
            expected_at=expected_at.isoformat(),
            lines=[{"line_no": 1, "units": 10}],
        )

    await advise(2, second)
    await advise(1, first)
    (late,) = await sql("SELECT promised_at FROM supply_promise")
    await world.said_by("jade", "despatch_advice.cancelled", order.id, asn_no="a-1", revision=3)
    (back,) = await sql("SELECT promised_at FROM supply_promise")

    assert late.promised_at == second
    assert back.promised_at == order.lines[0].promised_at
    assert (await world.read_order(order.id)).state is S.IN_TRANSIT


@pytest.mark.usefixtures("_shop")
async def test_over_delivery_is_sold_within_tolerance_and_held_beyond() -> None:
    order, _ = await _sent(units=40)

    await world.counted_by("east", order.id, (1, 45, 1))

    (line,) = (await world.read_order(order.id)).lines
    assert (line.units.good_units, line.units.over_units) == (40, 6)
    assert await _level() == (46, 4, 0)  # two more than ordered may be sold
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_damaged_goods_are_held_and_the_last_completed_group_is_uncovered() -> None:
    early = await world.succeed(members=4)
    late = await world.succeed(members=6)
    await plan_purchases(key="morning")
    (order,) = await world.all_orders()
    await world.mark_sent(order.id)
    await world.peg(order.id, [*early.order_ids, *late.order_ids])

    await world.counted_by("east", order.id, (1, 9, 1))

    assert await _states(early.order_ids) == {"allocated": 4}
    assert await _level() == (10, 1, 9)
    uncovered = await sql("SELECT group_id FROM buyer_order WHERE claim_units > 0")
    assert [row.group_id for row in uncovered] == [late.group_id]
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_what_never_comes_is_given_up_and_bought_again() -> None:
    order, group = await _sent()
    await world.peg(order.id, group.order_ids)
    lines = world.accepted_lines(order)
    await world.said_by("jade", "purchase_order.accepted", order.id, lines=lines)
    await world.counted_by("east", order.id, (1, 7, 0))
    too_early = await close_short()

    async with transaction() as session:
        await move_clock(session, to=order.lines[0].promised_at + timedelta(hours=37))
    given_up = await asyncio.gather(close_short(), close_short())
    await plan_purchases(key="after")

    short, again = await world.all_orders()
    assert (too_early, sum(given_up)) == (0, 3)
    assert (short.state, short.lines[0].units.short_closed_units) == (S.RECEIVED, 3)
    assert await _states(group.order_ids) == {"allocated": 7, "confirmed": 3}
    assert again.lines[0].units.ordered_units == 3
    assert await _capability() == (0, 0, 4)
    await world.counted_by("east", order.id, (1, 3, 0), receipt_no="r-2")
    late = await world.read_order(order.id)
    assert (late.lines[0].units.short_closed_units, late.lines[0].units.good_units) == (0, 10)
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_goods_that_come_in_parts_are_counted_once_each() -> None:
    order, group = await _sent(units=20)
    await world.peg(order.id, group.order_ids)

    for number in range(4):
        await world.counted_by("east", order.id, (1, 5, 0), receipt_no=f"r-{number}")
        await world.counted_by("east", order.id, (1, 5, 0), receipt_no=f"r-{number}")

    assert (await world.read_order(order.id)).lines[0].units.good_units == 20
    assert await _states(group.order_ids) == {"allocated": 20}
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_new_prices_are_a_new_version_and_old_orders_keep_theirs() -> None:
    await _sent()
    async with transaction() as session:
        now = await business_now(session)

    await world.hear_letter(
        "suppliers:jade",
        "supplier_item.price_changed",
        {
            "sku": "tea",
            "valid_from": now.isoformat(),
            "breaks": [{"min_units": 1, "unit_price_fen": 1500}],
        },
    )
    await world.succeed(members=3)
    await plan_purchases(key="after")

    first, second = await world.all_orders()
    assert (first.lines[0].unit_price_fen, second.supplier) == (1000, "reed")
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_a_price_list_out_of_order_is_set_aside() -> None:
    with pytest.raises(CannotApply):
        await world.hear_letter(
            "suppliers:jade",
            "supplier_item.price_changed",
            {
                "sku": "tea",
                "valid_from": "2011-12-05T09:00:00+00:00",
                "breaks": [
                    {"min_units": 10, "unit_price_fen": 900},
                    {"min_units": 1, "unit_price_fen": 1000},
                ],
            },
        )


@pytest.mark.usefixtures("_shop")
async def test_a_new_capacity_ends_the_rest_after_a_refusal() -> None:
    order, _ = await _sent()
    await world.said_by("jade", "purchase_order.rejected", order.id, reason="out_of_capacity")

    await world.hear_letter(
        "suppliers:jade",
        "supplier_item.availability_changed",
        {"sku": "tea", "capacity_per_day": 40},
    )
    await plan_purchases(key="after")

    _, again = await world.all_orders()
    assert (await _capability(), again.supplier) == ((0, 0, 4), "jade")


@pytest.mark.usefixtures("_shop")
async def test_the_clerk_finds_what_is_due_and_wakes_the_next_plan() -> None:
    order, _ = await _sent()
    async with transaction() as session:
        idle = await next_due(session)
        await move_clock(session, to=await business_now(session) + timedelta(hours=1))
    await world.said_by(
        "jade",
        "purchase_order.partially_accepted",
        order.id,
        lines=world.accepted_lines(order, {1: 6}),
    )
    await world.counted_by("east", order.id, (1, 4, 0))

    async with transaction() as session:
        rest_ends = await next_due(session)
        assert rest_ends is not None
        await move_clock(session, to=rest_ends)
    rested = await watch_purchases()
    async with transaction() as session:
        given_up_at = await next_due(session)
        assert given_up_at is not None
        await move_clock(session, to=given_up_at)
    given_up = await watch_purchases()

    async with transaction() as session:
        assert await next_due(session) is None
    assert (idle, rested, given_up) == (None, 1, 2)
    assert given_up_at == order.lines[0].requested_at + timedelta(hours=36)
    assert len(await sql("SELECT 1 FROM wake_up WHERE flow = 'replenish'")) == 1
    await _assert_sound()


@pytest.mark.usefixtures("_shop")
async def test_letters_that_several_clerks_apply_at_once_end_the_same() -> None:
    order, group = await _sent(units=40)
    await world.peg(order.id, group.order_ids)
    ref = {"client_ref": str(order.id)}
    accepted = {
        **ref,
        "supplier_ref": "so-1",
        "revision": 1,
        "lines": world.accepted_lines(order, {1: 36}),
    }
    advice = {
        **ref,
        "asn_no": "a-1",
        "revision": 1,
        "expected_at": order.lines[0].requested_at.isoformat(),
        "lines": [{"line_no": 1, "units": 36}],
    }
    receipts = [
        {
            **ref,
            "receipt_no": f"r-{number}",
            "received_at": order.lines[0].requested_at.isoformat(),
            "lines": [{"line_no": 1, "good_units": 9, "damaged_units": 0}],
        }
        for number in (1, 2, 3, 4, 1, 2)
    ]
    letters = [
        world.letter("suppliers:jade", "purchase_order.partially_accepted", accepted),
        world.letter("suppliers:jade", "despatch_advice.created", advice),
        *(world.letter("warehouses:east", "receipt_advice.posted", row) for row in receipts),
    ]

    await asyncio.gather(*(world.apply(letter) for letter in letters))

    (line,) = (after := await world.read_order(order.id)).lines
    assert (after.state, line.units.good_units, line.units.rejected_units) == (S.RECEIVED, 36, 4)
    assert (await _level())[0] == 36
    await _assert_sound()
