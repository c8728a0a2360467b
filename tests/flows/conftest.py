"""A real Prefect server for the flows' tests: one for this folder."""

import gc
import os
import signal
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_LEVEL,
    temporary_settings,
)

from caravan.prefect_server import offline_settings, server_command, server_settings
from kit.ids import new_id
from kit.servers.processes import Process, choose_port
from tests.conftest import Servers, run_sql, url_of

# Cold, on a busy machine, the server needs long to import and migrate.
START_SECONDS = 120.0


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).is_success
    except httpx.HTTPError:
        return False


def _let_go_of_prefect() -> None:
    """Stop Prefect's background threads and collect the sockets that it leaves open."""
    EventsWorker.drain_all()
    APILogWorker.drain_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


_HERE = Path(__file__).parent
_EXTERNAL = os.environ.get("PREFECT_API_URL")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Prefect's clients leave sockets to the garbage collector; that is not ours to mend.
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="package")
def prefect_url(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start (or find) a Prefect server; yield its API's address, also in the environment."""
    home = tmp_path_factory.mktemp("prefect")
    if _EXTERNAL:
        with temporary_settings(updates={PREFECT_API_URL: _EXTERNAL, PREFECT_HOME: home}):
            yield _EXTERNAL
        _let_go_of_prefect()
        return
    database = f"caravan_prefect_{new_id().hex}"
    run_sql(servers.admin_url, f"CREATE DATABASE {database}")
    port = choose_port(None)
    url = f"http://127.0.0.1:{port}/api"
    redis = servers.redis_url.rpartition("/")[0]
    environment = server_settings(
        home,
        database_url=url_of(servers.admin_url, database).replace(
            "postgresql://", "postgresql+asyncpg://"
        ),
        messaging_url=f"{redis}/8",
        docket_url=f"{redis}/9",
        public_url=url,
    )
    server = Process(
        server_command(host="127.0.0.1", port=port),
        log=home / "server.log",
        directory=Path.cwd(),
        account=None,
        environment={**os.environ, **environment},
        parent_death=signal.SIGKILL,
    )
    try:
        ready = server.await_ready(lambda: _is_healthy(url), timeout_seconds=START_SECONDS)
        assert ready, "\n".join(server.log_lines()[-20:])
        # For runs that are processes of their own.
        kept = {name: os.environ.get(name) for name in (*offline_settings(home), "PREFECT_API_URL")}
        os.environ.update(offline_settings(home), PREFECT_API_URL=url)
        updates = {PREFECT_API_URL: url, PREFECT_HOME: home, PREFECT_LOGGING_LEVEL: "WARNING"}
        with temporary_settings(updates=updates):
            yield url
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    finally:
        _let_go_of_prefect()
        server.end(signal.SIGTERM, timeout_seconds=10)
        run_sql(servers.admin_url, f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
async def prefect(prefect_url: str) -> AsyncIterator[PrefectClient]:
    """A client of the server."""
    del prefect_url
    async with get_client() as client:
        yield client
