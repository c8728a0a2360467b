"""Fixtures of every test that needs a server: one Postgres and one Valkey a session.

A test gets a database of its own, copied from a migrated template, so that tests never meet and
several connections can commit. `CARAVAN_DATABASE_URL` and `CARAVAN_REDIS_URL` replace the
embedded servers; tests marked `kills_servers` are skipped then.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

import migrations
from kit.db import make_engine, use_engine
from kit.ids import new_id
from kit.logs import configure_logs
from kit.servers.postgres import Postgres
from kit.servers.quarters import discard
from kit.servers.valkey import Valkey
from kit.settings import settings

_EXTERNAL = os.environ.get("CARAVAN_DATABASE_URL")
ROOT = Path(__file__).resolve().parent.parent
configure_logs()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not _EXTERNAL:
        return
    skip = pytest.mark.skip(reason="kills a server, and this one is not ours")
    for item in items:
        if "kills_servers" in item.keywords:
            item.add_marker(skip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Addresses of the servers of this test session."""

    admin_url: str  # postgresql://, may create databases
    redis_url: str
    template: str


async def _run_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def run_sql(url: str, statement: str) -> None:
    """Run one statement outside any event loop."""
    with asyncio.Runner() as runner:
        runner.run(_run_sql(url, statement))


def url_of(admin_url: str, database: str) -> str:
    """Return `admin_url` with another database, for asyncpg."""
    url = make_url(admin_url).set(drivername="postgresql", database=database)
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Start (or find) Postgres and Valkey, and make the migrated template database."""
    with ExitStack() as stack:
        if _EXTERNAL:
            admin_url = url_of(_EXTERNAL, make_url(_EXTERNAL).database or "postgres")
            redis_url = os.environ["CARAVAN_REDIS_URL"]
        else:
            home = tmp_path_factory.mktemp("servers")
            for part in ("postgres", "valkey"):
                stack.callback(discard, home / part)
            postgres = stack.enter_context(
                Postgres(home / "postgres", durable=False, dies_with_parent=True)
            )
            valkey = stack.enter_context(Valkey(home / "valkey", dies_with_parent=True))
            admin_url = postgres.url_of("postgres", scheme="postgresql")
            redis_url = valkey.url
        template = f"caravan_template_{new_id().hex}"
        run_sql(admin_url, f"CREATE DATABASE {template}")
        migrations.upgrade(url_of(admin_url, template))
        yield Servers(admin_url=admin_url, redis_url=redis_url, template=template)
        run_sql(admin_url, f"DROP DATABASE {template} WITH (FORCE)")


@pytest.fixture
async def database_url(servers: Servers) -> AsyncIterator[str]:
    """Make an empty, migrated database; `postgresql://` without a driver."""
    name = f"caravan_test_{new_id().hex}"
    await _run_sql(
        servers.admin_url,
        f"CREATE DATABASE {name} TEMPLATE {servers.template} STRATEGY FILE_COPY",
    )
    yield url_of(servers.admin_url, name)
    await _run_sql(servers.admin_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def store(
    database_url: str, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Point `transaction()` of this process at an empty database; yield its address."""
    monkeypatch.setenv("CARAVAN_ENV", "test")
    monkeypatch.setenv("CARAVAN_DATABASE_URL", database_url)
    monkeypatch.setenv("CARAVAN_REDIS_URL", servers.redis_url)
    settings.cache_clear()
    engine = make_engine(database_url, pool_size=16, application="caravan-test")
    use_engine(engine)
    yield database_url
    use_engine(None)
    await engine.dispose()
    settings.cache_clear()
