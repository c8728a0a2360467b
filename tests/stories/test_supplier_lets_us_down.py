"""One supplier refuses, the other delivers too little: who is served, who waits, what is bought."""

from typing import Any

from tests.stories.catalogue import JADE, MUG, MUG_PAIR, REED
from tests.stories.shop import Shop


def _units(order: dict[str, Any]) -> tuple[int, int, int, int]:
    (line,) = order["lines"]
    return (
        line["ordered_units"],
        line["good_units"],
        line["open_units"],
        line["short_closed_units"],
    )


async def test_a_refused_order_is_replaced_and_a_short_one_is_completed(shop: Shop) -> None:
    await shop.misbehave("suppliers/jade", {"reject": {"first": 1, "reason": "kiln_broken"}})
    await shop.misbehave("suppliers/reed", {"short": {"first": 1, "units": 4}})

    # Two pairs want four mugs each. A dozen at jade is cheaper than ten at reed.
    early = await shop.pair(MUG_PAIR, "lan", "ming")
    late = await shop.pair(MUG_PAIR, "hua", "xin")
    (at_jade,) = await shop.desk.purchase_orders()
    assert (at_jade["supplier"], at_jade["state"]) == (JADE, "sent")

    # Jade refuses; the same minute the mugs are ordered at reed, in place of that order.
    await shop.pass_time(minutes=15)
    refused, at_reed = await shop.desk.purchase_orders()
    assert (refused["id"], refused["state"]) == (at_jade["id"], "rejected")
    assert refused["closed_reason"] == "kiln_broken"
    assert (at_reed["supplier"], at_reed["replaces_po_id"]) == (REED, at_jade["id"])
    await shop.pass_time(minutes=15)
    at_reed = await shop.desk.purchase_order(at_reed["id"])
    assert (at_reed["state"], _units(at_reed)) == ("acknowledged", (10, 0, 10, 0))

    # Six of ten come. The pair that completed first has its mugs; of the other one only one
    # member has, and because they ship together, neither leaves.
    await shop.pass_time(days=2, hours=1)
    at_reed = await shop.desk.purchase_order(at_reed["id"])
    assert (at_reed["state"], _units(at_reed)) == ("partially_received", (10, 6, 4, 0))
    assert await early.states() == {"allocated"}
    assert await late.states() == {"allocated", "confirmed"}
    await shop.pass_time(days=1)
    assert await early.states() == {"shipped"}
    assert await late.states() == {"allocated", "confirmed"}
    assert await shop.desk.audit() == []

    # A day and a half after the delivery the four are given up, and bought again; jade has
    # rested, and is asked first.
    await shop.pass_time(days=1)
    _, at_reed, again = await shop.desk.purchase_orders()
    assert (at_reed["state"], at_reed["closed_reason"]) == ("received", "short")
    assert _units(at_reed) == (10, 6, 0, 4)
    assert (again["supplier"], again["state"], _units(again)) == (
        JADE,
        "acknowledged",
        (12, 0, 12, 0),
    )

    # They come three days later; the second pair's parcels leave together, within their promise.
    await shop.pass_time(days=8)
    assert await early.states() == {"delivered"}
    assert await late.states() == {"delivered"}
    orders = await late.orders()
    assert len({order["shipped_at"] for order in orders}) == 1
    assert all(order["shipped_at"] <= order["ship_by"] for order in orders)
    (shelf,) = (await shop.desk.stock(MUG))["warehouses"]
    assert (shelf["on_hand"], shelf["reserved"]) == (6 + 12 - 8, 0)
    assert await shop.desk.audit() == []
