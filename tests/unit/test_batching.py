"""The batcher settles what waits, in order, within bounds, and isolates what fails."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.batching import Batcher, Overloaded, QueueExpired
from kit.errors import Unavailable


class Poison(Exception):
    pass


class Gate:
    """A batch function that runs when the test lets it, and remembers what it was given."""

    def __init__(self, *, poison: frozenset[int] = frozenset()) -> None:
        self.batches: list[list[int]] = []
        self.settled: list[int] = []
        self.entered = asyncio.Queue[int]()
        self._open = asyncio.Event()
        self._poison = poison
        self.running = 0
        self.most_running = 0

    def open(self) -> None:
        self._open.set()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.entered.put_nowait(len(items))
        try:
            await self._open.wait()
            bad = self._poison.intersection(items)
            if bad:
                raise Poison(min(bad))
            self.settled.extend(items)
            return [item * 10 for item in items]
        finally:
            self.running -= 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def _queued(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_what_waits_behind_a_batch_becomes_the_next_one() -> None:
    gate = Gate()
    batcher = Batcher(gate, in_flight=1)

    first = await _queued(batcher, 1)
    await gate.entered.get()
    rest = await _queued(batcher, 2, 3, 4)
    assert batcher.waiting == 3
    gate.open()

    assert await asyncio.gather(*first, *rest) == [10, 20, 30, 40]
    assert gate.batches == [[1], [2, 3, 4]]


async def test_a_batch_never_exceeds_its_size() -> None:
    gate = Gate()
    gate.open()
    batcher = Batcher(gate, max_batch=4, in_flight=1)

    answers = await asyncio.gather(*(batcher.submit(item) for item in range(10)))

    assert answers == [item * 10 for item in range(10)]
    assert [len(batch) for batch in gate.batches] == [4, 4, 2]
    assert gate.settled == list(range(10))


async def test_two_batches_run_at_once_and_no_third() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_batch=1, in_flight=2)

    tasks = await _queued(batcher, 1, 2, 3)
    await gate.entered.get()
    await gate.entered.get()
    assert batcher.waiting == 1
    gate.open()
    await asyncio.gather(*tasks)

    assert gate.most_running == 2
    assert gate.batches == [[1], [2], [3]]


async def test_beyond_the_bound_callers_are_refused_at_once() -> None:
    gate = Gate()
    batcher = Batcher(gate, queue_bound=2, in_flight=1)
    running = await _queued(batcher, 1)
    await gate.entered.get()
    waiting = await _queued(batcher, 2, 3)

    with pytest.raises(Overloaded) as refusal:
        await batcher.submit(4)
    assert isinstance(refusal.value, Unavailable)
    gate.open()
    await asyncio.gather(*running, *waiting)

    assert 4 not in gate.settled


async def test_a_full_queue_of_callers_that_left_has_room() -> None:
    gate = Gate()
    batcher = Batcher(gate, queue_bound=2, in_flight=1)
    running = await _queued(batcher, 1)
    await gate.entered.get()
    gone = await _queued(batcher, 2, 3)
    for task in gone:
        task.cancel()
    await asyncio.wait(gone)

    late = await _queued(batcher, 4)
    gate.open()

    assert await asyncio.gather(*running, *late) == [10, 40]
    assert gate.settled == [1, 4]


async def test_what_waited_too_long_is_never_run() -> None:
    gate, clock = Gate(), Clock()
    batcher = Batcher(gate, queue_seconds=1.5, in_flight=1, monotonic=clock)
    running = await _queued(batcher, 1)
    await gate.entered.get()
    early = await _queued(batcher, 2)
    clock.now = 1.0
    late = await _queued(batcher, 3)
    clock.now = 1.6
    gate.open()

    with pytest.raises(QueueExpired, match=r"waited 1\.6 s") as refusal:
        await early[0]
    assert isinstance(refusal.value, Unavailable)
    assert await asyncio.gather(*running, *late) == [10, 30]
    assert gate.settled == [1, 3]


async def test_a_cancelled_caller_takes_its_waiting_item_back() -> None:
    gate = Gate()
    batcher = Batcher(gate, in_flight=1)
    running = await _queued(batcher, 1)
    await gate.entered.get()
    gone, stays = await _queued(batcher, 2, 3)
    gone.cancel()
    gate.open()

    assert await stays == 30
    await asyncio.gather(*running)
    assert gone.cancelled()
    assert gate.batches == [[1], [3]]


async def test_cancelling_a_caller_in_a_running_batch_leaves_its_neighbours_alone() -> None:
    gate = Gate()
    batcher = Batcher(gate, in_flight=1)
    gone, stays = await _queued(batcher, 1, 2)
    await gate.entered.get()
    gone.cancel()
    gate.open()

    assert await stays == 20
    assert gate.settled == [1, 2]


async def test_a_poison_item_fails_alone() -> None:
    gate = Gate(poison=frozenset({5}))
    gate.open()
    batcher = Batcher(gate, in_flight=1)

    results = await asyncio.gather(
        *(batcher.submit(item) for item in range(8)), return_exceptions=True
    )

    assert isinstance(results[5], Poison)
    assert [r for r in results if not isinstance(r, Poison)] == [0, 10, 20, 30, 40, 60, 70]
    assert sorted(gate.settled) == [0, 1, 2, 3, 4, 6, 7]


@given(
    size=st.integers(1, 40),
    poison=st.frozensets(st.integers(0, 39)),
    max_batch=st.integers(1, 16),
    in_flight=st.integers(1, 3),
)
def test_every_item_is_settled_once_or_fails_for_its_own_reason(
    size: int, poison: frozenset[int], max_batch: int, in_flight: int
) -> None:
    async def run() -> None:
        gate = Gate(poison=poison)
        gate.open()
        batcher = Batcher(gate, max_batch=max_batch, in_flight=in_flight)
        results = await asyncio.gather(
            *(batcher.submit(item) for item in range(size)), return_exceptions=True
        )

        for item, result in enumerate(results):
            if item in poison:
                assert isinstance(result, Poison)
                assert result.args == (item,)
            else:
                assert result == item * 10
        assert sorted(gate.settled) == [item for item in range(size) if item not in poison]
        assert gate.most_running <= in_flight

    asyncio.run(run())


async def test_close_finishes_what_was_taken_and_takes_no_more() -> None:
    gate = Gate()
    batcher = Batcher(gate, max_batch=2, in_flight=1)
    taken = await _queued(batcher, 1, 2, 3, 4, 5)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)

    with pytest.raises(Overloaded, match="shutting down"):
        await batcher.submit(6)
    assert not closing.done()
    gate.open()
    await closing

    assert [task.result() for task in taken] == [10, 20, 30, 40, 50]
    assert gate.settled == [1, 2, 3, 4, 5]


async def test_a_batch_function_that_loses_answers_is_not_run_again() -> None:
    batches: list[int] = []

    async def forgetful(items: Sequence[int]) -> list[int]:
        batches.append(len(items))
        return [0]

    batcher = Batcher(forgetful, in_flight=1)
    results = await asyncio.gather(
        *(batcher.submit(item) for item in range(3)), return_exceptions=True
    )

    assert [str(result) for result in results] == ["a batch of 3 items returned 1 answers"] * 3
    assert batches == [3]
