"""One house for all tests of this folder; it is opened again after a test that closed it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Final

import pytest

from caravan.http_client import Client
from groups.sessions import ops_token
from kit.db import make_engine, transaction, use_engine
from kit.servers.quarters import discard
from tests.chaos.house import House
from tests.chaos.shop import Shop
from tests.chaos.waiting import eventually
from tests.stories.catalogue import EAST, TEA

_ON_THE_SHELF: Final = 1_000


@pytest.fixture(scope="session")
def one_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.close()
    for server in ("postgres", "valkey"):
        discard(house.home / server)


@pytest.fixture
def house(one_house: House) -> House:
    """Return a house in which everything runs."""
    if not one_house.is_open:
        one_house.open()
    return one_house


@pytest.fixture
async def shop(house: House) -> AsyncIterator[Shop]:
    """Return the shop in the house, with tea on its shelf."""
    addresses = house.addresses
    async with AsyncExitStack() as stack:
        engine = make_engine(addresses.database_url, pool_size=2, application="caravan-chaos")
        use_engine(engine)
        stack.push_async_callback(engine.dispose)
        stack.callback(use_engine, None)
        clients = [
            Client(url)
            for url in (addresses.api_url, str(addresses.sandbox_url), addresses.prefect_api_url)
        ]
        for client in clients:
            stack.push_async_callback(client.aclose)
        api, companies, prefect = clients
        async with transaction() as session:
            token = await ops_token(session, "wei")
        page = await api.get("/v1/campaigns", token=token)
        shop = Shop(
            house=house,
            api=api,
            companies=companies,
            prefect=prefect,
            token=token,
            campaigns={campaign["code"]: campaign["id"] for campaign in page["campaigns"]},
        )
        await _fill_shelf(shop)
        yield shop


async def _fill_shelf(shop: Shop) -> None:
    async def has_tea() -> bool:
        page = await shop.api.get("/v1/ops/stock", token=shop.token, sku=TEA)
        return any(
            row["warehouse"] == EAST and row["free"] > 0 for row in page["items"][0]["warehouses"]
        )

    if not await has_tea():
        lines = [{"sku": TEA, "on_hand": _ON_THE_SHELF}]
        await shop.companies.put(f"/sandbox/warehouses/{EAST}/stock", {"lines": lines})
        await eventually("the tea is known", has_tea, within_seconds=30)
