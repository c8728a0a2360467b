"""Answers get lost on the way: nothing is ordered twice, and no parcel has two labels."""

from tests.stories.catalogue import JADE, MUG_PAIR, TEA_PAIR
from tests.stories.shop import Shop


async def test_an_order_whose_answer_is_lost_is_asked_for_and_not_sent_again(shop: Shop) -> None:
    # The supplier takes the order, but its answer gets lost, and the question after it as well.
    lost = {"lost": {"first": 1, "only": ["order"]}, "refused": {"first": 1, "only": ["lookup"]}}
    await shop.misbehave("suppliers/jade", {"answers": lost})

    pair = await shop.pair(MUG_PAIR, "lan", "ming")

    # It may have it or not: nobody else is asked, and nothing is bought a second time.
    (order,) = await shop.desk.purchase_orders()
    assert (order["supplier"], order["state"], order["send_state"]) == (JADE, "approved", "unknown")
    assert await shop.count("suppliers/jade", "orders") == 1

    # Asked again later, the supplier says that it has the order.
    await shop.look_again()
    (order,) = await shop.desk.purchase_orders()
    assert (order["state"], order["send_state"]) == ("sent", "sent")
    assert order["supplier_ref"] is not None
    assert await shop.count("suppliers/jade", "orders") == 1

    await shop.pass_time(days=8)
    assert await pair.states() == {"delivered"}
    assert await shop.count("suppliers/jade", "units_delivered") == 12
    assert await shop.desk.audit() == []


async def test_a_label_whose_answer_is_lost_is_found_and_not_bought_again(shop: Shop) -> None:
    # The carrier sells the label, its answer is lost, and it is too busy for the question after it.
    lost = {"lost": {"first": 1, "only": ["label"]}, "refused": {"first": 1, "only": ["lookup"]}}
    await shop.misbehave("carriers/swift", {"answers": lost})
    pair = await shop.pair(TEA_PAIR, "lan", "ming")

    # At the cut-off the wave does not leave without it: the label is looked for until it is found.
    await shop.pass_time(hours=9)
    assert await shop.count("carriers/swift", "answers_lost") == 1
    assert await shop.count("carriers/swift", "answers_refused") == 1
    assert await shop.count("carriers/swift", "labels") == 2
    assert await shop.count("warehouses/east", "waves") == 1
    parcels = [order["shipment"] for order in await pair.orders()]
    assert {parcel["state"] for parcel in parcels} == {"locked"}
    assert None not in {parcel["tracking_no"] for parcel in parcels}

    await shop.pass_time(days=5)
    assert await shop.count("warehouses/east", "parcels") == 2
    assert await pair.states() == {"delivered"}
    assert await shop.desk.audit() == []


async def test_tracking_that_repeats_itself_and_goes_backwards_ends_delivered(shop: Shop) -> None:
    # Everything is told twice, and "in transit" comes once more an hour after the delivery.
    told = {"repeated": {"every": 1, "after_seconds": 60}, "backwards": {"every": 1}}
    await shop.misbehave("carriers/swift", told)
    pair = await shop.pair(TEA_PAIR, "lan", "ming")

    await shop.pass_time(days=5)

    for order in await pair.orders():
        assert (order["state"], order["shipment"]["tracking"]) == ("delivered", "delivered")
        told_once = [event["status"] for event in order["shipment"]["events"]]
        assert told_once == ["collected", "in_transit", "in_transit", "delivered"]
    assert await shop.desk.audit() == []
