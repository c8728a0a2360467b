"""Rate limits: by process at once, over processes through Valkey, and without it for each alone."""

from collections.abc import AsyncIterator

import pytest

from api.errors import TooManyRequests
from api.limits import WINDOW_SECONDS, Limits
from kit.cache import Cache, connect
from kit.ids import new_id
from tests.conftest import Servers

NOON = 1_000_000_000.0 - 1_000_000_000 % WINDOW_SECONDS


class Wall:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def cache(servers: Servers) -> AsyncIterator[Cache]:
    made = Cache(connect(servers.redis_url))
    yield made
    await made.aclose()


def taken(limits: Limits, user: str, *, times: int, limit: int = 5) -> int:
    """Return how many of `times` requests were let through."""
    passed = 0
    for _ in range(times):
        try:
            limits.take(user=user, route="POST /x", limit=limit)
        except TooManyRequests:
            continue
        passed += 1
    return passed


def test_a_window_lets_so_many_through_and_the_next_one_again() -> None:
    wall = Wall()
    limits = Limits(None, wall=wall)

    first = taken(limits, "ann", times=8)
    other = taken(limits, "bob", times=8)
    wall.now += WINDOW_SECONDS
    second = taken(limits, "ann", times=8)

    assert (first, other, second) == (5, 5, 5)


def test_the_refusal_says_when_the_window_ends() -> None:
    wall = Wall()
    wall.now += 45
    limits = Limits(None, wall=wall)
    limits.take(user="ann", route="POST /x", limit=1)

    with pytest.raises(TooManyRequests) as refusal:
        limits.take(user="ann", route="POST /x", limit=1)

    assert refusal.value.retry_after_seconds == 15
    limits.take(user="ann", route="POST /y", limit=1)


def test_a_shop_whose_time_runs_fast_lets_more_through() -> None:
    limits = Limits(None, wall=Wall(), factor=2)

    assert taken(limits, "ann", times=20) == 10


async def test_processes_share_their_counts(cache: Cache) -> None:
    user, wall = f"ann-{new_id()}", Wall()
    here, there = Limits(cache, wall=wall), Limits(cache, wall=wall)
    assert taken(here, user, times=3) == 3
    assert taken(there, user, times=1) == 1

    await here.share()
    await there.share()

    assert taken(there, user, times=5) == 1
    await there.share()
    assert taken(here, user, times=5) == 2  # it has not asked since
    await here.share()
    assert taken(here, user, times=5) == 0


async def test_without_valkey_each_process_limits_alone() -> None:
    gone = Cache(connect("redis://127.0.0.1:1/0"))
    limits = Limits(gone, wall=Wall())

    assert taken(limits, "ann", times=3) == 3
    await limits.share()

    assert taken(limits, "ann", times=5) == 2
    await gone.aclose()


async def test_sharing_starts_and_stops_with_the_application(cache: Cache) -> None:
    limits = Limits(cache, wall=Wall())

    limits.start()
    limits.take(user="ann", route="POST /x", limit=5)
    await limits.close()

    assert taken(limits, "ann", times=9) == 4
