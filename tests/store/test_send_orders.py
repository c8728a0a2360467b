"""Purchase orders go to the sandbox's suppliers over real HTTP, however badly those behave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from kit.clock import business_now
from kit.db import transaction
from kit.leases import lease
from operations.companies import open_line
from operations.plan_purchases import plan_purchases
from operations.send_orders import Outcome, SendReport, send_orders
from suppliers import sending
from suppliers.states import PurchaseOrderState
from suppliers.tables import SendState
from tests.store import inventory_world
from tests.store import supply_world as world
from tests.store.recording_shop import Partners, keys, partners
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")

S = PurchaseOrderState
JADE = "suppliers/jade"


@asynccontextmanager
async def _shop(**behaviour: Any) -> AsyncIterator[Partners]:
    """Run the sandbox's jade and the shop that buys tea there for one group of ten."""
    async with transaction() as session:
        now = await business_now(session)
    document = {
        "start": now.isoformat(),
        "suppliers": [
            {
                "code": "jade",
                "secret": keys().secrets[JADE],
                "items": [{"sku": "tea", "capacity_per_day": 100}],
                "behaviour": behaviour,
            }
        ],
        "warehouses": [{"code": "east", "secret": keys().secrets["warehouses/east"]}],
    }
    async with partners(document) as companies:
        await world.build_network()
        await world.add_products("tea")
        url = str(companies.client.base_url.join("/suppliers/jade"))
        await world.add_supplier(url=url, secret=keys().secrets[JADE])
        await world.agree()
        await world.succeed(members=10)
        await plan_purchases(key="morning")
        yield companies


async def _only_order() -> Any:
    (order,) = await world.all_orders()
    return order


async def _taken_by_supplier(companies: Partners) -> int:
    state = await companies.sandbox("GET", "/state")
    return int(state["suppliers"]["jade"].get("orders", 0))


async def test_an_order_whose_sender_may_have_died_is_looked_at_again() -> None:
    async with _shop() as companies:
        order = await _only_order()
        await sql("DELETE FROM wake_up")

        async with lease(f"purchase_order:{order.id}"):
            report = await send_orders()

        assert report.sendings == ()
        assert await _taken_by_supplier(companies) == 0
        assert await sql("SELECT flow, due_at > now() FROM wake_up") == [("replenish", True)]


async def _is_due_again() -> None:
    """Let the pause until the next try be over."""
    await sql("UPDATE purchase_order SET send_at = now()")


def _outcomes(report: SendReport) -> list[Outcome]:
    return [one.outcome for one in report.sendings]


async def _apply_what_was_said(companies: Partners) -> None:
    for heard in companies.shop.heard:
        await world.hear_letter(heard.sender.replace("/", ":"), heard.kind, heard.data)


async def test_an_approved_order_is_sent_and_counts_as_inbound() -> None:
    async with _shop() as companies:
        report = await send_orders()
        again = await send_orders()

        order = await _only_order()
        (promise,) = await sql("SELECT units, promised_at FROM supply_promise")
        assert (_outcomes(report), again.sendings) == ([Outcome.SENT], ())
        assert (order.state, order.send_state) == (S.SENT, SendState.SENT)
        assert order.supplier_ref is not None
        assert (promise.units, promise.promised_at) == (10, order.lines[0].promised_at)
        assert await _taken_by_supplier(companies) == 1
        assert (await world.topics())[-1] == "purchase_order.sent"


async def test_the_whole_life_with_a_real_supplier_and_warehouse() -> None:
    async with _shop() as companies:
        await send_orders()
        await companies.run_dry()
        await companies.shop.count(3)

        await _apply_what_was_said(companies)

        order = await _only_order()
        assert companies.shop.kinds() == [
            "purchase_order.accepted",
            "despatch_advice.created",
            "receipt_advice.posted",
        ]
        assert (order.state, order.lines[0].units.good_units) == (S.RECEIVED, 10)
        (level,) = await sql("SELECT on_hand FROM stock_level")
        assert level.on_hand == 10
        assert await world.broken() == []
        async with transaction() as session:
            assert await inventory_world.broken(session) == []


async def test_many_senders_send_once() -> None:
    async with _shop() as companies:
        async with open_line():
            reports = await asyncio.gather(*(send_orders() for _ in range(4)))

        sent = [outcome for report in reports for outcome in _outcomes(report)]
        assert sent.count(Outcome.SENT) == 1
        assert await _taken_by_supplier(companies) == 1
        assert (await _only_order()).state is S.SENT


async def test_a_lost_answer_is_looked_up_before_anything_else() -> None:
    lost = {"answers": {"lost": {"every": 1, "only": ["order"]}}}
    async with _shop(**lost) as companies:
        report = await send_orders()

        order = await _only_order()
        assert _outcomes(report) == [Outcome.SENT]
        assert (order.state, order.send_state) == (S.SENT, SendState.SENT)
        assert await _taken_by_supplier(companies) == 1


@pytest.mark.parametrize("fault", ["lost", "garbage", "huge"])
async def test_while_nobody_answers_the_order_is_unknown_and_goes_nowhere_else(
    fault: str,
) -> None:
    faults = {"answers": {fault: {"every": 1, "only": ["order", "lookup"]}}}
    async with _shop(**faults) as companies:
        await world.add_supplier("reed")
        await world.agree("reed", "tea", tiers=((1, 1),))

        report = await send_orders()
        unknown = await _only_order()
        elsewhere = await plan_purchases(key="meanwhile")
        await companies.sandbox("PUT", "/suppliers/jade/behaviour", {})
        await _is_due_again()
        after = await send_orders()

        assert _outcomes(report) == [Outcome.UNKNOWN]
        assert (unknown.state, unknown.send_state) == (S.APPROVED, SendState.UNKNOWN)
        assert elsewhere.orders == []
        assert _outcomes(after) == [Outcome.SENT]
        assert await _taken_by_supplier(companies) == 1


async def test_a_sender_that_dies_in_between_leaves_an_order_that_is_asked_for() -> None:
    async with _shop() as companies:
        order = await _only_order()
        async with transaction() as session:
            await sending.begin(session, order.id)
        # The order reached the supplier, and then the sender was killed.
        document = {
            "client_ref": str(order.id),
            "ordered_at": order.created_at.isoformat(),
            "currency": "CNY",
            "lines": [
                {
                    "line_no": 1,
                    "sku": "tea",
                    "warehouse": "east",
                    "units": 10,
                    "unit_price_fen": 1000,
                    "requested_at": order.lines[0].requested_at.isoformat(),
                }
            ],
        }
        placed = await companies.call(
            JADE, "POST", "/purchase-orders", document, idempotency_key=str(order.id)
        )

        report = await send_orders()

        assert _outcomes(report) == [Outcome.SENT]
        assert (await _only_order()).supplier_ref == placed.json()["supplier_ref"]
        assert await _taken_by_supplier(companies) == 1


async def test_a_sleeping_supplier_is_tried_again_later() -> None:
    asleep = {"answers": {"refused": {"every": 1, "only": ["order"]}}}
    async with _shop(**asleep) as companies:
        report = await send_orders()
        at_once = await send_orders()
        (woken,) = await sql("SELECT due_at > now() AS later FROM wake_up")
        await companies.sandbox("PUT", "/suppliers/jade/behaviour", {})
        await _is_due_again()
        after = await send_orders()

        assert (_outcomes(report), at_once.sendings) == ([Outcome.POSTPONED], ())
        assert woken.later
        assert _outcomes(after) == [Outcome.SENT]
        assert await _taken_by_supplier(companies) == 1


async def test_what_a_supplier_will_never_take_is_rejected_and_planned_anew() -> None:
    async with _shop() as companies:
        await world.add_supplier("reed")
        await world.agree("reed", "tea", tiers=((1, 2000),))
        await sql("UPDATE purchase_order_line SET warehouse = 'north'")

        report = await send_orders()
        await plan_purchases(key="after")

        refused, replacement = await world.all_orders()
        assert _outcomes(report) == [Outcome.REJECTED]
        assert refused.state is S.REJECTED
        assert (replacement.supplier, replacement.replaces_po_id) == ("reed", refused.id)
        assert await sql("SELECT 1 FROM supply_promise WHERE units > 0") == []
        assert await _taken_by_supplier(companies) == 0


async def test_a_supplier_without_an_endpoint_keeps_its_order_waiting() -> None:
    async with _shop():
        await sql("UPDATE partner SET active = false")

        report = await send_orders()

        assert _outcomes(report) == [Outcome.POSTPONED]
        assert (await _only_order()).send_state is SendState.UNSENT


async def test_an_answer_that_overtakes_ours_proves_that_the_order_arrived() -> None:
    faults = {"answers": {"lost": {"every": 1, "only": ["order", "lookup"]}}}
    async with _shop(**faults) as companies:
        await send_orders()
        await companies.run_dry()
        await companies.shop.count(3)
        await _apply_what_was_said(companies)

        order = await _only_order()
        await _is_due_again()
        assert (order.state, order.send_state) == (S.RECEIVED, SendState.SENT)
        assert (await send_orders()).sendings == ()
        assert await world.broken() == []


async def test_a_rejection_by_the_sandbox_is_bought_elsewhere() -> None:
    async with _shop(reject={"every": 1}) as companies:
        await world.add_supplier("reed")
        await world.agree("reed", "tea", tiers=((1, 2000),))
        await send_orders()
        await companies.run_dry()
        await companies.shop.count(1)

        await _apply_what_was_said(companies)
        await plan_purchases(key="after")

        rejected, replacement = await world.all_orders()
        assert (rejected.state, replacement.supplier) == (S.REJECTED, "reed")


async def test_an_unsent_order_cannot_be_answered() -> None:
    async with _shop():
        order = await _only_order()
        po_id: UUID = order.id

        with pytest.raises(Exception, match="does not answer"):
            await world.said_by(
                "jade", "purchase_order.accepted", po_id, lines=world.accepted_lines(order)
            )
