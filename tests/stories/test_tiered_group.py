"""The more join, the less everybody pays; what was paid too much goes back to the fen."""

from tests.stories.catalogue import TEA_FEN, TEA_LADDER
from tests.stories.shop import Shop


async def test_a_ladder_gives_back_the_difference_to_the_tier_reached(shop: Shop) -> None:
    lan, ming, hua = [await shop.buyer(name) for name in ("lan", "ming", "hua")]

    # Everybody pays the first tier's price up front.
    lans = await lan.open_group(TEA_LADDER)
    mings = await ming.join(lans, quantity=2)
    huas = await hua.join(lans)
    for buyer, seat, quantity in ((lan, lans, 1), (ming, mings, 2), (hua, huas, 1)):
        assert seat.amount_fen == quantity * TEA_FEN
        await buyer.pay(seat)
    await shop.settle()
    group = await lan.group(lans)
    assert (group["state"], group["paid"], group["next_tier"]["members"]) == ("open", 3, 5)

    # The deadline comes with three members, which is enough: their tier is 6,300 fen.
    await shop.pass_time(hours=25)
    group = await lan.group(lans)
    assert (group["state"], group["final_price_fen"]) == ("succeeded", 6_300)

    # The difference goes back for each piece, and the orders go on as if nothing were.
    await shop.pass_time(minutes=2)
    difference_fen = TEA_FEN - 6_300
    assert (await lan.order(lans))["refunded_fen"] == difference_fen
    assert (await ming.order(mings))["refunded_fen"] == 2 * difference_fen
    assert (await hua.order(huas))["refunded_fen"] == difference_fen
    await shop.pass_time(days=5)
    for buyer, seat in ((lan, lans), (ming, mings), (hua, huas)):
        assert (await buyer.order(seat))["state"] == "delivered"
    assert await shop.desk.audit() == []
