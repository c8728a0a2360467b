"""Settle together whatever waits while the previous batch runs: a batch without a timer.

Under little load an item runs alone at once; under much load batches grow by themselves to
`max_batch`, and a burst beyond the queue's bound is refused while it is still cheap to refuse.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, TypeVar

from kit.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# ARCHITECTURE, admission rules: measured for one hot row on Postgres.
MAX_BATCH: Final = 256
QUEUE_BOUND: Final = 2_048
QUEUE_SECONDS: Final = 1.5


class Overloaded(Unavailable):
    """The queue is full; nothing was done."""

    code: ClassVar[str] = "overloaded"


class QueueExpired(Unavailable):
    """The item waited too long and will never be done."""

    code: ClassVar[str] = "queue_expired"


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    deadline: float
    answer: asyncio.Future[Answer]


class Batcher(Generic[Item, Answer]):
    """Collects items of many callers and runs them by the batch.

    Args:
        run: settles a batch and returns one answer for each item, in order. It may raise: the
            batch is then halved until the item that does it stands alone, so it must leave
            nothing behind when it raises.
        in_flight: batches that may run at the same time; 2 lets one be prepared while the other
            commits.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        max_batch: int = MAX_BATCH,
        queue_bound: int = QUEUE_BOUND,
        queue_seconds: float = QUEUE_SECONDS,
        in_flight: int = 2,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if min(max_batch, queue_bound, in_flight) < 1:
            raise ValueError("max_batch, queue_bound and in_flight are at least 1")
        self._run = run
        self._max_batch = max_batch
        self._queue_bound = queue_bound
        self._queue_seconds = queue_seconds
        self._in_flight = in_flight
        self._monotonic = monotonic
        self._queue: deque[_Waiting[Item, Answer]] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many items wait for a batch."""
        return len(self._queue)

    async def submit(self, item: Item) -> Answer:
        """Return the item's answer once its batch has run.

        A caller that is cancelled before its batch starts takes its item back; after that the
        item is settled and nobody is told.

        Raises:
            Overloaded: the queue is full, or `close` was called.
            QueueExpired: no batch took the item in time.
        """
        if self._closed:
            raise Overloaded("this process is shutting down")
        if len(self._queue) >= self._queue_bound:
            self._drop_the_gone()
            if len(self._queue) >= self._queue_bound:
                raise Overloaded(f"{self._queue_bound} requests are waiting already")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, self._monotonic() + self._queue_seconds, answer))
        if len(self._lanes) < self._in_flight:
            lane = asyncio.create_task(self._drain(), name="batcher lane")
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await answer

    async def close(self) -> None:
        """Take no more items and return when all that were taken have their answers."""
        self._closed = True
        while self._lanes:
            await asyncio.wait(self._lanes)

    async def _drain(self) -> None:
        while batch := self._take():
            await self._settle(batch)

    def _take(self) -> list[_Waiting[Item, Answer]]:
        """Take what waits, oldest first, leaving out the expired and those whose caller left."""
        now = self._monotonic()
        batch: list[_Waiting[Item, Answer]] = []
        while self._queue and len(batch) < self._max_batch:
            waiting = self._queue.popleft()
            if waiting.answer.done():
                continue
            if now > waiting.deadline:
                waited = now - waiting.deadline + self._queue_seconds
                waiting.answer.set_exception(QueueExpired(f"waited {waited:.1f} s for a batch"))
                continue
            batch.append(waiting)
        return batch

    def _drop_the_gone(self) -> None:
        self._queue = deque(waiting for waiting in self._queue if not waiting.answer.done())

    async def _settle(self, batch: list[_Waiting[Item, Answer]]) -> None:
        """Run a batch; on an error run its halves, so that one bad item fails alone."""
        try:
            answers = await self._run([waiting.item for waiting in batch])
        except asyncio.CancelledError:
            for waiting in (*batch, *self._queue):
                waiting.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is belongs to a caller
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
            else:
                _fail(batch, error)
            return
        if len(answers) != len(batch):
            # It ran, so it must not run again; whose answer is whose cannot be told.
            _fail(batch, _AnswersMissing(len(answers), of=len(batch)))
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)


def _fail(batch: list[_Waiting[Item, Answer]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


class _AnswersMissing(RuntimeError):
    def __init__(self, found: int, *, of: int) -> None:
        super().__init__(f"a batch of {of} items returned {found} answers")
