"""Groups that close and money that goes back, against the sandbox provider over HTTP."""

import asyncio

import pytest

from kit.db import transaction
from operations.expire_groups import settle_due
from operations.send_refunds import send_refunds
from payments.provider import close_provider, use_provider
from payments.wechat_client import WechatPay
from tests.store import money_world
from tests.store.money_world import WINDOW_SECONDS, broken, group_row, order_states
from tests.store.provider_world import all_pay, failed_group, members, world
from tests.store.rows import count_of

pytestmark = pytest.mark.usefixtures("store")

# --- closing --------------------------------------------------------------------------


async def test_at_the_deadline_the_provider_is_asked_and_told_to_close() -> None:
    group_id, (ann, bob, cat) = await members(3, capacity=3)
    async with world(notify_never={"every": 2}) as place:
        await _hold_beyond_deadline()
        await all_pay(place, ann, bob)  # bob's is never told
        unpaid = await cat.start()
        await place.pass_time(WINDOW_SECONDS + 2)

        await settle_due()

        assert (await group_row(group_id)).state == "failed"
        refused = await place.phone(unpaid, cat.openid)
        assert refused.status_code == 409
        assert await order_states([ann.order, bob.order, cat.order]) == [
            "refund_due", "refund_due", "released",
        ]  # fmt: skip
        assert await broken() == []


async def test_money_found_while_closing_completes_the_group() -> None:
    group_id, (ann, bob) = await members(2, capacity=2)
    async with world(notify_never={"every": 2}) as place:
        await _hold_beyond_deadline()
        await all_pay(place, ann, bob)
        await place.pass_time(WINDOW_SECONDS + 2)

        await settle_due()

        assert (await group_row(group_id)).state == "succeeded"
        assert await broken() == []


async def _hold_beyond_deadline() -> None:
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "UPDATE buyer_order SET reserved_until = reserved_until + interval '2 days'"
        )


# --- refunds --------------------------------------------------------------------------


async def test_a_failed_groups_members_get_their_money_back_once() -> None:
    _, (ann, bob) = await members(2)
    async with world() as place:
        await failed_group(place, [ann, bob])

        first, second = await asyncio.gather(send_refunds(), send_refunds())
        assert first.sent + second.sent == 2
        assert await order_states([ann.order, bob.order]) == ["refunding", "refunding"]
        await place.pass_time(61)
        await place.told()

        state = (await place.sandbox("GET", "/state"))["pay"]
        assert await order_states([ann.order, bob.order]) == ["refunded", "refunded"]
        assert (state["refunds"], state["refunded_fen"]) == (2, 2000)
        refunded = "SELECT count(*) FROM outbox_message WHERE topic = 'order.refunded'"
        assert await count_of(refunded) == 2
        assert (await send_refunds()).sent == 0
        assert await broken() == []


@pytest.mark.parametrize("fault", ["lost", "refused", "limited", "garbage"])
async def test_a_refund_whose_answer_went_wrong_is_sent_again_under_its_number(
    fault: str,
) -> None:
    _, (ann, bob) = await members(2)
    async with world(answers={fault: {"first": 2, "only": ["refund"]}}) as place:
        await failed_group(place, [ann, bob])

        for _ in range(3):
            await send_refunds()
            await _all_due()
        await place.pass_time(61)
        await place.told()

        state = (await place.sandbox("GET", "/state"))["pay"]
        assert await order_states([ann.order, bob.order]) == ["refunded", "refunded"]
        assert (state["refunds"], state["refunded_fen"]) == (2, 2000)
        assert await broken() == []


async def _all_due() -> None:
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE refund SET due_at = now()")


async def test_an_abnormal_refund_waits_for_a_person_and_blocks_nobody() -> None:
    _, (ann, bob) = await members(2)
    async with world(refund_abnormal={"first": 1}) as place:
        await failed_group(place, [ann, bob])
        await send_refunds()
        await place.pass_time(61)
        await place.told()

        states = await order_states([ann.order, bob.order])
        assert sorted(states) == ["refund_attention", "refunded"]
        assert await count_of("SELECT count(*) FROM refund WHERE last_error = 'ABNORMAL'") == 1
        assert await broken() == []


async def test_an_accepted_refund_nobody_told_us_of_is_found_by_asking() -> None:
    _, (ann, bob) = await members(2)
    async with world() as place:
        await failed_group(place, [ann, bob])
        await close_provider()
        use_provider(
            WechatPay(
                money_world.pay_keys(),
                url=f"{place.sandbox_url}/pay",
                notify_url="http://127.0.0.1:9/nobody",
            )
        )
        await send_refunds()
        await place.pass_time(61)
        assert await order_states([ann.order]) == ["refunding"]
        await _all_due()

        report = await send_refunds()

        assert (report.sent, report.succeeded) == (0, 2)
        assert await order_states([ann.order, bob.order]) == ["refunded", "refunded"]
        assert await broken() == []


async def test_a_refund_nobody_takes_goes_to_a_person_after_all_tries() -> None:
    _, (ann, bob) = await members(2)
    async with world(answers={"refused": {"every": 1, "only": ["refund"]}}) as place:
        await failed_group(place, [ann, bob])
        async with transaction() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("UPDATE refund SET attempts = 9")

        report = await send_refunds()

        assert report.attention == 2
        assert set(await order_states([ann.order, bob.order])) == {"refund_attention"}
        assert await broken() == []
