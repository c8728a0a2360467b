"""Advice from a real Valkey, and going on without it."""

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from redis.exceptions import ResponseError

from kit.breaker import BreakerState
from kit.cache import (
    PREFIX,
    Cache,
    Key,
    connect,
    epoch_key,
    feed_stream_key,
    group_progress_key,
    rate_limit_key,
    sold_out_key,
)
from kit.servers.quarters import discard
from kit.servers.valkey import Valkey

pytestmark = pytest.mark.kills_servers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "home", dies_with_parent=True) as server:
        yield server
    discard(tmp_path / "home")


@pytest.fixture
async def cache(valkey: Valkey, clock: Clock) -> AsyncIterator[Cache]:
    made = Cache(connect(valkey.url), monotonic=clock)
    yield made
    await made.aclose()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _read(cache: Cache, key: Key) -> bytes | str | None:
    return await cache.advisory(lambda redis: redis.get(key.name), default="no advice")


async def _write(cache: Cache, key: Key, value: str) -> bool | str | bytes | None:
    return await cache.advisory(
        lambda redis: redis.set(key.name, value, ex=key.ttl_seconds), default=None
    )


def test_every_key_has_its_own_name_and_a_ttl() -> None:
    keys = [
        rate_limit_key(user="u1", route="join", window=7),
        group_progress_key(UUID(int=1)),
        sold_out_key("tea"),
        feed_stream_key("east"),
        epoch_key(),
    ]

    assert all(key.name.startswith(PREFIX) and key.ttl_seconds > 0 for key in keys)
    assert len({key.name for key in keys}) == len(keys)


async def test_advice_is_kept_with_its_ttl(cache: Cache) -> None:
    key = sold_out_key("tea")

    assert await _write(cache, key, "1")

    assert await _read(cache, key) == "1"
    assert 0 < await cache.client.ttl(key.name) <= key.ttl_seconds


async def test_a_killed_server_costs_nobody_an_error_and_comes_back(
    cache: Cache, valkey: Valkey, clock: Clock
) -> None:
    key = sold_out_key("tea")
    await _write(cache, key, "1")
    valkey.kill()

    answers = [await _read(cache, key) for _ in range(5)]
    assert answers == ["no advice"] * 5
    assert cache.breaker.state is BreakerState.OPEN
    valkey.start()
    clock.now += 1

    assert await _read(cache, key) is None


async def test_a_hung_server_costs_a_few_callers_fifty_milliseconds(
    cache: Cache, valkey: Valkey
) -> None:
    key = sold_out_key("tea")
    await _write(cache, key, "1")

    with _stopped(valkey.pid):
        started = time.monotonic()
        answers = [await _read(cache, key) for _ in range(100)]
        took = time.monotonic() - started

    assert answers == ["no advice"] * 100
    # Three replies of 50 ms, then the breaker; the rest is room for a busy machine.
    assert took < 1.0


async def test_a_full_server_is_as_good_as_none(cache: Cache) -> None:
    await cache.client.config_set("maxmemory", "1")

    assert await _write(cache, sold_out_key("tea"), "1") is None


async def test_a_wrong_command_is_a_bug_not_an_outage(cache: Cache) -> None:
    await _write(cache, sold_out_key("tea"), "1")

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await cache.advisory(lambda redis: redis.xlen(sold_out_key("tea").name), default=0)


async def test_flushall_and_silence_end_the_epoch(cache: Cache, valkey: Valkey) -> None:
    assert not await cache.epoch_holds("first")
    assert await cache.begin_epoch("first")
    assert await cache.epoch_holds("first")
    assert not await cache.epoch_holds("second")

    await cache.client.flushall()
    assert not await cache.epoch_holds("first")

    await cache.begin_epoch("first")
    with _stopped(valkey.pid):
        assert not await cache.epoch_holds("first")
