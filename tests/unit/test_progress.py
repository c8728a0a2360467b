"""How likely a forming group is to complete."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as some

from groups.progress import completion_probability

seconds = some.floats(min_value=0, max_value=1e6)


def chance(taken: int, needed: int, *, age: float, left: float) -> float:
    return completion_probability(
        taken_seats=taken, needed_seats=needed, age_seconds=age, left_seconds=left
    )


@given(some.integers(0, 50), some.integers(1, 1000), seconds, seconds)
def test_it_is_a_probability(taken: int, needed: int, age: float, left: float) -> None:
    assert 0.0 <= chance(taken, needed, age=age, left=left) <= 1.0


def test_more_members_and_more_time_make_it_likelier() -> None:
    by_members = [chance(taken, 6, age=600, left=600) for taken in range(7)]
    by_time = [chance(2, 6, age=600, left=left) for left in (0, 60, 600, 6_000, 60_000)]

    assert all(a <= b for a, b in pairwise(by_members))
    assert all(a <= b for a, b in pairwise(by_time))
    assert by_members[-1] == 1.0
    assert by_time[0] == 0.0
