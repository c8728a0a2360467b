from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from operations.show_inbound import PeggedOrder, first_to_lose

NOON = datetime(2011, 12, 5, 12, 0, tzinfo=UTC)


def waiting(number: int, group: int, *, units: int = 1, whole: bool = True) -> PeggedOrder:
    return PeggedOrder(
        order_id=UUID(int=number),
        units=units,
        group_id=UUID(int=100 + group),
        completed_at=NOON + timedelta(minutes=group),
        whole=whole,
    )


@pytest.mark.parametrize(
    ("units_left", "lost"),
    [(6, []), (5, {5, 6}), (4, {5, 6}), (3, {3, 4, 5, 6}), (0, {1, 2, 3, 4, 5, 6})],
)
def test_whole_groups_lose_all_the_latest_completed_first(units_left: int, lost: set[int]) -> None:
    orders = [
        waiting(number, group)
        for number, group in zip(range(1, 7), (1, 1, 2, 2, 3, 3), strict=True)
    ]

    assert {order.int for order in first_to_lose(orders, units_left=units_left)} == set(lost)


def test_a_group_that_may_be_split_loses_no_more_than_it_must() -> None:
    orders = [waiting(1, 1), waiting(2, 2, whole=False), waiting(3, 2, whole=False)]

    assert first_to_lose(orders, units_left=2) == [UUID(int=3)]


def test_completion_decides_and_not_the_age_of_the_order() -> None:
    late_order_of_early_group, early_order_of_late_group = waiting(9, 1), waiting(1, 2)

    lost = first_to_lose([late_order_of_early_group, early_order_of_late_group], units_left=1)

    assert lost == [early_order_of_late_group.order_id]
