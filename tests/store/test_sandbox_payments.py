"""The payment provider of the sandbox, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.store.recording_shop import (
    MORNING,
    Partners,
    check_platform_signature,
    keys,
    merchant_headers,
    partners,
)

NOON = MORNING + timedelta(hours=3)
JSAPI = "/v3/pay/transactions/jsapi"
COMBINE = "/v3/combine-transactions/jsapi"
REFUNDS = "/v3/refund/domestic/refunds"


@asynccontextmanager
async def provider(**behaviour: Any) -> AsyncIterator[Partners]:
    payments = keys().provider().model_dump() | {"behaviour": behaviour, "retry_scale": 0.0005}
    async with partners({"payments": payments}) as world:
        yield world


def order(world: Partners, number: str = "a" * 32, *, total_fen: int = 990) -> dict[str, Any]:
    return {
        "appid": keys().app_id,
        "mchid": keys().merchant_id,
        "description": "tea for two",
        "out_trade_no": number,
        "time_expire": NOON.isoformat(),
        "notify_url": f"{world.shop_url}/v1/webhooks/payments/sandbox",
        "amount": {"total": total_fen, "currency": "CNY"},
        "payer": {"openid": "ann"},
    }


def combined_order(world: Partners) -> dict[str, Any]:
    return {
        "combine_appid": keys().app_id,
        "combine_mchid": keys().merchant_id,
        "combine_out_trade_no": "c" * 32,
        "combine_payer_info": {"openid": "ann"},
        "time_expire": NOON.isoformat(),
        "notify_url": f"{world.shop_url}/v1/webhooks/payments/sandbox",
        "sub_orders": [
            {
                "mchid": keys().merchant_id,
                "attach": name,
                "amount": {"total_amount": total_fen, "currency": "CNY"},
                "out_trade_no": name * 32,
                "description": name,
            }
            for name, total_fen in (("x", 300), ("y", 400))
        ],
    }


async def prepaid(world: Partners, number: str = "a" * 32) -> str:
    answer = await world.pay("POST", JSAPI, order(world, number))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["prepay_id"])


async def paid(world: Partners, number: str = "a" * 32) -> None:
    prepay_id = await prepaid(world, number)
    await world.sandbox("POST", f"/pay/{prepay_id}", {"openid": "ann"})


def query(number: str = "a" * 32) -> str:
    return f"/v3/pay/transactions/out-trade-no/{number}?mchid={keys().merchant_id}"


def refund(number: str = "r" * 32, *, refund_fen: int = 990, **changes: Any) -> dict[str, Any]:
    return {
        "out_trade_no": "a" * 32,
        "out_refund_no": number,
        "reason": "group failed",
        "amount": {"refund": refund_fen, "total": 990, "currency": "CNY"},
    } | changes


async def test_a_user_pays_and_the_shop_is_told_and_can_ask() -> None:
    async with provider() as world:
        prepay_id = await prepaid(world)
        before = await world.pay("GET", query())

        await world.sandbox("POST", f"/pay/{prepay_id}", {"openid": "ann"})

        (heard,) = await world.shop.count(1)
        after = await world.pay("GET", query())
        check_platform_signature(after.headers, after.content)
        assert before.json()["trade_state"] == "NOTPAY"
        assert heard.kind == "TRANSACTION.SUCCESS"
        assert heard.data == after.json()
        assert heard.data["trade_state"] == "SUCCESS"
        assert heard.data["amount"]["payer_total"] == 990
        assert heard.data["success_time"] == "2011-12-05T17:00:00+08:00"
        assert heard.data["mchid"] == keys().merchant_id


async def test_one_number_is_one_order_and_other_terms_are_refused() -> None:
    async with provider() as world:
        first = await prepaid(world)
        again = await prepaid(world)

        other = await world.pay("POST", JSAPI, order(world, total_fen=991))

        assert again == first
        assert (other.status_code, other.json()["code"]) == (403, "OUT_TRADE_NO_USED")
        assert (await world.sandbox("GET", "/state"))["pay"]["prepays"] == 1


async def test_a_combined_payment_captures_each_order_once() -> None:
    async with provider() as world:
        answer = await world.pay("POST", COMBINE, combined_order(world))
        prepay_id = answer.json()["prepay_id"]

        await world.sandbox("POST", f"/pay/{prepay_id}", {"openid": "ann"})

        (heard,) = await world.shop.count(1)
        asked = await world.pay("GET", f"/v3/combine-transactions/out-trade-no/{'c' * 32}")
        parts = heard.data["sub_orders"]
        assert heard.data == asked.json()
        assert [part["amount"]["total_amount"] for part in parts] == [300, 400]
        assert len({part["transaction_id"] for part in parts}) == 2
        back = await world.pay(
            "POST",
            REFUNDS,
            {
                "transaction_id": parts[1]["transaction_id"],
                "out_refund_no": "r1",
                "amount": {"refund": 400, "total": 400, "currency": "CNY"},
            },
        )
        assert back.json()["out_trade_no"] == "y" * 32


async def test_a_combined_payment_is_closed_whole() -> None:
    async with provider() as world:
        prepay_id = (await world.pay("POST", COMBINE, combined_order(world))).json()["prepay_id"]
        close = {
            "combine_appid": keys().app_id,
            "sub_orders": [
                {"mchid": keys().merchant_id, "out_trade_no": name * 32} for name in "xy"
            ],
        }

        closed = await world.pay(
            "POST", f"/v3/combine-transactions/out-trade-no/{'c' * 32}/close", close
        )

        late = await world.client.post(f"/sandbox/pay/{prepay_id}", json={"openid": "ann"})
        assert closed.status_code == 204
        assert (late.status_code, late.json()["code"]) == (409, "ORDER_CLOSED")


async def test_a_closed_order_cannot_be_paid_and_a_paid_one_cannot_be_closed() -> None:
    async with provider() as world:
        path = f"/v3/pay/transactions/out-trade-no/{'a' * 32}/close"
        prepay_id = await prepaid(world)
        merchant = {"mchid": keys().merchant_id}

        closed = [(await world.pay("POST", path, merchant)).status_code for _ in range(2)]
        late = await world.client.post(
            f"/sandbox/pay/{prepay_id}", json={"openid": "ann", "outcome": "late"}
        )
        await paid(world, "b" * 32)
        refused = await world.pay("POST", path.replace("a" * 32, "b" * 32), merchant)

        assert closed == [204, 204]
        assert (late.status_code, late.json()["code"]) == (409, "ORDER_CLOSED")
        assert (refused.status_code, refused.json()["code"]) == (400, "ORDERPAID")


async def test_an_expired_order_is_closed_by_business_time_but_late_money_gets_through() -> None:
    async with provider() as world:
        prepay_id = await prepaid(world)
        await world.move(NOON)

        in_time = await world.client.post(f"/sandbox/pay/{prepay_id}", json={"openid": "ann"})
        late = await world.client.post(
            f"/sandbox/pay/{prepay_id}", json={"openid": "ann", "outcome": "late"}
        )

        (heard,) = await world.shop.count(1)
        assert (in_time.status_code, in_time.json()["code"]) == (409, "ORDER_CLOSED")
        assert late.status_code == 200
        assert heard.data["success_time"] == "2011-12-05T20:00:00+08:00"


async def test_phones_pay_together_and_each_gets_its_own_answer() -> None:
    async with provider() as world:
        one, two = await prepaid(world, "a" * 32), await prepaid(world, "b" * 32)

        answer = await world.sandbox(
            "POST",
            "/pay-many",
            {
                "payments": [
                    {"prepay_id": one, "openid": "ann"},
                    {"prepay_id": two, "openid": "bob"},
                    {"prepay_id": two, "openid": "ann", "outcome": "declined"},
                    {"prepay_id": "wx-none", "openid": "ann"},
                ]
            },
        )

        outcomes = [(item["outcome"], item.get("code")) for item in answer["results"]]
        assert outcomes == [
            ("paid", None),
            ("refused", "OPENID_MISMATCH"),
            ("declined", None),
            ("refused", "ORDER_NOT_EXIST"),
        ]


async def test_a_call_with_a_wrong_signature_is_refused() -> None:
    async with provider() as world:
        target = f"/pay{JSAPI}"
        headers = merchant_headers("POST", target, b"{}")
        stale = headers | {
            "Authorization": headers["Authorization"].replace('timestamp="1', 'timestamp="0')
        }

        forged = await world.client.post(target, content=b'{"a": 1}', headers=headers)
        old = await world.client.post(target, content=b"{}", headers=stale)
        bare = await world.client.post(target, content=b"{}")

        for answer in (forged, old, bare):
            assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


async def test_a_refund_is_one_job_that_ends_in_success_after_a_while() -> None:
    async with provider(refund_seconds=3600) as world:
        await paid(world)
        url = f"{world.shop_url}/v1/webhooks/payments/sandbox"

        first = await world.pay("POST", REFUNDS, refund(notify_url=url))
        again = await world.pay("POST", REFUNDS, refund(notify_url=url))
        await world.move(MORNING + timedelta(hours=1))

        heard = (await world.shop.count(2))[-1]
        asked = await world.pay("GET", f"{REFUNDS}/{'r' * 32}")
        state = await world.sandbox("GET", "/state")
        assert first.json() == again.json()
        assert first.json()["status"] == "PROCESSING"
        assert heard.kind == "REFUND.SUCCESS"
        assert (heard.data["refund_status"], asked.json()["status"]) == ("SUCCESS", "SUCCESS")
        assert state["pay"]["refunded_fen"] == 990


async def test_refunds_never_exceed_what_was_paid() -> None:
    async with provider() as world:
        await paid(world)

        part = await world.pay("POST", REFUNDS, refund("r1", refund_fen=600))
        too_much = await world.pay("POST", REFUNDS, refund("r2", refund_fen=391))
        rest = await world.pay("POST", REFUNDS, refund("r3", refund_fen=390))
        wrong_total = await world.pay(
            "POST", REFUNDS, refund("r4", amount={"refund": 1, "total": 1000, "currency": "CNY"})
        )
        reused = await world.pay("POST", REFUNDS, refund("r1", refund_fen=601))
        unknown = await world.pay("POST", REFUNDS, refund("r5", out_trade_no="n" * 32))

        assert (part.status_code, rest.status_code) == (200, 200)
        assert (too_much.status_code, too_much.json()["code"]) == (400, "INVALID_REQUEST")
        assert (wrong_total.status_code, wrong_total.json()["code"]) == (400, "PARAM_ERROR")
        assert (reused.status_code, reused.json()["code"]) == (400, "INVALID_REQUEST")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "RESOURCE_NOT_EXISTS")


async def test_a_refund_can_turn_abnormal_after_it_was_taken() -> None:
    async with provider(refund_abnormal={"first": 1}) as world:
        await paid(world)
        url = f"{world.shop_url}/v1/webhooks/payments/sandbox"

        taken = await world.pay("POST", REFUNDS, refund(notify_url=url))
        await world.run_dry()

        heard = (await world.shop.count(2))[-1]
        assert taken.json()["status"] == "PROCESSING"
        assert (heard.kind, heard.data["refund_status"]) == ("REFUND.ABNORMAL", "ABNORMAL")


async def test_a_refused_notify_comes_again_with_the_same_id() -> None:
    async with provider() as world:
        world.shop.fail_next = [500, 503]

        await paid(world)

        (heard,) = await world.shop.count(1)
        await world.settled()
        assert world.shop.answered == [500, 503, 202]
        assert heard.data["out_trade_no"] == "a" * 32


@pytest.mark.parametrize(
    ("behaviour", "notifies"),
    [
        ({"notify_never": {"first": 1}}, 0),
        ({"notify_twice": {"first": 1}}, 2),
        ({"notify_tenfold": {"first": 1}}, 10),
    ],
)
async def test_a_notify_comes_never_twice_or_ten_times(
    behaviour: dict[str, Any], notifies: int
) -> None:
    async with provider(**behaviour) as world:
        await paid(world)
        await world.settled()

        assert len(world.shop.heard) == notifies
        assert len({heard.event_id for heard in world.shop.heard}) == min(notifies, 1)


async def test_a_late_notify_waits_for_business_time() -> None:
    async with provider(notify_late={"first": 1, "seconds": 7200}) as world:
        await paid(world)
        time_now = await world.sandbox("GET", "/clock")
        heard_before = len(world.shop.heard)

        await world.move(MORNING + timedelta(hours=2))

        await world.shop.count(1)
        assert heard_before == 0
        assert time_now["next_due_at"] == (MORNING + timedelta(hours=2)).isoformat()


async def test_a_notify_of_a_wrong_amount_and_merchant_precedes_the_right_one() -> None:
    async with provider(wrong_amount={"first": 1}, wrong_merchant={"first": 1}) as world:
        await paid(world)

        heard = await world.shop.count(3)
        assert [item.data["amount"]["total"] for item in heard] == [989, 990, 990]
        assert [item.data["mchid"] == keys().merchant_id for item in heard] == [True, False, True]


async def test_an_answer_can_be_lost_after_the_refund_was_taken() -> None:
    async with provider(answers={"lost": {"first": 1, "only": ["refund"]}}) as world:
        await paid(world)

        with pytest.raises(httpx.RemoteProtocolError):
            await world.pay("POST", REFUNDS, refund())

        asked = await world.pay("GET", f"{REFUNDS}/{'r' * 32}")
        again = await world.pay("POST", REFUNDS, refund())
        assert asked.json()["refund_id"] == again.json()["refund_id"]
        assert (await world.sandbox("GET", "/state"))["pay"]["refunds"] == 1


async def test_an_error_rate_touches_the_stated_share_and_changes_nothing() -> None:
    async with provider() as world:
        await world.sandbox(
            "PUT", "/pay/behaviour", {"answers": {"refused": {"every": 2}, "limited": {"every": 3}}}
        )

        answers = await asyncio.gather(
            *(world.pay("POST", JSAPI, order(world, f"n{number}")) for number in range(12))
        )

        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] * 4 + [429] * 2 + [503] * 6
        assert (await world.sandbox("GET", "/state"))["pay"]["prepays"] == 4
