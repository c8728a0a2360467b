"""The database: one engine a process, and `transaction()`, the only place that commits."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import Unavailable

Result = TypeVar("Result")

LOCK_TIMEOUT_MS: Final = 1_000
STATEMENT_TIMEOUT_MS: Final = 2_000
LONG_STATEMENT_TIMEOUT_MS: Final = 60_000
RETRIES: Final = 3

# Class 40: rollbacks that may succeed when run again; class 08 and 57P0x: the server went away.
_RERUN_STATES: Final = frozenset({"40001", "40P01"})
_GONE_STATES: Final = frozenset({"57P01", "57P02", "57P03", "53300"})


class DatabaseDown(Unavailable):
    """The database cannot be reached or is restarting."""

    code = "database_down"


class _Engines:
    """The engine of this process; a class so that nothing is a bare global."""

    current: AsyncEngine | None = None


def make_engine(url: str, *, pool_size: int = 8, application: str = "caravan") -> AsyncEngine:
    """Return an engine for a `postgresql://` URL with the timeouts every session gets."""
    return create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        # A dead pooled connection costs one ping, not one failed request.
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={
            "timeout": 5,
            "server_settings": {
                "application_name": application,
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": "5000",
                "timezone": "UTC",
                "jit": "off",
            },
        },
    )


def use_engine(engine: AsyncEngine | None) -> None:
    """Make `engine` the one that `transaction()` of this process opens sessions on."""
    _Engines.current = engine


def engine_is_set() -> bool:
    """Return whether this process has an engine already."""
    return _Engines.current is not None


def engine() -> AsyncEngine:
    """Return the engine of this process."""
    if _Engines.current is None:
        msg = "no database in this process: call use_engine() first"
        raise RuntimeError(msg)
    return _Engines.current


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE behind a driver error, or None when it has none."""
    seen: BaseException | None = error
    while seen is not None:
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None


def is_gone(error: BaseException) -> bool:
    """Return whether `error` says that the server is unreachable or restarting."""
    if isinstance(error, OSError | asyncpg.InterfaceError | TimeoutError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = sqlstate(error)
    if state is not None:
        return state in _GONE_STATES or state.startswith("08")
    inner = getattr(error, "orig", None) or error.__cause__
    return inner is not None and inner is not error and is_gone(inner)


@asynccontextmanager
async def transaction(*, long: bool = False) -> AsyncIterator[AsyncSession]:
    """Open a session in one transaction; commit at the end, roll back on any error.

    Args:
        long: allow statements of a minute instead of two seconds; for set-based work of the
            clerk and the flows, never in a request.

    Raises:
        DatabaseDown: the server cannot be reached.
    """
    try:
        async with AsyncSession(engine(), expire_on_commit=False) as session, session.begin():
            if long:
                connection = await session.connection()
                await connection.exec_driver_sql(
                    f"SET LOCAL statement_timeout = {LONG_STATEMENT_TIMEOUT_MS}"
                )
            yield session
    except (DBAPIError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if is_gone(error):
            raise DatabaseDown("the database does not answer") from error
        raise


async def repeat_on_deadlock(act: Callable[[], Awaitable[Result]]) -> Result:
    """Run `act`, a whole transaction, again when Postgres chose it as a deadlock's victim."""
    for attempt in range(RETRIES):
        try:
            return await act()
        except DBAPIError as error:
            if sqlstate(error) not in _RERUN_STATES or attempt == RETRIES - 1:
                raise
            await asyncio.sleep(random.uniform(0.005, 0.05) * (attempt + 1))  # noqa: S311 - jitter
    msg = "unreachable: the loop returns or raises"
    raise AssertionError(msg)
