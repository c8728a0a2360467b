"""The breaker follows outcomes and the clock it is given."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.breaker import Breaker, BreakerOpen, BreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Silent(Exception):
    pass


class Refused(Exception):
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(
        "leaf", monotonic=clock, failures_to_open=3, open_seconds=10, open_seconds_at_most=35
    )


def _state(breaker: Breaker) -> BreakerState:
    """Read the state anew: a type checker takes a property for constant."""
    return breaker.state


def _fail(breaker: Breaker, *, times: int) -> None:
    for _ in range(times):
        breaker.failed(breaker.admit())


def test_it_opens_after_failures_in_a_row_only(breaker: Breaker) -> None:
    _fail(breaker, times=2)
    breaker.succeeded(breaker.admit())
    _fail(breaker, times=2)
    assert _state(breaker) is BreakerState.CLOSED

    _fail(breaker, times=1)

    assert _state(breaker) is BreakerState.OPEN
    with pytest.raises(BreakerOpen, match=r"leaf does not answer; next try in 10\.0 s") as refusal:
        breaker.admit()
    assert refusal.value.retry_in_seconds == 10


def test_after_the_pause_one_trial_goes_through(breaker: Breaker, clock: Clock) -> None:
    _fail(breaker, times=3)
    clock.now = 10
    assert _state(breaker) is BreakerState.HALF_OPEN

    trial = breaker.admit()
    with pytest.raises(BreakerOpen):
        breaker.admit()
    breaker.succeeded(trial)

    assert _state(breaker) is BreakerState.CLOSED
    _fail(breaker, times=2)
    assert _state(breaker) is BreakerState.CLOSED


def test_failed_trials_double_the_pause_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    _fail(breaker, times=3)
    pauses = []
    for _ in range(4):
        with pytest.raises(BreakerOpen) as refusal:
            breaker.admit()
        pauses.append(refusal.value.retry_in_seconds)
        clock.now += refusal.value.retry_in_seconds
        breaker.failed(breaker.admit())

    assert pauses == [10, 20, 35, 35]


def test_answers_from_before_it_opened_do_not_close_it(breaker: Breaker) -> None:
    early = breaker.admit()
    _fail(breaker, times=3)

    breaker.succeeded(early)
    assert _state(breaker) is BreakerState.OPEN
    breaker.failed(early)
    with pytest.raises(BreakerOpen, match=r"10\.0 s"):
        breaker.admit()


def test_an_abandoned_trial_lets_the_next_one_through(breaker: Breaker, clock: Clock) -> None:
    _fail(breaker, times=3)
    clock.now = 10
    breaker.abandoned(breaker.admit())

    breaker.succeeded(breaker.admit())

    assert _state(breaker) is BreakerState.CLOSED


async def test_call_counts_only_the_kinds_it_is_told(breaker: Breaker) -> None:
    async def refuse() -> None:
        raise Refused

    async def be_silent() -> None:
        raise Silent

    for _ in range(5):
        with pytest.raises(Refused):
            await breaker.call(refuse, counts=(Silent,))
    assert _state(breaker) is BreakerState.CLOSED

    for _ in range(3):
        with pytest.raises(Silent):
            await breaker.call(be_silent, counts=(Silent,))
    with pytest.raises(BreakerOpen):
        await breaker.call(be_silent, counts=(Silent,))


async def test_a_cancelled_trial_does_not_block_the_breaker(breaker: Breaker, clock: Clock) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def answer() -> str:
        return "tea"

    _fail(breaker, times=3)
    clock.now = 10
    trial = asyncio.create_task(breaker.call(hang, counts=(Silent,)))
    await asyncio.sleep(0)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial

    assert await breaker.call(answer, counts=(Silent,)) == "tea"
    assert _state(breaker) is BreakerState.CLOSED


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=40))
def test_it_never_stays_shut_longer_than_the_limit(steps: list[tuple[bool, int]]) -> None:
    clock = Clock()
    breaker = Breaker(
        "leaf", monotonic=clock, failures_to_open=3, open_seconds=10, open_seconds_at_most=35
    )
    for works, pause in steps:
        clock.now += pause
        if _state(breaker) is BreakerState.OPEN:
            with pytest.raises(BreakerOpen) as refusal:
                breaker.admit()
            assert 0 < refusal.value.retry_in_seconds <= 35
            continue
        permit = breaker.admit()
        if works:
            breaker.succeeded(permit)
            assert _state(breaker) is BreakerState.CLOSED
        else:
            breaker.failed(permit)

    clock.now += 35
    breaker.succeeded(breaker.admit())
    assert _state(breaker) is BreakerState.CLOSED
