from datetime import UTC, datetime, timedelta

from caravan.timeline import (
    GRAIN,
    IDLE,
    MOST_BACKLOG,
    Agenda,
    Reading,
    Step,
    Wait,
    first_midnight,
    next_step,
)

NOON = datetime(2011, 12, 5, 12, tzinfo=UTC)
CALM = Reading(next_due_at=None, backlog=0)


def seconds(count: float) -> datetime:
    return NOON + timedelta(seconds=count)


def due(count: float, *, backlog: int = 0) -> Reading:
    return Reading(next_due_at=seconds(count), backlog=backlog)


def test_time_goes_to_the_earliest_event_of_anybody() -> None:
    assert next_step(NOON, own=seconds(90), caravan=due(70), companies=due(80)) == Step(
        to=seconds(70), idle=False
    )
    assert next_step(NOON, own=seconds(50), caravan=due(70), companies=due(80)) == Step(
        to=seconds(50), idle=False
    )
    assert next_step(NOON, own=None, caravan=CALM, companies=due(80)) == Step(
        to=seconds(80), idle=False
    )


def test_what_is_due_within_five_seconds_is_one_step() -> None:
    assert next_step(NOON, own=seconds(5.1), caravan=due(7), companies=due(9.9)) == Step(
        to=seconds(10), idle=False
    )
    assert next_step(NOON, own=seconds(5), caravan=due(7), companies=CALM) == Step(
        to=seconds(5), idle=False
    )


def test_a_backlog_of_either_side_stops_time() -> None:
    full = Reading(next_due_at=None, backlog=MOST_BACKLOG)
    almost = Reading(next_due_at=None, backlog=MOST_BACKLOG - 1)

    assert isinstance(next_step(NOON, own=seconds(1), caravan=full, companies=CALM), Wait)
    assert isinstance(next_step(NOON, own=seconds(1), caravan=CALM, companies=full), Wait)
    assert isinstance(next_step(NOON, own=seconds(1), caravan=almost, companies=almost), Step)


def test_work_that_is_due_is_passed_by_a_minute_and_no_further() -> None:
    late = due(-10)

    assert next_step(NOON, own=seconds(50), caravan=late, companies=CALM) == Step(
        to=seconds(50), idle=False
    )
    assert isinstance(next_step(NOON, own=seconds(51), caravan=late, companies=CALM), Wait)
    assert isinstance(next_step(NOON, own=seconds(51), caravan=CALM, companies=late), Wait)


def test_what_is_due_now_is_waited_for_when_nothing_else_comes() -> None:
    assert isinstance(next_step(NOON, own=None, caravan=due(0), companies=CALM), Wait)


def test_own_events_that_are_due_keep_time_where_it_is() -> None:
    assert next_step(NOON, own=seconds(-3), caravan=due(60), companies=CALM) == Step(
        to=NOON, idle=False
    )


def test_a_long_way_to_the_next_event_is_idle() -> None:
    long = IDLE.total_seconds()

    at_the_edge = next_step(NOON, own=seconds(long), caravan=CALM, companies=CALM)
    beyond = next_step(NOON, own=seconds(long + 5), caravan=CALM, companies=CALM)

    assert at_the_edge == Step(to=seconds(long), idle=False)
    assert beyond == Step(to=seconds(long + 5), idle=True)


def test_nothing_to_come_is_the_end() -> None:
    assert next_step(NOON, own=None, caravan=CALM, companies=CALM) is None


def test_the_agenda_runs_what_is_due_in_order_and_keeps_the_rest() -> None:
    agenda, ran = Agenda(), list[str]()
    agenda.at(seconds(2), lambda _: ran.append("second"))
    agenda.at(seconds(1), lambda _: ran.append("first"))
    agenda.at(seconds(1), lambda _: ran.append("first too"))
    agenda.at(seconds(9), lambda _: ran.append("later"))

    assert agenda.run(seconds(2)) == 3
    assert ran == ["first", "first too", "second"]
    assert len(agenda) == 1


def test_what_an_event_adds_for_now_runs_at_once() -> None:
    agenda, ran = Agenda(), list[datetime]()
    agenda.at(seconds(1), lambda when: agenda.at(when, ran.append))

    agenda.run(seconds(1))

    assert ran == [seconds(1)]


def test_events_close_together_are_one_step() -> None:
    agenda = Agenda()
    for second in (1, 3, 1 + GRAIN.total_seconds(), 2 + GRAIN.total_seconds()):
        agenda.at(seconds(second), lambda _: None)

    assert agenda.next_at == seconds(1) + GRAIN


def test_an_empty_agenda_has_no_next_moment() -> None:
    assert Agenda().next_at is None


def test_the_day_is_the_next_one_that_begins_later() -> None:
    # Noon UTC is eight in the evening in China.
    assert first_midnight(NOON, day_begins=timedelta(hours=21)) == NOON - timedelta(hours=20)
    assert first_midnight(NOON, day_begins=timedelta(hours=8)) == NOON + timedelta(hours=4)
    assert first_midnight(NOON, day_begins=timedelta(hours=20)) == NOON + timedelta(hours=4)
