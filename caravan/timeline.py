"""When business time may go where: the rule by which a replay steps, free of any clock."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

# The replay steps no further while more than this waits to be done, at either side.
MOST_BACKLOG: Final = 500
# Nothing that is due may become later than this, in business time.
MOST_LATE: Final = timedelta(seconds=60)
# What is due within the same five seconds is one step: the clock has marks, and a step leads to
# the first mark at or after the earliest event. (Own events that are this close are one as well.)
GRAIN: Final = timedelta(seconds=5)
# A step further than this skips hours: what is under way is finished first.
IDLE: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a side of the replay says of itself: its next due moment and the work that waits."""

    next_due_at: datetime | None
    backlog: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Move business time to `to`; `idle` when hours are skipped."""

    to: datetime
    idle: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Business time may not move yet, and why."""

    why: str


def next_step(
    now: datetime, *, own: datetime | None, caravan: Reading, companies: Reading
) -> Step | Wait | None:
    """Return the next move of business time; None when nothing is to come.

    The step leads to the earliest next event of the replay itself, of Caravan and of the
    companies around it, or up to `GRAIN` beyond it: what was due milliseconds apart is not worth
    a step each. What is due already is somebody's work in progress: time passes it by at most
    `MOST_LATE`.

    Args:
        own: the replay's next event.

    >>> from datetime import UTC
    >>> noon = datetime(2011, 12, 5, 12, tzinfo=UTC)
    >>> calm = Reading(next_due_at=None, backlog=0)
    >>> next_step(noon, own=noon + timedelta(hours=3), caravan=calm, companies=calm).idle
    True
    >>> busy = Reading(next_due_at=None, backlog=500)
    >>> next_step(noon, own=noon, caravan=busy, companies=calm)
    Wait(why='backlog of Caravan: 500')
    """
    for name, side in (("Caravan", caravan), ("the companies", companies)):
        if side.backlog >= MOST_BACKLOG:
            return Wait(why=f"backlog of {name}: {side.backlog}")
    dues = [side.next_due_at for side in (caravan, companies) if side.next_due_at is not None]
    overdue = [due for due in dues if due <= now]
    ahead = [moment for moment in (*dues, own) if moment is not None and moment > now]
    if own is not None and own <= now:
        ahead.append(now)
    if not ahead:
        return Wait(why=f"due since {min(overdue):%H:%M:%S}") if overdue else None
    to = _mark(min(ahead)) if min(ahead) > now else now
    if overdue and to > min(overdue) + MOST_LATE:
        return Wait(why=f"due since {min(overdue):%H:%M:%S}")
    return Step(to=to, idle=to - now > IDLE)


def _mark(moment: datetime) -> datetime:
    """Return the first moment of the grid at or after `moment`."""
    past = timedelta(seconds=moment.timestamp() % GRAIN.total_seconds())
    return moment if not past else moment - past + GRAIN


Act = Callable[[datetime], None]


@dataclass(slots=True)
class Agenda:
    """What the replay itself will do, by business time."""

    _due: list[tuple[datetime, int, Act]] = field(default_factory=list)
    _made: int = 0

    def at(self, when: datetime, act: Act) -> None:
        """Let `act` be called with its moment when business time has reached it."""
        self._made += 1
        heapq.heappush(self._due, (when, self._made, act))

    @property
    def next_at(self) -> datetime | None:
        """Return the moment to step to: the last of the next events that are close together."""
        if not self._due:
            return None
        first = self._due[0][0]
        return max(when for when, _, _ in self._due if when - first <= GRAIN)

    def __len__(self) -> int:
        return len(self._due)

    def run(self, now: datetime) -> int:
        """Call what is due by now, in order, and return how much it was."""
        ran = 0
        while self._due and self._due[0][0] <= now:
            when, _, act = heapq.heappop(self._due)
            act(when)
            ran += 1
        return ran


def first_midnight(now: datetime, *, day_begins: timedelta, zone_hours: int = 8) -> datetime:
    """Return the midnight of the next day whose first event lies after `now`.

    Args:
        day_begins: the time of day of the first event.
        zone_hours: the day's offset from UTC; China has one zone without summer time.
    """
    local = now + timedelta(hours=zone_hours)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
        hours=zone_hours
    )
    while midnight + day_begins <= now:
        midnight += timedelta(days=1)
    return midnight
