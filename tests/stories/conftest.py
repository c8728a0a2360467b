"""A shop for each story: an empty database, the API on a real port, the companies around it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from api.app import create_app
from caravan import companies, partners
from caravan.clocks import Clocks
from caravan.http_client import Client
from groups.sessions import ops_token
from kit.db import transaction
from kit.settings import settings
from operations.companies import open_line
from payments.provider import close_provider
from sandbox.config import DeliveryConfig, load_config
from sandbox.serve import running, serving
from tests.stories.catalogue import APPROVAL_LIMIT_FEN, EAST, MUG, TEA, document
from tests.stories.people import OperationsDesk
from tests.stories.shop import Shop

# Nine in the morning in China, nine hours before the cut-off.
_OPENS: Final = timedelta(hours=1)
_ON_THE_SHELF: Final = ({"sku": TEA, "on_hand": 20}, {"sku": MUG, "on_hand": 0})
_QUICK: Final = DeliveryConfig(first_pause_seconds=0.01, longest_pause_seconds=0.05)


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the companies' keys are; making RSA keys takes a while."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def shop(store: str, keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """Open a shop with twenty teas on its shelf, at nine in the morning."""
    del store
    monkeypatch.setenv("CARAVAN_APPROVAL_LIMIT_FEN", str(APPROVAL_LIMIT_FEN))
    async with AsyncExitStack() as stack:
        api_url = await stack.enter_async_context(serving(create_app()))
        api = Client(api_url)
        stack.push_async_callback(api.aclose)
        desk = OperationsDesk(token=await _token(), api=api)
        await _load_catalogue(desk)
        opens_at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        opens_at += timedelta(days=1) + _OPENS
        await api.post("/v1/ops/clock", {"to": opens_at.isoformat()}, token=desk.token)
        around = replace(await companies.of_database(), ticks=False)
        config = companies.write_config(
            keys_dir, around, caravan_url=api_url, start=await companies.start_time()
        )
        sandbox_config = load_config(config).model_copy(update={"delivery": _QUICK})
        sandbox_url = await stack.enter_async_context(running(sandbox_config))
        sandbox = Client(sandbox_url)
        stack.push_async_callback(sandbox.aclose)
        await partners.put(companies.endpoints(keys_dir, around, sandbox_url=sandbox_url))
        _trust(monkeypatch, api_url=api_url, sandbox_url=sandbox_url, keys_dir=keys_dir)
        stack.push_async_callback(close_provider)
        await stack.enter_async_context(open_line())
        opened = Shop(
            api=api,
            companies=sandbox,
            clocks=Clocks(api, sandbox, desk.token),
            desk=desk,
            campaigns=await _campaigns(desk),
        )
        await sandbox.put(f"/sandbox/warehouses/{EAST}/stock", {"lines": list(_ON_THE_SHELF)})
        await opened.settle()
        yield opened


async def _token() -> str:
    """Return what `caravan token ops` prints."""
    async with transaction() as session:
        return await ops_token(session, "wei")


async def _load_catalogue(desk: OperationsDesk) -> None:
    answer = await desk.api.call("POST", "/v1/ops/catalogue", token=desk.token, content=document())
    assert answer.status == 200, answer.document


async def _campaigns(desk: OperationsDesk) -> dict[str, str]:
    page: dict[str, Any] = await desk.api.get("/v1/campaigns", token=desk.token)
    return {campaign["code"]: campaign["id"] for campaign in page["campaigns"]}


def _trust(
    monkeypatch: pytest.MonkeyPatch, *, api_url: str, sandbox_url: str, keys_dir: Path
) -> None:
    """Make the payment provider known, as `caravan up` does."""
    monkeypatch.setenv("CARAVAN_PAY_URL", f"{sandbox_url}/pay")
    monkeypatch.setenv("CARAVAN_PAY_KEYS_DIR", str(keys_dir))
    monkeypatch.setenv("CARAVAN_PAY_NOTIFY_URL", f"{api_url}/v1/webhooks/payments/sandbox")
    settings.cache_clear()
