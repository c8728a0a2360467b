"""Operations look at purchase orders and judge them, over HTTP."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from groups import sessions
from kit.clock import business_now, move_clock
from kit.db import transaction
from kit.settings import settings
from operations.plan_purchases import plan_purchases
from operations.purchase_decision import PurchaseDecision
from tests.store import supply_world as world
from tests.store.groups_world import add_token, bearer, running_app

pytestmark = pytest.mark.usefixtures("store")

ORDERS = "/v1/ops/purchase-orders"


@pytest.fixture
async def ops(store: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Sell tea with every order to be approved; yield mei's client."""
    del store
    monkeypatch.setenv("CARAVAN_APPROVAL_LIMIT_FEN", "0")
    settings.cache_clear()
    await world.build_network()
    await world.add_products("tea")
    await world.add_supplier("jade")
    await world.agree("jade", "tea", pack=5, tiers=((1, 1000), (50, 900)))
    async with transaction() as session:
        token = await sessions.ops_token(session, "mei")
    async with running_app() as (_, client):
        client.headers.update(bearer(token))
        yield client


async def _planned(key: str = "morning", *, members: int = 10) -> PurchaseDecision:
    await world.succeed(members=members)
    return await plan_purchases(key=key)


async def test_orders_are_paged_with_their_lines_newest_first(ops: httpx.AsyncClient) -> None:
    for number in range(3):
        await _planned(f"run-{number}", members=5 + number * 5)

    first = (await ops.get(ORDERS, params={"limit": 2})).json()
    second = (await ops.get(ORDERS, params={"limit": 2, "cursor": first["next"]})).json()
    waiting = await ops.get(ORDERS, params={"state": "pending_approval", "supplier": "jade"})
    sent = await ops.get(ORDERS, params={"state": "sent"})

    rows = [*first["purchase_orders"], *second["purchase_orders"]]
    assert [row["lines"][0]["ordered_units"] for row in rows] == [15, 10, 5]
    assert (len(first["purchase_orders"]), second["next"]) == (2, None)
    assert rows[0]["state"] == "pending_approval"
    assert len(waiting.json()["purchase_orders"]) == 3
    assert sent.json()["purchase_orders"] == []


async def test_a_list_that_has_not_changed_is_not_sent_again(ops: httpx.AsyncClient) -> None:
    await _planned()
    first = await ops.get(ORDERS)

    again = await ops.get(ORDERS, headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304


async def test_the_approver_is_the_one_who_is_logged_in(ops: httpx.AsyncClient) -> None:
    decision = await _planned()
    url = f"{ORDERS}/{decision.orders[0].po_id}/approve"

    first, second = await ops.post(url, json={}), await ops.post(url, json={})

    assert first.json() == {
        "id": decision.orders[0].po_id,
        "state": "approved",
        "total_fen": 10_000,
        "changed": True,
    }
    assert second.json() == {**first.json(), "changed": False}
    (order,) = (await ops.get(ORDERS)).json()["purchase_orders"]
    assert order["approved_by"] == "mei"


async def test_other_quantities_must_keep_to_the_agreement(ops: httpx.AsyncClient) -> None:
    decision = await _planned()
    url = f"{ORDERS}/{decision.orders[0].po_id}/approve"

    broken_pack = await ops.post(url, json={"quantities": [{"line_no": 1, "units": 52}]})
    unknown = await ops.post(url, json={"quantities": [{"line_no": 9, "units": 5}]})
    nothing = await ops.post(url, json={"quantities": [{"line_no": 1, "units": 0}]})
    changed = await ops.post(url, json={"quantities": [{"line_no": 1, "units": 50}]})

    assert [broken_pack.status_code, unknown.status_code, nothing.status_code] == [422] * 3
    assert broken_pack.json()["code"] == "purchase_order.edit_refused"
    assert (changed.json()["state"], changed.json()["total_fen"]) == ("pending_approval", 45_000)


async def test_a_rejection_has_a_reason_and_ends_the_order(ops: httpx.AsyncClient) -> None:
    decision = await _planned()
    url = f"{ORDERS}/{decision.orders[0].po_id}"

    silent = await ops.post(f"{url}/reject", json={})
    rejected = await ops.post(f"{url}/reject", json={"reason": "too dear"})
    approved = await ops.post(f"{url}/approve", json={})

    assert silent.status_code == 422
    assert (rejected.status_code, rejected.json()["state"]) == (200, "cancelled")
    assert (approved.status_code, approved.json()["code"]) == (
        409,
        "purchase_order.illegal_transition",
    )
    (order,) = (await ops.get(ORDERS)).json()["purchase_orders"]
    assert order["closed_reason"] == "mei: too dear"


async def test_a_plan_says_why(ops: httpx.AsyncClient) -> None:
    decision = await _planned(members=10)

    plan = (await ops.get(f"/v1/ops/plans/{decision.plan_id}")).json()

    (line,) = plan["result"]["decision"]["lines"]
    assert (plan["status"], plan["proof"], plan["key"]) == ("optimal", "exact", "morning")
    assert (line["units"], "exactly what is needed" in line["reason"]) == (10, True)
    assert plan["problem"]["parts"][0]["schema"] == "p1/1"
    assert plan["objective_e4"] == plan["lower_bound_e4"]


async def test_an_order_nobody_answers_is_overdue(ops: httpx.AsyncClient) -> None:
    decision = await _planned()
    po_id = decision.orders[0].po_id
    await ops.post(f"{ORDERS}/{po_id}/approve", json={})
    (order,) = await world.all_orders()
    await world.mark_sent(order.id)

    in_time = (await ops.get(ORDERS, params={"overdue": True})).json()
    async with transaction() as session:
        await move_clock(session, to=await business_now(session) + timedelta(hours=25))
    late = (await ops.get(ORDERS, params={"overdue": True})).json()

    assert in_time["purchase_orders"] == []
    assert [row["id"] for row in late["purchase_orders"]] == [po_id]
    assert late["purchase_orders"][0]["overdue"] is True


@pytest.mark.parametrize(
    "path", ["/purchase-orders", "/plans/00000000-0000-7000-8000-000000000000"]
)
async def test_buyers_and_strangers_see_nothing(ops: httpx.AsyncClient, path: str) -> None:
    token, _ = await add_token("wang")

    buyer = await ops.get(f"/v1/ops{path}", headers=bearer(token))
    stranger = await ops.get(f"/v1/ops{path}", headers={"Authorization": ""})

    assert (buyer.status_code, stranger.status_code) == (403, 401)


@pytest.mark.parametrize(
    "path",
    [
        "/plans/00000000-0000-7000-8000-000000000000",
        "/purchase-orders/00000000-0000-7000-8000-000000000000/approve",
        "/purchase-orders/nonsense/approve",
    ],
)
async def test_what_does_not_exist_is_not_found(ops: httpx.AsyncClient, path: str) -> None:
    url = f"/v1/ops{path}"

    answer = await (ops.get(url) if "plans" in path else ops.post(url, json={}))

    assert answer.status_code == 404
