"""One business clock for all companies: what is due happens in order, and never by itself."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

# A long move lets requests in between; a request waits for at most this many events.
_EVENTS_PER_TURN: Final = 100

# Events of one instant run by rank, then in the order they were made.
_RANK_ORDINARY: Final = 0
_RANK_CLOSING: Final = 1

Action = Callable[[], None]


class BusinessClock:
    """Business time and the events that wait for it."""

    def __init__(self, *, start: datetime) -> None:
        self._now = start
        self._due: list[tuple[datetime, int, int, Action]] = []
        self._made = 0
        self._moving = asyncio.Lock()

    @property
    def now(self) -> datetime:
        """Business time, aware."""
        return self._now

    @property
    def next_due_at(self) -> datetime | None:
        """When the next event is due; None when nothing waits."""
        return self._due[0][0] if self._due else None

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return len(self._due)

    def at(self, when: datetime, action: Action) -> None:
        """Let `action` happen at `when`, or at the next settling when that has passed."""
        self._push(when, _RANK_ORDINARY, action)

    def after(self, delay: timedelta, action: Action) -> None:
        """Let `action` happen `delay` from now."""
        self._push(self._now + delay, _RANK_ORDINARY, action)

    def closing(self, action: Action) -> None:
        """Let `action` happen at the end of the present instant, after all else that is due."""
        self._push(self._now, _RANK_CLOSING, action)

    def settle(self) -> None:
        """Run what is due by now; time does not move."""
        while self._due and self._due[0][0] <= self._now:
            self._run_next()

    async def move(self, to: datetime) -> None:
        """Move time forward to `to` and run everything due on the way, in order.

        Events made by events run in their turn. A time already passed moves nothing.
        """
        async with self._moving:
            ran = 0
            while self._due and self._due[0][0] <= max(to, self._now):
                self._now = max(self._now, self._due[0][0])
                self._run_next()
                ran += 1
                if ran % _EVENTS_PER_TURN == 0:
                    await asyncio.sleep(0)
            self._now = max(self._now, to)

    def _push(self, when: datetime, rank: int, action: Action) -> None:
        self._made += 1
        heapq.heappush(self._due, (when, rank, self._made, action))

    def _run_next(self) -> None:
        _, _, _, action = heapq.heappop(self._due)
        action()
