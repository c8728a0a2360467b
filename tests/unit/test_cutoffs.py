from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logistics.cutoffs import DailyCutOff

SHANGHAI = DailyCutOff(local=time(18), timezone="Asia/Shanghai")
NEW_YORK = DailyCutOff(local=time(2, 30), timezone="America/New_York")


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def test_what_is_ready_at_the_cut_off_still_leaves() -> None:
    cut_off = utc(2011, 12, 5, 10)

    assert SHANGHAI.next(cut_off) == cut_off
    assert SHANGHAI.next(cut_off + timedelta(microseconds=1)) == cut_off + timedelta(days=1)
    assert SHANGHAI.last(cut_off) == cut_off
    assert SHANGHAI.last(cut_off - timedelta(microseconds=1)) == cut_off - timedelta(days=1)


def test_the_day_is_the_local_one() -> None:
    late_evening_utc = utc(2011, 12, 5, 23)  # 07:00 on the 6th in Shanghai

    assert SHANGHAI.day_of(late_evening_utc) == date(2011, 12, 6)
    assert SHANGHAI.next(late_evening_utc) == utc(2011, 12, 6, 10)


def test_a_cut_off_that_the_spring_change_skips_comes_as_long_after_midnight() -> None:
    # 2026-03-08: 02:00 EST becomes 03:00 EDT; 02:30 does not exist.
    assert NEW_YORK.on(date(2026, 3, 8)) == utc(2026, 3, 8, 7, 30)
    assert NEW_YORK.on(date(2026, 3, 9)) == utc(2026, 3, 9, 6, 30)


def test_a_cut_off_that_the_autumn_change_repeats_counts_once_the_first_time() -> None:
    half_past_one = DailyCutOff(local=time(1, 30), timezone="America/New_York")
    first = utc(2026, 11, 1, 5, 30)  # EDT; 06:30 UTC is 01:30 again, EST

    assert half_past_one.on(date(2026, 11, 1)) == first
    assert half_past_one.next(first + timedelta(minutes=1)) == utc(2026, 11, 2, 6, 30)


def test_cut_offs_between_two_moments_are_counted() -> None:
    cut_off = utc(2011, 12, 5, 10)

    assert SHANGHAI.count(after=cut_off, until=cut_off) == 0
    assert SHANGHAI.count(after=cut_off, until=cut_off + timedelta(days=2)) == 2
    assert SHANGHAI.count(after=cut_off - timedelta(seconds=1), until=cut_off) == 1
    assert SHANGHAI.count(after=cut_off, until=cut_off - timedelta(days=3)) == 0


@given(
    at=st.datetimes(
        min_value=datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2027, 1, 1),  # noqa: DTZ001 - same
        timezones=st.just(UTC),
    ),
    local=st.times(),
    timezone=st.sampled_from(
        ["Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"]
    ),
)
def test_last_and_next_enclose_every_moment_within_a_day(
    at: datetime, local: time, timezone: str
) -> None:
    cut_off = DailyCutOff(local=local, timezone=timezone)

    before, after = cut_off.last(at), cut_off.next(at)

    assert before <= at <= after
    assert before == after or timedelta(hours=22) <= after - before <= timedelta(hours=26)
    assert cut_off.day_of(after) - cut_off.day_of(before) <= timedelta(days=1)


@pytest.mark.parametrize("days", [0, 1, 5])
def test_upcoming_ascends_day_by_day(days: int) -> None:
    cut_offs = SHANGHAI.upcoming(utc(2011, 12, 5))

    assert [next(cut_offs) for _ in range(days + 1)][-1] == utc(2011, 12, 5 + days, 10)
