"""Advisory data in Redis (Valkey): every key has a builder and a TTL, and losing it is no error.

Postgres is the truth. What is asked here may be missing, late or gone, so every question carries
the answer to go on with, and a server that does not reply is left alone for a while.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004  # its name
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,  # noqa: A004  # its name
)

from kit.breaker import Breaker, BreakerOpen

T = TypeVar("T")

PREFIX: Final = "caravan:"
# ARCHITECTURE and RELIABILITY: a stopped server may cost a request 50 ms, and only a few of them.
REPLY_SECONDS: Final = 0.05
_FAILURES_TO_OPEN: Final = 3
_OPEN_SECONDS: Final = 1.0
_OPEN_SECONDS_AT_MOST: Final = 4.0
_CONNECTIONS: Final = 64

RATE_LIMIT_TTL_SECONDS: Final = 120
GROUP_PROGRESS_TTL_SECONDS: Final = 48 * 3600
SOLD_OUT_TTL_SECONDS: Final = 5
FEED_STREAM_TTL_SECONDS: Final = 7 * 86_400
EPOCH_TTL_SECONDS: Final = 86_400

# Gone, hung, full, a replica, or still loading: all mean "not now". Anything else is a bug.
_ABSENT: Final = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A name and how long it may live after it was last written."""

    name: str
    ttl_seconds: int


def _key(*parts: object, ttl_seconds: int) -> Key:
    return Key(name=PREFIX + ":".join(str(part) for part in parts), ttl_seconds=ttl_seconds)


def rate_limit_key(*, user: str, route: str, window: int) -> Key:
    """Requests of one user to one route in one numbered window (at most a minute long)."""
    return _key("rate", route, user, window, ttl_seconds=RATE_LIMIT_TTL_SECONDS)


def group_progress_key(group_id: UUID) -> Key:
    """A group's counts and state as its followers see them live."""
    return _key("progress", group_id, ttl_seconds=GROUP_PROGRESS_TTL_SECONDS)


def sold_out_key(sku: str) -> Key:
    """A hint that the last join for this SKU found no budget; short, so no error lasts."""
    return _key("sold_out", sku, ttl_seconds=SOLD_OUT_TTL_SECONDS)


def feed_stream_key(source: str) -> Key:
    """The stream of stock changes of one warehouse system."""
    return _key("feed", source, ttl_seconds=FEED_STREAM_TTL_SECONDS)


def epoch_key() -> Key:
    """Names the filling of this server; missing or different means: built from nothing of ours."""
    return _key("epoch", ttl_seconds=EPOCH_TTL_SECONDS)


def connect(url: str, *, reply_seconds: float = REPLY_SECONDS) -> Redis:
    """Return a client with its own pool; close it with `aclose`.

    Args:
        reply_seconds: limit of one reply; a reader that blocks on a stream needs more than it
            blocks for.
    """
    return Redis.from_url(
        url,
        socket_timeout=reply_seconds,
        socket_connect_timeout=reply_seconds,
        max_connections=_CONNECTIONS,
        decode_responses=True,
        # The default retries for seconds; advice that late is worth nothing.
        retry=Retry(NoBackoff(), retries=0),
    )


class Cache:
    """Asks Redis for advice; never raises because Redis is gone, hung, full or read-only."""

    def __init__(self, client: Redis, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self.breaker = Breaker(
            "redis",
            monotonic=monotonic,
            failures_to_open=_FAILURES_TO_OPEN,
            open_seconds=_OPEN_SECONDS,
            open_seconds_at_most=_OPEN_SECONDS_AT_MOST,
        )

    async def advisory(self, work: Callable[[Redis], Awaitable[T]], default: T) -> T:
        """Return what `work` returns, or `default` when Redis cannot say."""
        try:
            return await self.breaker.call(lambda: work(self.client), counts=_ABSENT)
        except (BreakerOpen, *_ABSENT):
            return default

    async def epoch_holds(self, epoch: str) -> bool:
        """Tell whether what is stored was stored in this epoch.

        False after FLUSHALL, a restart, a stale replica's promotion, or when nobody answers:
        then no advice may refuse anybody until it has been rebuilt from Postgres.
        """
        key = epoch_key()
        found = await self.advisory(
            lambda redis: redis.getex(key.name, ex=key.ttl_seconds), default=None
        )
        return bool(found == epoch)

    async def begin_epoch(self, epoch: str) -> bool:
        """Declare that what is stored now was rebuilt; return whether Redis took it."""
        key = epoch_key()
        return bool(
            await self.advisory(
                lambda redis: redis.set(key.name, epoch, ex=key.ttl_seconds), default=None
            )
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()
