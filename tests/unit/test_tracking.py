from itertools import permutations

import pytest

from logistics.tables import ShipmentState, TrackingStatus
from logistics.tracking import ENDS, RANK, highest

JOURNEY = (
    TrackingStatus.COLLECTED,
    TrackingStatus.IN_TRANSIT,
    TrackingStatus.EXCEPTION,
    TrackingStatus.OUT_FOR_DELIVERY,
    TrackingStatus.DELIVERED,
)


@pytest.mark.parametrize("order", list(permutations(JOURNEY)))
def test_news_in_any_order_end_the_same(order: tuple[TrackingStatus, ...]) -> None:
    status = TrackingStatus.NONE
    for heard in order:
        before = status
        status = highest([status, heard, heard])
        assert RANK[status] >= RANK[before]

    assert status is TrackingStatus.DELIVERED


@pytest.mark.parametrize("end", list(ENDS))
def test_nothing_on_the_way_changes_an_end(end: TrackingStatus) -> None:
    for status in TrackingStatus:
        if status not in ENDS:
            assert highest([end, status]) is end


def test_every_end_closes_the_parcel() -> None:
    assert {state.value for state in ENDS.values()} == {"delivered", "returned", "lost"}
    assert ENDS[TrackingStatus.DELIVERED] is ShipmentState.DELIVERED


def test_a_parcel_nobody_spoke_of_has_no_status() -> None:
    assert highest([]) is TrackingStatus.NONE
