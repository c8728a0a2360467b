"""From uncovered orders to purchase orders, on a real database with the real optimizer."""

import asyncio

import pytest

from inventory import ledger
from kit.db import transaction
from kit.settings import settings
from operations.approve_order import approve, reject
from operations.plan_purchases import plan_purchases
from suppliers import capability
from suppliers.states import PurchaseOrderState
from tests.store import supply_world as world
from tests.store.inventory_world import movement
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
async def _shop(store: str) -> None:
    """Tea and cups, sold by jade; tea by reed too, a little dearer."""
    del store
    await world.build_network()
    await world.add_products("tea", "cup", max_excess_units=20)
    await world.add_supplier("jade")
    await world.add_supplier("reed")
    await world.agree("jade", "tea", tiers=((1, 1000), (60, 900)))
    await world.agree("jade", "cup", tiers=((1, 300),))
    await world.agree("reed", "tea", tiers=((1, 1100),))


async def _stock(sku: str, units: int, warehouse: str) -> None:
    async with transaction() as session:
        await ledger.book(
            session, [movement(sku, units, key=f"{sku}:{warehouse}", warehouse=warehouse)]
        )


@pytest.mark.usefixtures("_shop")
async def test_when_nothing_is_uncovered_nothing_is_written() -> None:
    decision = await plan_purchases(key="idle")

    assert (decision.plan_id, decision.orders) == (None, [])
    assert await sql("SELECT 1 FROM purchase_plan") == []


@pytest.mark.usefixtures("_shop")
async def test_uncovered_orders_become_one_order_for_each_supplier() -> None:
    await world.succeed(members=40)
    await world.succeed(members=18, province=world.NORTH)
    await world.succeed("cup", members=5)

    decision = await plan_purchases(key="morning")

    (order,) = await world.all_orders()
    lines = [(line.sku, line.warehouse, line.units.ordered_units) for line in order.lines]
    assert sorted(lines) == [("cup", "east", 5), ("tea", "east", 42), ("tea", "north", 18)]
    assert order.state is PurchaseOrderState.APPROVED
    assert order.total_fen == 60 * 900 + 5 * 300
    assert decision.status == "optimal"
    (tea,) = (line for line in decision.lines if line.sku == "tea")
    assert "bought 60 because 58 costs 4,000 fen more" in tea.reason
    assert await world.topics() == ["purchase_order.approved"]
    assert await world.broken() == []


@pytest.mark.usefixtures("_shop")
async def test_the_same_key_is_the_same_decision() -> None:
    await world.succeed(members=4)
    first = await plan_purchases(key="morning")
    await world.succeed(members=9)

    again = await plan_purchases(key="morning")

    assert again == first
    assert len(await world.all_orders()) == 1


@pytest.mark.usefixtures("_shop")
async def test_what_is_ordered_already_is_not_ordered_again() -> None:
    await world.succeed(members=4)
    await plan_purchases(key="one")

    unsent = await plan_purchases(key="two")
    (order,) = await world.all_orders()
    await world.mark_sent(order.id)
    sent = await plan_purchases(key="three")
    await world.succeed(members=3)
    await plan_purchases(key="four")

    assert (unsent.plan_id, sent.plan_id) == (None, None)
    assert (unsent.covered_orders, sent.covered_orders) == (4, 4)
    bought = [
        line.units.ordered_units for order in await world.all_orders() for line in order.lines
    ]
    assert bought == [4, 3]


@pytest.mark.usefixtures("_shop")
async def test_two_runs_at_once_buy_once() -> None:
    await world.succeed(members=12)

    await asyncio.gather(*(plan_purchases(key=f"run-{number}") for number in range(4)))

    (order,) = await world.all_orders()
    assert [line.units.ordered_units for line in order.lines] == [12]


@pytest.mark.usefixtures("_shop")
async def test_stock_is_used_before_anything_is_bought() -> None:
    await world.succeed(members=5)
    await world.succeed(members=5)
    await _stock("tea", 7, "north")

    decision = await plan_purchases(key="morning")

    (order,) = await world.all_orders()
    assert decision.covered_orders == 5
    assert [(line.warehouse, line.units.ordered_units) for line in order.lines] == [("east", 5)]


@pytest.mark.usefixtures("_shop")
async def test_what_cannot_be_bought_is_named_and_the_rest_is_bought() -> None:
    await world.add_products("lamp")
    await world.agree("reed", "lamp", moq=500)
    lamps = await world.succeed("lamp", members=2)
    await world.succeed(members=3)

    decision = await plan_purchases(key="morning")

    (order,) = await world.all_orders()
    assert [(line.sku, line.units.ordered_units) for line in order.lines] == [("tea", 3)]
    (left,) = decision.uncovered
    assert (left.sku, left.units) == ("lamp", 2)
    assert set(left.order_ids) == {str(order_id) for order_id in lamps.order_ids}
    assert "500" in " ".join([left.reason, *left.notes])
    assert await plan_purchases(key="morning") == decision


@pytest.mark.usefixtures("_shop")
async def test_a_commitment_is_never_exceeded() -> None:
    await world.agree("jade", "tea", committed_units=50, allowance_bp=1000)
    await world.succeed(members=40)
    await world.succeed(members=40)

    await plan_purchases(key="morning")

    orders = await world.all_orders()
    assert {order.supplier: order.lines[0].units.ordered_units for order in orders} == {
        "jade": 55,
        "reed": 25,
    }
    assert await world.broken() == []


@pytest.mark.usefixtures("_shop")
async def test_above_the_limit_a_person_is_asked_and_two_clicks_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARAVAN_APPROVAL_LIMIT_FEN", "3000")
    settings.cache_clear()
    await world.succeed(members=4)

    decision = await plan_purchases(key="morning")
    (waiting,) = decision.approvals
    (order,) = await world.all_orders()
    topics_before = await world.topics()
    clicks = await asyncio.gather(*(approve(order.id, f"person {n}") for n in range(5)))

    assert waiting.po_id == str(order.id)
    assert (order.state, topics_before) == (PurchaseOrderState.PENDING_APPROVAL, [])
    assert [click.state for click in clicks] == [PurchaseOrderState.APPROVED] * 5
    assert sum(click.changed for click in clicks) == 1
    assert await world.topics() == ["purchase_order.approved"]
    (journal,) = await sql(
        "SELECT actor FROM purchase_order_journal WHERE kind = 'approve' AND po_id = :id",
        id=order.id,
    )
    assert journal.actor == (await world.read_order(order.id)).approved_by


@pytest.mark.usefixtures("_shop")
async def test_changed_quantities_are_priced_by_their_tier_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARAVAN_APPROVAL_LIMIT_FEN", "3000")
    settings.cache_clear()
    await world.succeed(members=30)
    await plan_purchases(key="morning")
    (order,) = await world.all_orders()

    edited = await approve(order.id, "mei", quantities={1: 70})
    approved = await approve(order.id, "mei", quantities={1: 70})

    assert (edited.state, edited.total_fen) == (PurchaseOrderState.PENDING_APPROVAL, 70 * 900)
    assert approved.state is PurchaseOrderState.APPROVED
    (line,) = (await world.read_order(order.id)).lines
    assert (line.units.ordered_units, line.unit_price_fen) == (70, 900)
    assert await world.broken() == []


@pytest.mark.usefixtures("_shop")
async def test_a_person_who_refuses_sends_the_next_plan_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARAVAN_APPROVAL_LIMIT_FEN", "3000")
    settings.cache_clear()
    await world.succeed(members=4)
    await plan_purchases(key="one")
    (order,) = await world.all_orders()

    refused = await reject(order.id, "mei", "jade was late last week")
    again = await reject(order.id, "mei", "jade was late last week")
    await plan_purchases(key="two")

    _, replacement = await world.all_orders()
    assert (refused.state, refused.changed, again.changed) == (
        PurchaseOrderState.CANCELLED,
        True,
        False,
    )
    assert (replacement.supplier, replacement.replaces_po_id) == ("reed", order.id)
    assert (await world.topics())[0] == "purchase_order.rejected"


@pytest.mark.usefixtures("_shop")
async def test_capability_says_what_suppliers_can_still_deliver_in_time() -> None:
    async with transaction() as session:
        await capability.refresh(session)
        changed_again = await capability.refresh(session)

    rows = await sql(
        "SELECT supplier, sku, capacity_per_day, days_to_sell, lead_days, moq_units"
        " FROM supply_capability ORDER BY supplier, sku"
    )
    assert [tuple(row) for row in rows] == [
        ("jade", "cup", 1000, 5, 2, 1),
        ("jade", "tea", 1000, 5, 2, 1),
        ("reed", "tea", 1000, 5, 2, 1),
    ]
    assert changed_again == 0
