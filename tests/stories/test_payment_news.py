"""What the provider tells of a payment comes never, ten times, or wrong: the money counts once."""

from typing import Any

import pytest

from tests.stories.catalogue import TEA_FEN, TEA_PAIR
from tests.stories.shop import Shop


async def test_a_payment_that_nobody_tells_us_of_is_found_by_asking(shop: Shop) -> None:
    await shop.misbehave("pay", {"notify_never": {"first": 1}})
    lan = await shop.buyer("lan")
    seat = await lan.open_group(TEA_PAIR)
    await lan.pay(seat)
    await shop.settle()
    assert (await lan.order(seat))["state"] == "reserved"

    # A minute later the shop asks by itself.
    await shop.pass_time(minutes=2)

    assert (await lan.order(seat))["state"] == "paid"
    assert (await lan.group(seat))["state"] == "open"
    assert await shop.desk.audit() == []


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param({"notify_tenfold": {"every": 1}}, id="ten times at once"),
        pytest.param({"wrong_amount": {"every": 1}}, id="a fen less first"),
        pytest.param({"wrong_merchant": {"every": 1}}, id="for another shop first"),
    ],
)
async def test_what_is_told_too_often_or_wrong_changes_nothing(
    shop: Shop, behaviour: dict[str, Any]
) -> None:
    await shop.misbehave("pay", behaviour)

    pair = await shop.pair(TEA_PAIR, "lan", "ming")

    assert await pair.states() == {"allocated"}
    assert await shop.count("pay", "captured_fen") == 2 * TEA_FEN
    assert await shop.count("pay", "notifies") > 2
    await shop.pass_time(days=5)
    assert await pair.states() == {"delivered"}
    assert [order["refunded_fen"] for order in await pair.orders()] == [0, 0]
    assert await shop.desk.audit() == []
