"""Delivery of webhooks: real HTTP, few at a time, in order per lane, repeated until believed."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

# How many of the last failures stay readable in /sandbox/state.
_FAILURES_KEPT: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One webhook: what is sent where, and how patiently.

    Args:
        lane: letters of one lane arrive one after another, in order; None is unordered.
        headers: makes fresh headers for each attempt, since signatures carry wall time.
        pauses_seconds: wall seconds before each repetition; when they are used up, it is given up.
    """

    url: str
    content: bytes
    headers: Callable[[], Mapping[str, str]]
    lane: str | None
    pauses_seconds: Sequence[float]


def backoff_pauses(
    *, first_seconds: float, longest_seconds: float, attempts: int
) -> tuple[float, ...]:
    """Return the pauses between `attempts` attempts, doubling up to the longest.

    >>> backoff_pauses(first_seconds=0.2, longest_seconds=1.0, attempts=5)
    (0.2, 0.4, 0.8, 1.0)
    """
    pauses = (first_seconds * 2.0**n for n in itertools.count())
    return tuple(
        min(pause, longest_seconds) for pause in itertools.islice(pauses, max(attempts - 1, 0))
    )


class Courier:
    """Delivers letters in the background over one keep-alive client."""

    def __init__(self, *, concurrency: int, timeout_seconds: float) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        # The transport alone: no cookies, redirects or proxies, and half the work of a client.
        self._transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            trust_env=False,
        )
        self._timeout = {"timeout": httpx.Timeout(timeout_seconds).as_dict()}
        self._lanes: dict[str, deque[Letter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.backlog = 0  # accepted and neither answered 2xx nor given up
        self.counts: Counter[str] = Counter()
        self.failures: deque[str] = deque(maxlen=_FAILURES_KEPT)

    def post(self, letter: Letter) -> None:
        """Take a letter; returns at once."""
        self.backlog += 1
        if letter.lane is None:
            self._start(self._deliver(letter))
        elif (lane := self._lanes.get(letter.lane)) is not None:
            lane.append(letter)
        else:
            self._lanes[letter.lane] = deque([letter])
            self._start(self._drain(letter.lane))

    async def close(self) -> None:
        """Stop delivering; what is under way is dropped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.aclose()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, name: str) -> None:
        lane = self._lanes[name]
        while lane:
            await self._deliver(lane[0])
            lane.popleft()
        del self._lanes[name]

    async def _deliver(self, letter: Letter) -> None:
        pauses = iter(letter.pauses_seconds)
        try:
            while not await self._attempt(letter):
                pause_seconds = next(pauses, None)
                if pause_seconds is None:
                    self.counts["given_up"] += 1
                    return
                await asyncio.sleep(pause_seconds)
            self.counts["delivered"] += 1
        finally:
            self.backlog -= 1

    async def _attempt(self, letter: Letter) -> bool:
        async with self._slots:
            self.counts["attempts"] += 1
            try:
                request = httpx.Request(
                    "POST",
                    letter.url,
                    content=letter.content,
                    headers=dict(letter.headers()),
                    extensions=self._timeout,
                )
                answer = await self._transport.handle_async_request(request)
                await answer.aread()
                await answer.aclose()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                self.failures.append(f"{letter.url}: {type(error).__name__}")
                return False
        if answer.is_success:
            return True
        self.failures.append(f"{letter.url}: {answer.status_code}")
        return False
