"""Tea that was put aside for buyers breaks in the warehouse before it leaves."""

from tests.stories.catalogue import EAST, JADE, TEA, TEA_PAIR
from tests.stories.people import Buyer, Seat
from tests.stories.shop import Shop

_BROKEN = (
    {"sku": TEA, "units": -3, "bucket": "available", "reason": "broken"},
    {"sku": TEA, "units": 3, "bucket": "held", "reason": "broken"},
)


async def _pair(shop: Shop, *names: str) -> list[tuple[Buyer, Seat]]:
    """Let two people buy five teas each."""
    first, second = [await shop.buyer(name) for name in names]
    opened = await first.open_group(TEA_PAIR, quantity=5)
    joined = await second.join(opened, quantity=5)
    for buyer, seat in ((first, opened), (second, joined)):
        await buyer.pay(seat)
    await shop.settle()
    return [(first, opened), (second, joined)]


async def _states(pair: list[tuple[Buyer, Seat]]) -> set[str]:
    return {(await buyer.order(seat))["state"] for buyer, seat in pair}


async def test_the_group_that_completed_last_waits_for_new_tea(shop: Shop) -> None:
    # The twenty teas on the shelf are just enough for two pairs.
    early = await _pair(shop, "lan", "ming")
    await shop.pass_time(minutes=30)
    late = await _pair(shop, "hua", "xin")
    assert await _states(early) | await _states(late) == {"allocated"}

    # Three break. The warehouse says so, and nothing is clamped: the shortage is there to see.
    await shop.pass_time(minutes=30)
    await shop.companies.post(f"/sandbox/warehouses/{EAST}/changes", {"changes": list(_BROKEN)})
    await shop.settle()
    stock = await shop.desk.stock(TEA)
    (shelf,) = stock["warehouses"]
    assert (shelf["on_hand"], shelf["held"], shelf["reserved"], shelf["free"]) == (20, 3, 20, -3)
    (shortage,) = stock["discrepancies"]
    assert (shortage["kind"], shortage["units"]) == ("shortage", 3)

    # The next look at what waits plans the second pair anew: what is missing is bought.
    await shop.look_again()
    stock = await shop.desk.stock(TEA)
    assert stock["discrepancies"] == []
    (order,) = await shop.desk.purchase_orders()
    assert (order["supplier"], order["lines"][0]["ordered_units"]) == (JADE, 12)
    assert await _states(early) == {"allocated"}
    assert "confirmed" in await _states(late)

    # The first pair's parcels leave today; the second pair waits for the new tea, as one.
    await shop.pass_time(hours=12)
    assert await _states(early) == {"shipped"}
    assert "shipped" not in await _states(late)
    await shop.pass_time(days=6)
    assert await _states(early) == {"delivered"}
    assert await _states(late) == {"delivered"}

    # What broke lies where it was put; nobody was sent any of it.
    (shelf,) = (await shop.desk.stock(TEA))["warehouses"]
    assert (shelf["on_hand"], shelf["held"], shelf["reserved"]) == (20 + 12 - 20, 3, 0)
    assert await shop.desk.audit() == []
