"""A group of three finds only two who pay: everybody gets everything back."""

from tests.stories.catalogue import SEAT_SECONDS, TEA, TEA_FEN, TEA_TRIO
from tests.stories.shop import Shop


async def test_a_group_that_stays_short_gives_all_money_back(shop: Shop) -> None:
    before = await shop.desk.stock(TEA)
    lan, ming, hua = [await shop.buyer(name) for name in ("lan", "ming", "hua")]
    lans = await lan.open_group(TEA_TRIO)
    mings = await ming.join(lans, quantity=3)
    huas = await hua.join(lans)
    await lan.pay(lans)
    await ming.pay(mings)
    await shop.settle()

    # Hua does not pay: her seat is free again after a quarter of an hour.
    await shop.pass_time(minutes=SEAT_SECONDS / 60 + 1)
    order = await hua.order(huas)
    assert (order["state"], order["closed_reason"]) == ("released", "expired")
    group = await lan.group(lans)
    assert (group["paid"], group["held"], group["missing"]) == (2, 0, 1)

    # Nobody else comes before the deadline.
    await shop.pass_time(hours=24)
    assert (await lan.group(lans))["state"] == "failed"
    refunds = {"lan": await lan.order(lans), "ming": await ming.order(mings)}
    assert {order["state"] for order in refunds.values()} <= {"refund_due", "refunding", "refunded"}

    # The provider takes the refunds, and says a minute later that they have arrived.
    await shop.pass_time(minutes=2)
    assert (await lan.order(lans))["refunded_fen"] == TEA_FEN
    assert (await ming.order(mings))["refunded_fen"] == 3 * TEA_FEN
    for buyer, seat in ((lan, lans), (ming, mings)):
        assert (await buyer.order(seat))["state"] == "refunded"
    assert await shop.count("pay", "refunds") == 2

    # The seats and the tea are free for others, and a late visitor is told so.
    after = await shop.desk.stock(TEA)
    assert (after["claimed_units"], after["taken_seats"]) == (0, 0)
    assert after["units_left"] == before["units_left"]
    answer = await hua.try_to_join(lans)
    assert (answer.status, answer.code) == (409, "group_closed")
    assert await shop.desk.audit() == []
