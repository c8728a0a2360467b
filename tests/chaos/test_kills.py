"""kill -9 of each process while people buy: nothing is lost, nothing is doubled.

What survives is in Postgres; whoever dies is started again by the supervisor and finds its work
there. Customers repeat what they do not know with the key they asked with first.
"""

import pytest

from tests.chaos.shop import BOUGHT, Shop, rows
from tests.chaos.waiting import eventually
from tests.stories.catalogue import JADE, MUG_PAIR, REED, SWIFT, TEA_PAIR

pytestmark = [pytest.mark.kills_servers, pytest.mark.timeout(240)]

_PAIRS = 30
# Answers until everybody is served: two log-ins, two seats and two payments a pair.
_ANSWERS = 6 * _PAIRS
_EARLY, _LATE = _ANSWERS // 3, 2 * _ANSWERS // 3


@pytest.mark.parametrize("part", ["api", "postgres"])
async def test_who_takes_orders_is_killed_twice_while_people_buy(shop: Shop, part: str) -> None:
    crowd = shop.crowd(part, TEA_PAIR, MUG_PAIR, kills={_EARLY: part, _LATE: part})

    await crowd.buy(pairs=_PAIRS)
    await shop.until_all(crowd, BOUGHT)

    assert [name for name, _ in crowd.killed] == [part, part]
    assert len({pid for _, pid in crowd.killed}) == 2
    assert crowd.repeated > 0
    await shop.check(crowd)


async def test_the_clerk_is_killed_twice_while_people_buy(shop: Shop) -> None:
    crowd = shop.crowd("clerk", TEA_PAIR, MUG_PAIR, kills={_EARLY: "clerk", _LATE: "clerk"})

    await crowd.buy(pairs=_PAIRS)
    # Everything between a payment and the goods went through its hands.
    await shop.until_covered(crowd)

    assert len({pid for _, pid in crowd.killed}) == 2
    await shop.check(crowd)


async def test_the_flow_runner_is_killed_while_it_sends_orders(shop: Shop) -> None:
    crowd = shop.crowd("senders", MUG_PAIR)
    suppliers = (f"suppliers/{JADE}", f"suppliers/{REED}")
    before = [await shop.count(supplier, "orders") for supplier in suppliers]
    for supplier in suppliers:
        await shop.misbehave(supplier, answers={"slow": {"only": ["order"]}})

    async def one_has_it() -> bool:
        return [await shop.count(supplier, "orders") for supplier in suppliers] != before

    # A supplier has the order, and its answer is on its way, byte by byte.
    await crowd.buy(pairs=_PAIRS)
    await eventually("a supplier has an order", one_has_it, within_seconds=60)
    shop.house.kill("runner")
    for supplier in suppliers:
        await shop.misbehave(supplier)
    doubled = await shop.start_run("replenish")

    async def all_are_sent() -> bool:
        found = await rows("SELECT state, send_state FROM purchase_order")
        return all(row.send_state == "sent" for row in found)

    await eventually("every order is known to be sent", all_are_sent, within_seconds=60)
    assert await shop.ended(doubled) == "COMPLETED"
    await shop.until_all(crowd, BOUGHT)
    ((ours,),) = await rows("SELECT count(*) FROM purchase_order")
    assert ours == sum([await shop.count(supplier, "orders") for supplier in suppliers])
    await shop.check(crowd)


async def test_the_flow_runner_is_killed_while_it_buys_labels(shop: Shop) -> None:
    crowd = shop.crowd("labels", TEA_PAIR)
    carrier = f"carriers/{SWIFT}"
    before = await shop.count(carrier, "labels")
    await shop.misbehave(carrier, answers={"slow": {"only": ["label"]}})

    async def one_is_made() -> bool:
        return await shop.count(carrier, "labels") > before

    # The cut-off has come, and the carrier has made labels that nobody knows of yet.
    await crowd.buy(pairs=_PAIRS)
    await shop.until("the carrier makes labels", one_is_made)
    shop.house.kill("runner")
    await shop.misbehave(carrier)
    doubled = await shop.start_run("ship")

    assert await shop.ended(doubled) == "COMPLETED"
    await shop.until_all(crowd, ("shipped", "delivered"))
    ((ours, distinct),) = await rows(
        "SELECT count(*), count(DISTINCT label_id) FROM shipment WHERE label_id IS NOT NULL"
    )
    voided = await shop.count(carrier, "labels_voided")
    assert ours == distinct == await shop.count(carrier, "labels") - voided
    await shop.check(crowd)


async def test_everything_is_killed_at_once(shop: Shop) -> None:
    crowd = shop.crowd("last", TEA_PAIR)
    await crowd.buy(pairs=_PAIRS)

    for part in ("runner", "clerk", "api", "postgres"):
        shop.house.kill(part)

    await shop.until_covered(crowd)
    await shop.check(crowd)
