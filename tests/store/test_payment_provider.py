"""Our client, routes and acts against the sandbox provider, all over real HTTP."""

import asyncio
import base64
import os
import time
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kit.db import transaction
from kit.ids import new_id
from operations.expire_groups import release_expired
from operations.poll_payments import poll_payments
from operations.send_refunds import send_refunds
from operations.start_payment import NoSuchOrder, NotPayable, WrongOrders, start_payment
from payments.provider import close_provider, use_provider
from payments.wechat_client import ProviderDown, ProviderRefused, WechatPay
from sandbox.keys import generate_keys
from tests.store import money_world
from tests.store.groups_world import add_token, bearer
from tests.store.money_world import (
    TTL_SECONDS,
    add_group,
    broken,
    group_row,
    on_sale,
    order_states,
    pass_time,
    sit_down,
)
from tests.store.provider_world import NOTIFY, Member, all_pay, members, world
from tests.store.rows import count_of, sql

pytestmark = pytest.mark.usefixtures("store")
# --- paying ---------------------------------------------------------------------------


async def test_members_pay_with_their_phones_and_the_group_succeeds() -> None:
    group_id, (ann, bob) = await members(2, capacity=2)
    async with world() as place:
        first, again = await ann.start(), await ann.start()
        assert first.payment_id == again.payment_id
        assert first.pay_params["package"] == again.pay_params["package"]
        assert set(first.pay_params) == {
            "appId", "timeStamp", "nonceStr", "package", "signType", "paySign",
        }  # fmt: skip

        await all_pay(place, ann, bob)

        assert (await group_row(group_id)).state == "succeeded"
        assert await order_states([ann.order, bob.order]) == ["confirmed", "confirmed"]
        assert await count_of("SELECT count(*) FROM payment WHERE state = 'captured'") == 2
        assert await broken() == []


async def test_starting_at_the_same_moment_starts_once() -> None:
    _, (ann,) = await members(1)
    async with world() as place:
        started = await asyncio.gather(*(ann.start() for _ in range(5)))

        assert len({one.payment_id for one in started}) == 1
        assert len({one.pay_params["package"] for one in started}) == 1
        assert (await place.sandbox("GET", "/state"))["pay"]["prepays"] == 1


async def test_one_combined_payment_pays_two_groups_and_another_choice_replaces_it() -> None:
    _, (ann,) = await members(1, sku="tea")
    async with transaction() as session:
        mug = await on_sale(session, sku="mug")
        group_id = await add_group(session, mug)
        second = await sit_down(session, group_id, user_id=ann.order.user_id)
    both = [ann.order.id, second.id]
    async with world() as place:
        alone = await ann.start()
        together = await start_payment(user_id=ann.order.user_id, order_ids=both)
        assert together.payment_id != alone.payment_id
        refused = await place.phone(alone, ann.openid)
        assert refused.status_code == 409

        await place.phone(together, ann.openid)
        await place.told()

        assert await order_states([ann.order, second]) == ["paid", "paid"]
        states = await sql("SELECT state FROM payment ORDER BY id")
        assert [row[0] for row in states] == ["closed", "captured"]
        with pytest.raises(NotPayable):
            await ann.start()
        assert await broken() == []


async def test_what_cannot_be_paid_is_refused_before_the_provider_hears_of_it() -> None:
    _, (ann,) = await members(1)
    async with world() as place:
        for order_ids in ([], [ann.order.id] * 2, [new_id() for _ in range(11)]):
            with pytest.raises(WrongOrders):
                await start_payment(user_id=ann.order.user_id, order_ids=order_ids)
        with pytest.raises(NoSuchOrder):
            await start_payment(user_id=new_id(), order_ids=[ann.order.id])
        await place.pass_time(TTL_SECONDS + 1)
        with pytest.raises(NotPayable):
            await ann.start()

        assert (await place.sandbox("GET", "/state"))["pay"].get("prepays", 0) == 0


@pytest.mark.parametrize(
    "fault", [{"lost": {"first": 1}}, {"refused": {"first": 1}}, {"garbage": {"first": 1}}]
)
async def test_a_bad_answer_to_a_prepay_leaves_one_payment_that_can_be_started_again(
    fault: dict[str, Any],
) -> None:
    _, (ann,) = await members(1)
    async with world(answers=fault) as place:
        try:
            started = await ann.start()
        except ProviderDown:
            started = await ann.start()

        await place.phone(started, ann.openid)
        await place.told()

        assert (await place.sandbox("GET", "/state"))["pay"]["prepays"] == 1
        assert await count_of("SELECT count(*) FROM payment") == 1
        assert await order_states([ann.order]) == ["paid"]


async def test_answers_of_a_stranger_are_not_believed() -> None:
    _, (ann,) = await members(1)
    async with world() as place:
        stranger = msgspec.structs.replace(
            money_world.pay_keys(), platform_public_key=generate_keys().platform_public_key
        )
        await close_provider()
        use_provider(
            WechatPay(stranger, url=f"{place.sandbox_url}/pay", notify_url=place.api_url + NOTIFY)
        )

        with pytest.raises(ProviderDown, match="not believed"):
            await ann.start()


async def test_a_refusal_of_the_provider_is_told_as_one() -> None:
    _, (ann,) = await members(1)
    async with world() as place:
        foreign = msgspec.structs.replace(money_world.pay_keys(), app_id="wx0000000000000000")
        await close_provider()
        use_provider(
            WechatPay(foreign, url=f"{place.sandbox_url}/pay", notify_url=place.api_url + NOTIFY)
        )

        with pytest.raises(ProviderRefused) as refused:
            await ann.start()
        assert refused.value.reason == "APPID_MCHID_NOT_MATCH"


# --- notifies -------------------------------------------------------------------------


async def test_money_told_ten_times_and_wrongly_before_is_booked_once() -> None:
    _, (ann,) = await members(1)
    behaviour = {
        "notify_tenfold": {"first": 1},
        "wrong_amount": {"first": 1},
        "wrong_merchant": {"first": 1},
    }
    async with world(**behaviour) as place:
        await all_pay(place, ann)

        reasons = await sql("SELECT reason FROM payment_anomaly ORDER BY reason")
        assert [row[0] for row in reasons] == ["wrong amount", "wrong merchant"]
        assert await count_of("SELECT count(*) FROM ledger_transaction") == 1
        assert await count_of("SELECT count(*) FROM inbox_message") == 1
        assert await order_states([ann.order]) == ["paid"]
        assert await broken() == []


def notify(*, age_seconds: int = 0, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """Make a notify as the provider would, but for what is changed."""
    keys = money_world.keys()
    nonce = base64.b64encode(os.urandom(9))
    inside = msgspec.json.encode({"appid": "x"})
    sealed = AESGCM(keys.apiv3_key.encode()).encrypt(nonce, inside, b"transaction")
    body = msgspec.json.encode(
        {
            "id": "n-1",
            "event_type": "TRANSACTION.SUCCESS",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": base64.b64encode(sealed).decode(),
                "nonce": nonce.decode(),
                "associated_data": "transaction",
            },
        }
        | changes
    )
    timestamp = str(int(time.time()) - age_seconds)
    key: Any = load_pem_private_key(keys.platform_private_key.encode(), password=None)
    message = f"{timestamp}\nn0nce\n".encode() + body + b"\n"
    return body, {
        "content-type": "application/json",
        "wechatpay-serial": keys.platform_serial,
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": "n0nce",
        "wechatpay-signature": base64.b64encode(
            key.sign(message, padding.PKCS1v15(), SHA256())
        ).decode(),
    }


async def test_what_is_not_proven_is_answered_alike_and_keeps_nothing() -> None:
    body, headers = notify()
    stale, stale_headers = notify(age_seconds=301)
    bad_seal, bad_seal_headers = notify(
        resource={"algorithm": "AEAD_AES_256_GCM", "ciphertext": "AAAA", "nonce": "abcdefghijkl"}
    )
    no_notify, no_notify_headers = notify(id=7)
    async with world() as place:
        attempts = [
            (NOTIFY, body, {"content-type": "application/json"}),
            (NOTIFY, body + b" ", headers),
            (NOTIFY, body, headers | {"wechatpay-serial": "0000"}),
            (NOTIFY, body, headers | {"wechatpay-signature": "!"}),
            (NOTIFY, body, headers | {"wechatpay-timestamp": "soon"}),
            (NOTIFY, stale, stale_headers),
            (NOTIFY, bad_seal, bad_seal_headers),
            (NOTIFY, no_notify, no_notify_headers),
            (NOTIFY.replace("sandbox", "nobody"), body, headers),
        ]
        answers = [
            await place.client.post(place.api_url + path, content=sent, headers=given)
            for path, sent, given in attempts
        ]
        strange = await place.client.post(place.api_url + NOTIFY, content=body, headers=headers)

        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json() == {"code": "FAIL", "message": "not believed"}
        # Proven, but about nothing we know: recorded.
        assert strange.status_code == 422
        assert await count_of("SELECT count(*) FROM payment_anomaly") == 1
        assert await count_of("SELECT count(*) FROM inbox_message") == 0


async def test_money_nobody_told_us_of_is_found_by_asking() -> None:
    _, (ann,) = await members(1)
    async with world(notify_never={"every": 1}) as place:
        await all_pay(place, ann)
        assert await poll_payments() == 0
        await place.pass_time(61)

        assert await poll_payments() == 1

        assert await order_states([ann.order]) == ["paid"]
        assert await poll_payments() == 0
        assert await broken() == []


async def test_an_unpaid_attempt_is_asked_about_four_times_and_closed() -> None:
    _, (ann,) = await members(1)
    async with world() as place:
        await ann.start()
        asked = []
        for minutes in (1, 3, 10, 30):
            created = (await sql("SELECT created_at, kit_now() FROM payment"))[0]
            due = created[0] + timedelta(minutes=minutes, seconds=1) - created[1]
            await place.pass_time(due.total_seconds())
            asked.append(await poll_payments())

        ((state, polls),) = await sql("SELECT state, polls FROM payment")
        assert asked[:3] == [1, 1, 1]
        assert state == "closed"
        assert polls == 4
        assert await release_expired() == 1
        assert await poll_payments() == 0


async def test_late_money_after_release_comes_back_to_the_payer() -> None:
    _, (ann, bob) = await members(2, capacity=2)
    async with world(notify_late={"only": [], "every": 2, "seconds": 1800}) as place:
        await all_pay(place, ann, bob)  # bob's notify waits
        await pass_time(TTL_SECONDS + 1)
        await release_expired()
        # Somebody else takes the seat and pays.
        async with transaction() as session:
            cat = await sit_down(session, ann.order.group_id)
        openid = (await sql("SELECT openid FROM buyer WHERE id = :id", id=cat.user_id))[0][0]
        await place.sandbox("PUT", "/pay/behaviour", {})
        await all_pay(place, Member(order=cat, openid=openid))
        await place.pass_time(900)
        await place.told()

        assert await order_states([ann.order, bob.order, cat]) == [
            "confirmed", "released", "confirmed",
        ]  # fmt: skip
        report = await send_refunds()
        assert (report.sent, report.accepted) == (1, 1)
        await place.pass_time(61)
        await place.told()
        assert await count_of("SELECT count(*) FROM refund WHERE state = 'succeeded'") == 1
        assert (await place.sandbox("GET", "/state"))["pay"]["refunded_fen"] == 1000
        assert await broken() == []


# --- over the API ---------------------------------------------------------------------


async def test_a_buyer_pays_reads_and_gives_up_orders_over_http() -> None:
    token, user_id = await add_token("ann")
    async with transaction() as session:
        shop = await on_sale(session)
        group_id = await add_group(session, shop)
        order = await sit_down(session, group_id, user_id=user_id)
    async with world() as place:
        url = place.api_url

        async def post(path: str, body: Any, key: str) -> httpx.Response:
            return await place.client.post(url + path, json=body, headers=bearer(token, key=key))

        asked = {"order_ids": [str(order.id)]}
        started = await post("/v1/payments", asked, "pay-1")
        again = await post("/v1/payments", asked, "pay-1")
        other = await post("/v1/payments", {"order_ids": [str(new_id())]}, "pay-1")
        unknown = await post("/v1/payments", {"order_ids": [str(new_id())]}, "pay-2")
        assert started.status_code == 201, started.text
        assert again.json() == started.json()
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reuse")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")

        prepay_id = started.json()["pay_params"]["package"].removeprefix("prepay_id=")
        openid = (await sql("SELECT openid FROM buyer WHERE id = :id", id=user_id))[0][0]
        await place.sandbox("POST", f"/pay/{prepay_id}", {"openid": openid})
        await place.told()

        mine = await place.client.get(f"{url}/v1/orders", headers=bearer(token))
        one = await place.client.get(f"{url}/v1/orders/{order.id}", headers=bearer(token))
        same = await place.client.get(
            f"{url}/v1/orders/{order.id}",
            headers=bearer(token) | {"If-None-Match": one.headers["etag"]},
        )
        assert [row["state"] for row in mine.json()["orders"]] == ["paid"]
        assert one.json()["amount_fen"] == 1000
        assert same.status_code == 304

        stranger, _ = await add_token("bob")
        theirs = await place.client.get(f"{url}/v1/orders/{order.id}", headers=bearer(stranger))
        assert theirs.status_code == 404

        left = await post(f"/v1/orders/{order.id}/cancel", {}, "leave")
        assert left.status_code == 200, left.text
        assert (await post(f"/v1/orders/{order.id}/cancel", {}, "leave")).json() == left.json()
        assert left.json()["state"] == "refund_due"
        assert await broken() == []
