"""Tea that was put aside for buyers breaks in the warehouse before it leaves."""

from tests.stories.catalogue import EAST, JADE, TEA, TEA_PAIR
from tests.stories.shop import Shop

_BROKEN = (
    {"sku": TEA, "units": -3, "bucket": "available", "reason": "broken"},
    {"sku": TEA, "units": 3, "bucket": "held", "reason": "broken"},
)


async def test_the_group_that_completed_last_waits_for_new_tea(shop: Shop) -> None:
    # The twenty teas on the shelf are just enough for two pairs who want five each.
    early = await shop.pair(TEA_PAIR, "lan", "ming", quantity=5)
    await shop.pass_time(minutes=30)
    late = await shop.pair(TEA_PAIR, "hua", "xin", quantity=5)
    assert await early.states() | await late.states() == {"allocated"}

    # Three break. The warehouse says so, nothing is clamped, and at once the second pair is
    # planned anew: what is missing is bought.
    await shop.pass_time(minutes=30)
    await shop.companies.post(f"/sandbox/warehouses/{EAST}/changes", {"changes": list(_BROKEN)})
    await shop.settle()
    stock = await shop.desk.stock(TEA)
    (shelf,) = stock["warehouses"]
    assert (shelf["on_hand"], shelf["held"], shelf["reserved"], shelf["free"]) == (20, 3, 15, 2)
    assert stock["discrepancies"] == []
    (order,) = await shop.desk.purchase_orders()
    assert (order["supplier"], order["lines"][0]["ordered_units"]) == (JADE, 12)
    assert await early.states() == {"allocated"}
    assert "confirmed" in await late.states()

    # The first pair's parcels leave today; the second pair waits for the new tea, as one.
    await shop.pass_time(hours=12)
    assert await early.states() == {"shipped"}
    assert "shipped" not in await late.states()
    await shop.pass_time(days=6)
    assert await early.states() == {"delivered"}
    assert await late.states() == {"delivered"}

    # What broke lies where it was put; nobody was sent any of it.
    (shelf,) = (await shop.desk.stock(TEA))["warehouses"]
    assert (shelf["on_hand"], shelf["held"], shelf["reserved"]) == (20 + 12 - 20, 3, 0)
    assert await shop.desk.audit() == []
