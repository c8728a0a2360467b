from dataclasses import asdict
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppliers.lines import (
    LineRefused,
    LineUnits,
    answer,
    cancel,
    close_short,
    count,
    new_line,
    refuse,
)


def assert_adds_up(line: LineUnits) -> None:
    assert line.ordered_units == (
        line.accepted_units + line.rejected_units + line.cancelled_units + line.unanswered_units
    )
    assert line.accepted_units == (
        line.good_units + line.damaged_units + line.short_closed_units + line.open_units
    )
    assert all(units >= 0 for units in asdict(line).values())


def received(line: LineUnits, good: int, damaged: int = 0, *, over_bp: int = 0) -> LineUnits:
    return count(line, good_units=good, damaged_units=damaged, over_delivery_bp=over_bp).units


def test_an_answer_in_part_rejects_the_rest() -> None:
    line = answer(new_line(100), accepted_units=70)

    assert (line.open_units, line.rejected_units, line.unanswered_units) == (70, 30, 0)


@pytest.mark.parametrize("accepted", [-1, 101])
def test_an_answer_beyond_the_order_is_refused(accepted: int) -> None:
    with pytest.raises(LineRefused):
        answer(new_line(100), accepted_units=accepted)


@pytest.mark.parametrize("accepted", [0, 60, 80, 100])
@pytest.mark.parametrize("good", [0, 50, 80, 100, 110])
def test_goods_before_or_after_the_answer_end_in_the_same_numbers(accepted: int, good: int) -> None:
    goods_last = received(answer(new_line(100), accepted_units=accepted), good)
    goods_first = answer(received(new_line(100), good), accepted_units=accepted)

    assert goods_first == goods_last
    assert_adds_up(goods_last)


def test_two_receipts_and_an_answer_commute() -> None:
    steps = {
        "answer": lambda line: answer(line, accepted_units=90),
        "first": lambda line: received(line, 40, 5),
        "second": lambda line: received(line, 30),
    }

    ends = set()
    for order in permutations(steps):
        line = new_line(100)
        for name in order:
            line = steps[name](line)
        ends.add(line)

    (end,) = ends
    assert (end.good_units, end.damaged_units, end.open_units, end.rejected_units) == (
        70,
        5,
        15,
        10,
    )


def test_damaged_goods_count_as_delivered_and_are_held() -> None:
    counted = count(new_line(10), good_units=7, damaged_units=3, over_delivery_bp=0)

    assert (counted.units.good_units, counted.units.damaged_units) == (7, 3)
    assert (counted.sellable_units, counted.held_units) == (7, 3)
    assert counted.units.settled


@pytest.mark.parametrize(
    ("good", "over_bp", "sellable", "held"),
    [(100, 500, 100, 0), (105, 500, 105, 0), (106, 500, 105, 1), (110, 0, 100, 10)],
)
def test_over_delivery_is_sold_within_tolerance_and_held_beyond(
    good: int, over_bp: int, sellable: int, held: int
) -> None:
    counted = count(new_line(100), good_units=good, damaged_units=0, over_delivery_bp=over_bp)

    assert (counted.sellable_units, counted.held_units) == (sellable, held)
    assert counted.units.over_units == good - 100


def test_the_allowance_for_over_delivery_is_used_once() -> None:
    first = count(new_line(100), good_units=104, damaged_units=0, over_delivery_bp=500)
    second = count(first.units, good_units=3, damaged_units=0, over_delivery_bp=500)

    assert (first.sellable_units, second.sellable_units, second.held_units) == (104, 1, 2)


def test_the_late_rest_of_a_short_delivery_is_taken_back_in() -> None:
    short = close_short(received(answer(new_line(50), accepted_units=50), 45))
    late = received(short, 5)

    assert (short.short_closed_units, short.coming_units) == (5, 0)
    assert (late.short_closed_units, late.good_units, late.over_units) == (0, 50, 0)


def test_cancelled_units_are_not_wanted_any_more() -> None:
    counted = count(cancel(new_line(10)), good_units=4, damaged_units=0, over_delivery_bp=0)

    assert (counted.units.over_units, counted.sellable_units, counted.held_units) == (4, 0, 4)


@given(
    ordered=st.integers(1, 50),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("answer"), st.integers(0, 50), st.just(0)),
            st.tuples(st.just("receive"), st.integers(0, 60), st.integers(0, 20)),
            st.tuples(st.sampled_from(["refuse", "cancel", "short"]), st.just(0), st.just(0)),
        ),
        max_size=8,
    ),
)
def test_every_unit_is_in_exactly_one_place(
    ordered: int, steps: list[tuple[str, int, int]]
) -> None:
    line = new_line(ordered)
    came = 0
    for step, first, second in steps:
        if step == "answer":
            line = answer(line, accepted_units=min(first, ordered - line.cancelled_units))
        elif step == "receive":
            counted = count(line, good_units=first, damaged_units=second, over_delivery_bp=300)
            assert counted.sellable_units + counted.held_units == first + second
            line, came = counted.units, came + first + second
        else:
            line = {"refuse": refuse, "cancel": cancel, "short": close_short}[step](line)
        assert_adds_up(line)
    assert line.good_units + line.damaged_units + line.over_units == came
