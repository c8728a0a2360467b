"""When parcels leave: one cut-off a day, at a local time, as instants."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyCutOff:
    """A local time of day; what is ready at that instant still leaves on that day.

    Where a clock change skips the local time, the cut-off is as long after midnight as on other
    days; where it repeats it, the first of the two counts.
    """

    local: time
    timezone: str

    def on(self, day: date) -> datetime:
        """Return the instant of the cut-off on a local day, in UTC."""
        wall = datetime.combine(day, self.local.replace(tzinfo=None, fold=0))
        return wall.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)

    def day_of(self, instant: datetime) -> date:
        """Return the local day of an instant."""
        return instant.astimezone(ZoneInfo(self.timezone)).date()

    def upcoming(self, at: datetime) -> Iterator[datetime]:
        """Yield the cut-offs at or after `at`, ascending, without end."""
        day = self.day_of(at) - timedelta(days=1)
        while True:
            instant = self.on(day)
            if instant >= at:
                yield instant
            day += timedelta(days=1)

    def next(self, at: datetime) -> datetime:
        """Return the first cut-off at or after `at`."""
        return next(self.upcoming(at))

    def last(self, at: datetime) -> datetime:
        """Return the latest cut-off at or before `at`."""
        day = self.day_of(at) + timedelta(days=1)
        while (instant := self.on(day)) > at:
            day -= timedelta(days=1)
        return instant

    def count(self, *, after: datetime, until: datetime) -> int:
        """Return how many cut-offs lie in (after, until]."""
        counted = 0
        for instant in self.upcoming(after):
            if instant > until:
                return counted
            counted += instant > after
        raise AssertionError  # upcoming() has no end
