"""Money comes after its seat is gone: a free seat is taken again, otherwise it goes back."""

from dataclasses import dataclass

from tests.stories.catalogue import SEAT_SECONDS, TEA, TEA_FEN, TEA_PAIR
from tests.stories.people import Bill, Buyer, Seat
from tests.stories.shop import Shop


@dataclass(frozen=True, slots=True, kw_only=True)
class _TooLate:
    """Lan has paid in a group of two; Ming held the other seat, and did not pay in time."""

    lan: Buyer
    lans: Seat
    ming: Buyer
    mings: Seat
    bill: Bill


async def _too_late(shop: Shop) -> _TooLate:
    lan, ming = await shop.buyer("lan"), await shop.buyer("ming")
    lans = await lan.open_group(TEA_PAIR)
    await lan.pay(lans)
    await shop.settle()
    mings = await ming.join(lans)
    bill = await ming.bill(mings)
    await shop.pass_time(minutes=SEAT_SECONDS / 60 + 1)
    assert (await ming.order(mings))["state"] == "released"
    assert (await lan.group(lans))["missing"] == 1
    return _TooLate(lan=lan, lans=lans, ming=ming, mings=mings, bill=bill)


async def test_late_money_takes_a_free_seat_again(shop: Shop) -> None:
    too_late = await _too_late(shop)
    ming, mings = too_late.ming, too_late.mings

    # He had confirmed in time, but his bank was slow. The seat is still free: it is his again.
    await ming.confirm(too_late.bill, outcome="late")
    await shop.settle()
    assert (await ming.group(mings))["state"] == "succeeded"
    order = await ming.order(mings)
    assert (order["state"], order["refunded_fen"]) == ("allocated", 0)
    assert (await shop.desk.stock(TEA))["taken_seats"] == 2

    await shop.pass_time(days=5)
    assert (await ming.order(mings))["state"] == "delivered"
    assert (await too_late.lan.order(too_late.lans))["state"] == "delivered"
    assert await shop.desk.audit() == []


async def test_late_money_goes_back_when_the_group_is_full(shop: Shop) -> None:
    too_late = await _too_late(shop)
    ming, mings = too_late.ming, too_late.mings

    # Hua takes the free seat and pays; then Ming's money comes after all.
    hua = await shop.buyer("hua")
    huas = await hua.join(too_late.lans)
    await hua.pay(huas)
    await shop.settle()
    assert (await hua.group(huas))["state"] == "succeeded"
    await ming.confirm(too_late.bill, outcome="late")
    await shop.settle()

    # The group is Lan's and Hua's. Ming has no seat, and his money is back a minute later.
    assert (await hua.group(huas))["paid"] == 2
    await shop.pass_time(minutes=2)
    order = await ming.order(mings)
    assert (order["state"], order["refunded_fen"]) == ("released", TEA_FEN)
    assert (await shop.desk.stock(TEA))["taken_seats"] == 2

    await shop.pass_time(days=5)
    assert (await hua.order(huas))["state"] == "delivered"
    assert await shop.desk.audit() == []
