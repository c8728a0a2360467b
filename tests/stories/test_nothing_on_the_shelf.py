"""Nothing is on the shelf: mugs are bought, and buying more of them is cheaper."""

from tests.stories.catalogue import APPROVAL_LIMIT_FEN, JADE, MUG, MUG_FEN, MUG_PAIR
from tests.stories.shop import Shop


async def test_goods_are_bought_in_the_cheaper_tier_once_a_person_approves(shop: Shop) -> None:
    # Two offices take twenty of the double mugs each; none is on the shelf.
    pair = await shop.pair(MUG_PAIR, "lan", "ming", quantity=20)
    for order in await pair.orders():
        assert (order["state"], order["group_state"]) == ("confirmed", "succeeded")
        assert order["amount_fen"] == 20 * MUG_FEN

    # Seven dozen would do; eight dozen reach the tier that makes them cheaper altogether.
    (order,) = await shop.desk.purchase_orders()
    (line,) = order["lines"]
    assert (order["supplier"], line["sku"], line["ordered_units"]) == (JADE, MUG, 96)
    assert (line["unit_price_fen"], order["total_fen"]) == (2_000, 192_000)
    assert order["total_fen"] < 84 * 2_450
    plan = await shop.desk.plan(order["plan_id"])
    assert (plan["status"], plan["proof"]) == ("optimal", "exact")
    (bought,) = plan["result"]["decision"]["lines"]
    assert bought["tier_from"] == 96
    # 13,800 fen less, and twelve more mugs that may stay unsold at 200 fen each.
    assert "bought 96 because 84 costs 11,400 fen more" in bought["notes"]

    # It costs more than the shop buys by itself, so nothing was sent: a person decides.
    assert order["total_fen"] > APPROVAL_LIMIT_FEN
    assert (order["state"], order["send_state"]) == ("pending_approval", "unsent")
    assert await shop.count("suppliers/jade", "orders") == 0
    judged = await shop.desk.approve(order["id"])
    assert (judged["state"], judged["changed"]) == ("approved", True)
    again = await shop.desk.approve(order["id"])
    assert again["changed"] is False
    await shop.settle()
    order = await shop.desk.purchase_order(order["id"])
    assert (order["state"], order["approved_by"]) == ("sent", "wei")
    assert await shop.count("suppliers/jade", "orders") == 1

    # The supplier accepts. The mugs on their way belong to the group; it still waits for them.
    await shop.pass_time(minutes=15)
    order = await shop.desk.purchase_order(order["id"])
    assert order["state"] == "acknowledged"
    assert order["lines"][0]["open_units"] == 96
    stock = await shop.desk.stock(MUG)
    assert (stock["claimed_units"], stock["taken_seats"]) == (0, 2)
    assert await pair.states() == {"confirmed"}

    # They leave the supplier two days later, and are received on the third.
    await shop.pass_time(days=2)
    assert (await shop.desk.purchase_order(order["id"]))["state"] == "in_transit"
    await shop.pass_time(days=1)
    order = await shop.desk.purchase_order(order["id"])
    assert order["state"] == "received"
    assert order["lines"][0]["good_units"] == 96
    (shelf,) = (await shop.desk.stock(MUG))["warehouses"]
    assert (shelf["on_hand"], shelf["reserved"]) == (96, 80)
    assert await pair.states() == {"allocated"}

    # From here on it is as if they had always been there.
    await shop.pass_time(days=5)
    assert await pair.states() == {"delivered"}
    (shelf,) = (await shop.desk.stock(MUG))["warehouses"]
    assert (shelf["on_hand"], shelf["reserved"]) == (16, 0)
    assert await shop.desk.audit() == []
