"""How often one buyer or one address may call: counted here, shared through Valkey when it is up.

A request is judged by this process's own memory, so a limit costs no round trip. What was counted
is added to Valkey's counters several times a second, in one pipeline, and the sums of all
processes come back; without Valkey each process enforces the limit for itself.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from api.errors import TooManyRequests
from kit.cache import Cache, rate_limit_key

WINDOW_SECONDS: Final = 60
# A person taps a few times a minute; a script that repeats after every 503 stays below this too.
USER_REQUESTS_A_WINDOW: Final = 240
ADDRESS_LOGINS_A_WINDOW: Final = 600
_SHARE_SECONDS: Final = 0.25
_KEYS_A_PIPELINE: Final = 2_000


class Limits:
    """Fixed windows of a minute by (caller, route).

    Args:
        cache: where other processes' counts are; None counts for this process alone.
        wall: seconds of the wall clock, which numbers the windows alike in every process.
        factor: every limit is so many times as high, for a shop whose business time runs fast.
    """

    def __init__(
        self,
        cache: Cache | None,
        *,
        wall: Callable[[], float] = time.time,
        factor: int = 1,
    ) -> None:
        self._cache = cache
        self._factor = factor
        self._wall = wall
        self._window = 0
        self._counted: dict[tuple[str, str], int] = {}
        self._unshared: dict[tuple[str, str], int] = defaultdict(int)
        self._sharing: asyncio.Task[None] | None = None

    def take(self, *, user: str, route: str, limit: int = USER_REQUESTS_A_WINDOW) -> None:
        """Count one request of `user` (an id, or `address:...`).

        Raises:
            TooManyRequests: it is one too many in this window.
        """
        now = self._wall()
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window = window
            self._counted.clear()
            self._unshared.clear()
        name = (user, route)
        count = self._counted.get(name, 0) + 1
        if count > limit * self._factor:
            raise TooManyRequests(
                retry_after_seconds=max(1, int((window + 1) * WINDOW_SECONDS - now))
            )
        self._counted[name] = count
        if self._cache is not None:
            self._unshared[name] += 1

    def start(self) -> None:
        """Begin to share counts with other processes."""
        if self._cache is not None:
            self._sharing = asyncio.create_task(self._share_for_ever(), name="rate limits")

    async def close(self) -> None:
        """Stop sharing."""
        if self._sharing is not None:
            self._sharing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sharing

    async def _share_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SHARE_SECONDS)
            await self.share()

    async def share(self) -> None:
        """Add what was counted since the last time to Valkey and take over the sums."""
        if self._cache is None or not self._unshared:
            return
        window = self._window
        batch = [
            (name, self._unshared.pop(name)) for name in list(self._unshared)[:_KEYS_A_PIPELINE]
        ]

        async def add(redis: Redis) -> list[int]:
            async with redis.pipeline(transaction=False) as pipeline:
                for (user, route), count in batch:
                    key = rate_limit_key(user=user, route=route, window=window)
                    pipeline.incrby(key.name, count)
                    pipeline.expire(key.name, key.ttl_seconds)
                answers: list[int] = await pipeline.execute()
            return answers[::2]

        nobody_says: list[int] = []
        sums = await self._cache.advisory(add, nobody_says)
        if window != self._window:
            return
        for (name, _), total in zip(batch, sums, strict=False):
            self._counted[name] = max(
                self._counted.get(name, 0), int(total) + self._unshared.get(name, 0)
            )
