"""The suppliers of the sandbox, over real HTTP, with their goods arriving at a warehouse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.store.recording_shop import MORNING, Partners, keys, partners

JADE = "suppliers/jade"
ORDERS = "/purchase-orders"
DAY = timedelta(days=1)
ANSWERED = timedelta(minutes=10)


@asynccontextmanager
async def suppliers(**jade: Any) -> AsyncIterator[Partners]:
    items = [
        {"sku": "tea", "capacity_per_day": 100},
        {"sku": "cup", "capacity_per_day": 50, "lead_days": 4},
    ]
    document = {
        "suppliers": [
            {"code": "jade", "secret": keys().secrets[JADE], "items": items} | jade,
            {"code": "reed", "secret": keys().secrets["suppliers/reed"], "items": items},
        ],
        "warehouses": [{"code": "east", "secret": keys().secrets["warehouses/east"]}],
    }
    async with partners(document) as world:
        yield world


def order(
    client_ref: str = "po-1", *, units: int = 80, price_fen: int = 500, sku: str = "tea"
) -> dict[str, Any]:
    line = {
        "line_no": 1,
        "sku": sku,
        "warehouse": "east",
        "units": units,
        "unit_price_fen": price_fen,
        "requested_at": (MORNING + 3 * DAY).isoformat(),
    }
    return {
        "client_ref": client_ref,
        "ordered_at": MORNING.isoformat(),
        "currency": "CNY",
        "lines": [line],
    }


async def place(world: Partners, document: dict[str, Any]) -> httpx.Response:
    key = document["client_ref"]
    return await world.call(JADE, "POST", ORDERS, document, idempotency_key=key)


async def statuses(world: Partners, client_ref: str) -> list[str]:
    answer = await world.call(JADE, "GET", f"{ORDERS}?client_ref={client_ref}")
    return [item["status"] for item in answer.json()["items"]]


async def test_an_order_is_accepted_advised_and_received() -> None:
    async with suppliers() as world:
        placed = await place(world, order())
        await world.run_dry()

        received = placed.json()
        accepted, advised, receipt = (heard.data for heard in await world.shop.count(3))
        promised_at = (MORNING + ANSWERED + 2 * DAY).isoformat()
        assert (placed.status_code, received["status"]) == (201, "received")
        assert world.shop.kinds() == [
            "purchase_order.accepted",
            "despatch_advice.created",
            "receipt_advice.posted",
        ]
        assert accepted == {
            "client_ref": "po-1",
            "supplier_ref": received["supplier_ref"],
            "revision": 1,
            "lines": [
                {
                    "line_no": 1,
                    "accepted_units": 80,
                    "unit_price_fen": 500,
                    "promised_at": promised_at,
                }
            ],
        }
        assert advised["expected_at"] == receipt["received_at"] == promised_at
        assert advised["lines"] == [{"line_no": 1, "units": 80}]
        assert receipt["asn_no"] == advised["asn_no"]
        assert receipt["lines"] == [{"line_no": 1, "good_units": 80, "damaged_units": 0}]
        assert await statuses(world, "po-1") == ["delivered"]


async def test_the_same_key_is_the_same_order_and_another_body_is_refused() -> None:
    async with suppliers() as world:
        first = await place(world, order())
        again = await place(world, order())
        other = await place(world, order(units=81))
        wrong_key = await world.call(JADE, "POST", ORDERS, order(), idempotency_key="po-2")
        no_key = await world.call(JADE, "POST", ORDERS, order())

        state = await world.sandbox("GET", "/state")
        assert (again.status_code, again.json()) == (201, first.json())
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reuse")
        assert (wrong_key.status_code, no_key.status_code) == (422, 400)
        assert state["suppliers"]["jade"]["orders"] == 1


async def test_what_will_never_be_taken_is_refused_at_once() -> None:
    async with suppliers() as world:
        unknown = await place(world, order(sku="moon"))
        nothing = await place(world, order(units=0))
        elsewhere = order()
        elsewhere["lines"][0]["warehouse"] = "west"
        no_road = await place(world, elsewhere)

        assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_sku")
        assert (nothing.status_code, nothing.json()["code"]) == (422, "validation")
        assert (no_road.status_code, no_road.json()["code"]) == (422, "unknown_warehouse")
        assert await statuses(world, "po-1") == []


async def test_only_the_shop_is_believed() -> None:
    async with suppliers() as world:
        signed_by_another = await world.call("suppliers/reed", "GET", f"{ORDERS}?client_ref=x")
        bare = await world.client.get(f"/{JADE}{ORDERS}?client_ref=x")
        nobody = await world.client.get("/suppliers/none/purchase-orders?client_ref=x")

        assert signed_by_another.status_code == 200
        assert (bare.status_code, nobody.status_code) == (401, 404)


async def test_capacity_stretches_the_promise() -> None:
    async with suppliers() as world:
        await place(world, order("po-1", units=100))
        await place(world, order("po-2", units=150))
        await world.run_dry()

        first, second = world.shop.of("purchase_order.accepted")
        assert first["lines"][0]["promised_at"] == (MORNING + ANSWERED + 2 * DAY).isoformat()
        assert second["lines"][0]["promised_at"] == (MORNING + ANSWERED + 4 * DAY).isoformat()


async def test_some_is_accepted_and_rounded_down() -> None:
    partial = {"partial": {"first": 1, "fraction": 0.7, "multiple": 10}}
    async with suppliers(behaviour=partial) as world:
        await place(world, order(units=75))
        await world.run_dry()

        (answer,) = world.shop.of("purchase_order.partially_accepted")
        (receipt,) = world.shop.of("receipt_advice.posted")
        assert answer["lines"][0]["accepted_units"] == 50
        assert receipt["lines"][0]["good_units"] == 50


async def test_the_first_order_of_a_sku_is_rejected_and_the_next_is_not() -> None:
    async with suppliers(behaviour={"reject": {"first": 1, "only": ["tea"]}}) as world:
        await place(world, order("po-cup", units=10, sku="cup"))
        await place(world, order("po-1"))
        await place(world, order("po-2"))
        await world.run_dry()

        (rejected,) = world.shop.of("purchase_order.rejected")
        accepted = [data["client_ref"] for data in world.shop.of("purchase_order.accepted")]
        assert (rejected["client_ref"], rejected["reason"]) == ("po-1", "out_of_capacity")
        assert accepted == ["po-cup", "po-2"]
        assert await statuses(world, "po-1") == ["rejected"]


async def test_a_change_is_proposed_and_delivered_unless_it_is_cancelled() -> None:
    async with suppliers(behaviour={"change": {"every": 1, "price_bp": 800, "days": 3}}) as world:
        await place(world, order("po-kept"))
        refused = await place(world, order("po-refused"))
        await world.move(MORNING + ANSWERED)
        cancelled = await world.call(
            JADE,
            "POST",
            f"{ORDERS}/{refused.json()['supplier_ref']}/cancel",
            {"client_ref": "po-refused", "lines": [{"line_no": 1, "units": 80}]},
            idempotency_key="cancel-1",
        )
        await world.run_dry()

        kept, _ = world.shop.of("purchase_order.changed")
        (receipt,) = world.shop.of("receipt_advice.posted")
        assert kept["lines"][0]["unit_price_fen"] == 540
        assert kept["lines"][0]["promised_at"] == (MORNING + ANSWERED + 5 * DAY).isoformat()
        assert kept["change_id"]
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
        assert receipt["client_ref"] == "po-kept"


async def test_a_price_below_the_list_is_answered_with_the_list_price() -> None:
    breaks = [
        {"min_units": 50, "unit_price_fen": 520},
        {"min_units": 200, "unit_price_fen": 480},
    ]
    item = {"sku": "tea", "capacity_per_day": 1000, "breaks": breaks}
    async with suppliers(items=[item]) as world:
        await place(world, order("po-cheap", units=80, price_fen=480))
        await place(world, order("po-right", units=200, price_fen=480))
        await place(world, order("po-small", units=49, price_fen=900))
        await world.run_dry()

        (changed,) = world.shop.of("purchase_order.changed")
        (accepted,) = world.shop.of("purchase_order.accepted")
        (rejected,) = world.shop.of("purchase_order.rejected")
        assert changed["client_ref"] == "po-cheap"
        assert changed["lines"][0]["unit_price_fen"] == 520
        assert accepted["client_ref"] == "po-right"
        assert rejected["client_ref"] == "po-small"


async def test_lines_of_one_sku_reach_a_break_together() -> None:
    breaks = [
        {"min_units": 50, "unit_price_fen": 520},
        {"min_units": 200, "unit_price_fen": 480},
    ]
    item = {"sku": "tea", "capacity_per_day": 1000, "breaks": breaks}

    def in_two_lines(client_ref: str, *units: int) -> dict[str, Any]:
        document = order(client_ref, price_fen=480)
        (line,) = document["lines"]
        lines = [line | {"line_no": n, "units": each} for n, each in enumerate(units, start=1)]
        return document | {"lines": lines}

    async with suppliers(items=[item]) as world:
        await place(world, in_two_lines("po-reached", 170, 30))
        await place(world, in_two_lines("po-short-of-it", 170, 29))
        await place(world, in_two_lines("po-small", 25, 24))
        await world.run_dry()

        (accepted,) = world.shop.of("purchase_order.accepted")
        (changed,) = world.shop.of("purchase_order.changed")
        (rejected,) = world.shop.of("purchase_order.rejected")
        assert [line["accepted_units"] for line in accepted["lines"]] == [170, 30]
        assert {line["unit_price_fen"] for line in accepted["lines"]} == {480}
        assert changed["client_ref"] == "po-short-of-it"
        assert {line["unit_price_fen"] for line in changed["lines"]} == {520}
        assert rejected["client_ref"] == "po-small"


async def test_a_cancellation_is_too_late_once_goods_are_on_the_road() -> None:
    async with suppliers() as world:
        supplier_ref = (await place(world, order())).json()["supplier_ref"]
        await world.move(MORNING + ANSWERED)
        path = f"{ORDERS}/{supplier_ref}/cancel"
        part = {"client_ref": "po-1", "lines": [{"line_no": 1, "units": 30}]}

        early = await world.call(JADE, "POST", path, part, idempotency_key="c1")
        again = await world.call(JADE, "POST", path, part, idempotency_key="c1")
        too_many = await world.call(
            JADE,
            "POST",
            path,
            {"client_ref": "po-1", "lines": [{"line_no": 1, "units": 51}]},
            idempotency_key="c2",
        )
        await world.move(MORNING + ANSWERED + DAY)
        late = await world.call(JADE, "POST", path, part, idempotency_key="c3")
        await world.run_dry()

        (receipt,) = world.shop.of("receipt_advice.posted")
        codes = [answer.status_code for answer in (early, again, too_many, late)]
        assert codes == [202, 202, 409, 409]
        assert receipt["lines"][0]["good_units"] == 50


async def test_lateness_is_announced_or_learned_on_the_promised_day() -> None:
    late = {"late": {"every": 2, "days": 2, "announced": False}}
    async with suppliers(behaviour=late) as world:
        await place(world, order("po-1", units=10))
        await place(world, order("po-2", units=10))
        await world.run_dry()

        promised_at = (MORNING + ANSWERED + 2 * DAY).isoformat()
        (update,) = world.shop.of("despatch_advice.updated")
        receipts = world.shop.of("receipt_advice.posted")
        assert update["client_ref"] == "po-2"
        assert (update["revision"], update["expected_at"]) == (
            2,
            (MORNING + ANSWERED + 4 * DAY).isoformat(),
        )
        assert [receipt["received_at"] for receipt in receipts] == [
            promised_at,
            update["expected_at"],
        ]


async def test_goods_arrive_short_and_damaged_and_the_rest_comes_later() -> None:
    behaviour = {
        "short": {"first": 1, "units": 20, "rest_after_days": 3},
        "damaged": {"first": 1, "units": 5},
    }
    async with suppliers(behaviour=behaviour) as world:
        await place(world, order())
        await world.run_dry()

        first, rest = world.shop.of("receipt_advice.posted")
        assert first["lines"] == [{"line_no": 1, "good_units": 55, "damaged_units": 5}]
        assert rest["lines"] == [{"line_no": 1, "good_units": 20, "damaged_units": 0}]
        assert first["asn_no"] == rest["asn_no"]
        assert first["receipt_no"] != rest["receipt_no"]


async def test_events_come_out_of_order_twice_and_unannounced() -> None:
    behaviour = {
        "out_of_order": {"first": 1},
        "unannounced": {"every": 2},
        "events": {"duplicates": {"only": ["purchase_order.accepted"]}},
    }
    async with suppliers(behaviour=behaviour) as world:
        await place(world, order("po-1", units=10))
        await world.run_dry()
        first = world.shop.kinds()
        await place(world, order("po-2", units=10))
        await world.run_dry()

        second = world.shop.kinds()[len(first) :]
        assert first == [
            "despatch_advice.created",
            "purchase_order.accepted",
            "purchase_order.accepted",
            "receipt_advice.posted",
        ]
        assert world.shop.heard[1].event_id == world.shop.heard[2].event_id
        assert "despatch_advice.created" not in second
        assert "asn_no" not in world.shop.of("receipt_advice.posted")[1]


async def test_an_advice_is_recalled_and_the_goods_leave_a_day_later() -> None:
    async with suppliers(behaviour={"recall": {"first": 1}}) as world:
        await place(world, order())
        await world.run_dry()

        first, second = world.shop.of("despatch_advice.created")
        (recalled,) = world.shop.of("despatch_advice.cancelled")
        (receipt,) = world.shop.of("receipt_advice.posted")
        assert (recalled["asn_no"], recalled["revision"]) == (first["asn_no"], 2)
        assert receipt["asn_no"] == second["asn_no"] != first["asn_no"]


async def test_a_stale_signature_precedes_the_good_one() -> None:
    async with suppliers(behaviour={"events": {"stale": {"first": 1}}}) as world:
        await place(world, order())
        await world.run_dry()

        assert world.shop.answered == [401, 202, 202, 202]


async def test_a_webhook_is_repeated_until_it_is_taken_and_nothing_overtakes_it() -> None:
    async with suppliers() as world:
        world.shop.fail_next = [500, 500, 429]
        await place(world, order("po-1", units=10))
        await place(world, order("po-2", units=10))
        await world.move(MORNING + ANSWERED)
        await world.settled()

        accepted = [data["client_ref"] for data in world.shop.of("purchase_order.accepted")]
        assert world.shop.answered == [500, 500, 429, 202, 202]
        assert accepted == ["po-1", "po-2"]


async def test_a_webhook_nobody_takes_is_given_up_and_counted() -> None:
    async with suppliers(secret="whsec_" + "QUJD" * 11) as world:
        await world.sandbox("PUT", "/suppliers/jade/items/tea", {"capacity_per_day": 7})
        await world.settled()

        state = await world.sandbox("GET", "/state")
        assert state["webhooks"]["given_up"] == 1
        assert state["webhooks"]["last_failures"][-1].endswith("/v1/webhooks/suppliers/jade: 401")
        assert world.shop.heard == []


async def test_price_and_capacity_changes_are_announced_and_hold() -> None:
    async with suppliers() as world:
        change = {
            "capacity_per_day": 40,
            "breaks": [{"min_units": 1, "unit_price_fen": 600}],
        }
        await world.sandbox("PUT", "/suppliers/jade/items/tea", change)
        await place(world, order(units=80, price_fen=600))
        await world.run_dry()

        (price,) = world.shop.of("supplier_item.price_changed")
        (capacity,) = world.shop.of("supplier_item.availability_changed")
        (accepted,) = world.shop.of("purchase_order.accepted")
        assert price["breaks"] == [{"min_units": 1, "unit_price_fen": 600}]
        assert capacity == {"sku": "tea", "capacity_per_day": 40}
        assert accepted["lines"][0]["promised_at"] == (MORNING + ANSWERED + 3 * DAY).isoformat()


async def test_a_lost_answer_leaves_the_order_in_the_books() -> None:
    async with suppliers(behaviour={"answers": {"lost": {"first": 1}}}) as world:
        with pytest.raises(httpx.RemoteProtocolError):
            await place(world, order())

        assert await statuses(world, "po-1") == ["received"]
        assert (await place(world, order())).status_code == 201
        state = await world.sandbox("GET", "/state")
        assert state["suppliers"]["jade"]["orders"] == 1


@pytest.mark.parametrize("fault", ["hang", "refused", "limited"])
async def test_an_answer_that_never_comes_or_refuses_leaves_nothing(fault: str) -> None:
    behaviour = {"answers": {fault: {"first": 1}, "hang_seconds": 0.05}}
    async with suppliers(behaviour=behaviour) as world:
        try:
            status = (await place(world, order())).status_code
        except httpx.RemoteProtocolError:
            status = 0

        assert status == {"hang": 0, "refused": 503, "limited": 429}[fault]
        assert await statuses(world, "po-1") == []


async def test_a_slow_garbled_or_huge_answer_comes_after_the_effect() -> None:
    behaviour = {
        "answers": {
            "slow": {"first": 1},
            "slow_bytes_per_second": 1000,
            "garbage": {"every": 2},
            "huge": {"every": 2},
        }
    }
    async with suppliers(behaviour=behaviour) as world:
        slow = await place(world, order("po-slow"))
        fine = await place(world, order("po-fine"))
        garbled = await place(world, order("po-garbled"))
        huge = await place(world, order("po-huge"))

        # The slow answer is counted for neither of the others, nor the garbled one for the huge.
        assert slow.elapsed.total_seconds() > 0.05
        assert slow.json()["client_ref"] == "po-slow"
        assert fine.json()["status"] == "received"
        assert b"\xff" in garbled.content
        assert len(huge.content) > 10_000_000
        assert await statuses(world, "po-garbled") == ["received"]
        assert await statuses(world, "po-huge") == ["received"]
