"""Two people buy tea together, and everything is on the shelf: the shortest way to a parcel."""

from tests.stories.catalogue import EAST, SWIFT, TEA, TEA_FEN, TEA_PAIR, TEA_TRIO
from tests.stories.shop import Shop


async def test_a_pair_joins_pays_and_gets_its_parcels(shop: Shop) -> None:
    lan, ming = await shop.buyer("lan"), await shop.buyer("ming")

    # Lan opens a group; her seat is held for a quarter of an hour, and nobody sees the group yet.
    lans = await lan.open_group(TEA_PAIR)
    assert (await lan.order(lans))["state"] == "reserved"
    assert (await lan.group(lans))["state"] == "draft"

    # She pays, the provider tells the shop, and the group is open for one more.
    await lan.pay(lans)
    await shop.settle()
    assert (await lan.order(lans))["state"] == "paid"
    group = await lan.group(lans)
    assert (group["state"], group["paid"], group["missing"]) == ("open", 1, 1)

    # Ming joins. He also opens a group of three, and pays for both seats at once.
    mings = await ming.join(lans)
    trio = await ming.open_group(TEA_TRIO)
    await ming.pay(mings, trio)
    await shop.settle()

    # The pair has succeeded, nobody else gets in; the group of three still waits.
    group = await ming.group(mings)
    assert (group["state"], group["paid"]) == ("succeeded", 2)
    late = await (await shop.buyer("hua")).try_to_join(lans)
    assert (late.status, late.code) == (409, "group_closed")
    assert (await ming.group(trio))["state"] == "open"

    # The pair's tea is put aside at once, and its parcels are planned for today's cut-off.
    for buyer, seat in ((lan, lans), (ming, mings)):
        order = await buyer.order(seat)
        assert (order["state"], order["amount_fen"]) == ("allocated", TEA_FEN)
        assert (order["shipment"]["state"], order["shipment"]["carrier"]) == ("planned", SWIFT)
    stock = await shop.desk.stock(TEA)
    assert stock["warehouses"] == [
        {"warehouse": EAST, "on_hand": 20, "held": 0, "reserved": 2, "free": 18}
    ]
    assert (stock["claimed_units"], stock["taken_seats"]) == (1, 3)

    # At six the wave is closed: labels are bought, and the warehouse gets its list.
    await shop.pass_time(hours=9)
    order = await lan.order(lans)
    assert (order["state"], order["shipment"]["state"]) == ("allocated", "locked")
    assert order["shipment"]["tracking_no"] is not None
    assert await shop.count("carriers/swift", "labels") == 2
    assert await shop.count("warehouses/east", "waves") == 1

    # Two hours later the parcels have left, and only now the tea is gone from the books.
    await shop.pass_time(hours=3)
    order = await lan.order(lans)
    assert (order["state"], order["shipment"]["state"]) == ("shipped", "shipped")
    assert order["shipment"]["tracking"] == "collected"
    stock = await shop.desk.stock(TEA)
    assert stock["warehouses"] == [
        {"warehouse": EAST, "on_hand": 18, "held": 0, "reserved": 0, "free": 18}
    ]

    # The carrier reports on the way, and delivers.
    await shop.pass_time(days=4)
    for buyer, seat in ((lan, lans), (ming, mings)):
        order = await buyer.order(seat)
        assert (order["state"], order["shipment"]["state"]) == ("delivered", "delivered")
        told = [event["status"] for event in order["shipment"]["events"]]
        assert told == ["collected", "in_transit", "delivered"]

    # Nobody joined Ming's other group. Of the payment made at once, only its part went back.
    order = await ming.order(trio)
    assert (order["state"], order["refunded_fen"]) == ("refunded", TEA_FEN)
    assert (await ming.order(mings))["refunded_fen"] == 0
    assert await shop.desk.audit() == []
