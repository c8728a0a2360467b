"""The business clock of the sandbox companies."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sandbox.clock import BusinessClock

START = datetime(2011, 12, 5, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Diary:
    """What happened when."""

    def __init__(self, clock: BusinessClock) -> None:
        self.clock = clock
        self.notes: list[tuple[str, datetime]] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.notes.append((name, self.clock.now))


async def test_events_happen_in_order_of_time_and_then_of_making() -> None:
    clock = BusinessClock(start=START)
    diary = Diary(clock)
    clock.at(START + 2 * HOUR, diary.note("later"))
    clock.after(HOUR, diary.note("sooner"))
    clock.after(HOUR, diary.note("sooner, made second"))

    await clock.move(START + 3 * HOUR)

    assert diary.notes == [
        ("sooner", START + HOUR),
        ("sooner, made second", START + HOUR),
        ("later", START + 2 * HOUR),
    ]
    assert clock.now == START + 3 * HOUR
    assert clock.next_due_at is None


async def test_events_made_by_events_happen_in_the_same_move() -> None:
    clock = BusinessClock(start=START)
    diary = Diary(clock)
    clock.after(HOUR, lambda: clock.after(HOUR, diary.note("child")))
    clock.after(3 * HOUR, diary.note("too late"))

    await clock.move(START + 2 * HOUR)

    assert diary.notes == [("child", START + 2 * HOUR)]
    assert clock.next_due_at == START + 3 * HOUR


async def test_the_end_of_an_instant_comes_after_all_that_is_due_in_it() -> None:
    clock = BusinessClock(start=START)
    diary = Diary(clock)

    def first() -> None:
        clock.closing(diary.note("end of the instant"))
        clock.after(timedelta(), diary.note("made in the instant"))

    clock.after(HOUR, first)
    clock.after(HOUR, diary.note("same instant"))

    await clock.move(START + HOUR)

    assert [name for name, _ in diary.notes] == [
        "same instant",
        "made in the instant",
        "end of the instant",
    ]


async def test_time_never_goes_back() -> None:
    clock = BusinessClock(start=START)

    await clock.move(START - HOUR)

    assert clock.now == START


async def test_settling_runs_what_is_due_and_moves_nothing() -> None:
    clock = BusinessClock(start=START)
    diary = Diary(clock)
    clock.after(timedelta(), diary.note("now"))
    clock.after(HOUR, diary.note("later"))

    clock.settle()

    assert diary.notes == [("now", START)]
    assert (clock.now, clock.waiting) == (START, 1)


async def test_an_event_made_for_the_past_happens_now() -> None:
    clock = BusinessClock(start=START)
    diary = Diary(clock)
    clock.at(START - HOUR, diary.note("overdue"))

    await clock.move(START + HOUR)

    assert diary.notes == [("overdue", START)]
