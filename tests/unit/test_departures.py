from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from logistics.cutoffs import DailyCutOff
from logistics.departures import (
    Departing,
    Departures,
    Dock,
    bound_together,
    plan_departures,
)

CUT_OFF = datetime(2011, 12, 5, 10, tzinfo=UTC)
DAY = timedelta(days=1)
MORNING = CUT_OFF - timedelta(hours=6)


def dock(daily_parcels: int = 100) -> dict[str, Dock]:
    return {
        "east": Dock(
            cut_off=DailyCutOff(local=time(18), timezone="Asia/Shanghai"),
            daily_parcels=daily_parcels,
        )
    }


def parcel(
    number: int,
    *groups: int,
    ready_at: datetime | None = MORNING,
    completed_at: datetime = MORNING,
    carrier: str = "swift",
    not_before: datetime | None = None,
) -> Departing:
    return Departing(
        shipment_id=UUID(int=number),
        warehouse="east",
        carrier=carrier,
        ties=frozenset(UUID(int=1000 + group) for group in groups),
        ready_at=ready_at,
        not_before=not_before,
        completed_at=completed_at,
    )


def plan(
    *parcels: Departing,
    daily_parcels: int = 100,
    taken: dict[tuple[str, datetime], int] | None = None,
    now: datetime = MORNING,
) -> Departures:
    return plan_departures(parcels, docks=dock(daily_parcels), taken=taken or {}, now=now)


def leaving(departures: Departures) -> dict[int, datetime]:
    return {
        shipment_id.int: slot.cut_off_at
        for slot, ids in departures.slots.items()
        for shipment_id in ids
    }


def test_a_ready_parcel_leaves_with_the_next_cut_off() -> None:
    found = plan(parcel(1), parcel(2, ready_at=CUT_OFF), parcel(3, ready_at=CUT_OFF + DAY / 2))

    assert leaving(found) == {1: CUT_OFF, 2: CUT_OFF, 3: CUT_OFF + DAY}


def test_a_group_waits_for_its_last_parcel_and_leaves_at_one_instant() -> None:
    late = CUT_OFF + timedelta(minutes=1)

    found = plan(parcel(1, 7), parcel(2, 7, ready_at=late, carrier="slow"), parcel(3, 8))

    assert leaving(found) == {1: CUT_OFF + DAY, 2: CUT_OFF + DAY, 3: CUT_OFF}
    assert {slot.carrier for slot in found.slots} == {"swift", "slow"}


def test_a_group_with_a_missing_parcel_stays() -> None:
    assert leaving(plan(parcel(1, 7), parcel(2, 7, ready_at=None), parcel(3))) == {3: CUT_OFF}


def test_a_shared_parcel_ties_its_groups() -> None:
    sets = bound_together([parcel(1, 7), parcel(2, 7, 8), parcel(3, 8), parcel(4, 9), parcel(5)])

    assert sorted(sorted(each.shipment_id.int for each in bound) for bound in sets) == [
        [1, 2, 3],
        [4],
        [5],
    ]


def test_a_full_day_sends_the_later_group_to_the_next_one() -> None:
    early = [parcel(n, 1, completed_at=MORNING) for n in (1, 2)]
    late = [parcel(n, 2, completed_at=MORNING + timedelta(hours=1)) for n in (3, 4)]
    single = parcel(5, completed_at=MORNING + timedelta(hours=2))

    found = leaving(plan(*late, single, *early, daily_parcels=3))

    # The later group does not fit whole; a single parcel takes the place it leaves.
    assert found == {
        1: CUT_OFF,
        2: CUT_OFF,
        3: CUT_OFF + DAY,
        4: CUT_OFF + DAY,
        5: CUT_OFF,
    }


def test_parcels_of_earlier_waves_count() -> None:
    assert leaving(plan(parcel(1), daily_parcels=3, taken={("east", CUT_OFF): 3})) == {
        1: CUT_OFF + DAY
    }


def test_what_missed_its_cut_off_leaves_late_on_the_latest_one() -> None:
    found = plan(parcel(1), now=CUT_OFF + 2 * DAY + timedelta(hours=1))

    assert leaving(found) == {1: CUT_OFF + 2 * DAY}


def test_a_refused_parcel_waits_for_another_day() -> None:
    afterwards = CUT_OFF + timedelta(minutes=5)

    found = plan(parcel(1, not_before=afterwards), parcel(2), now=afterwards)

    assert leaving(found) == {1: CUT_OFF + DAY, 2: CUT_OFF}


def test_a_group_larger_than_a_day_is_named() -> None:
    found = plan(*(parcel(n, 1) for n in range(1, 5)), parcel(9), daily_parcels=3)

    assert {each.int for each in found.too_large} == {1, 2, 3, 4}
    assert leaving(found) == {9: CUT_OFF}


@given(
    groups=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 48)), max_size=25),
    daily_parcels=st.integers(1, 8),
)
def test_no_day_is_overfull_and_no_group_is_divided(
    groups: list[tuple[int, int]], daily_parcels: int
) -> None:
    parcels = [
        parcel(100 * group + n, group, ready_at=MORNING + timedelta(hours=hours))
        for group, (size, hours) in enumerate(groups)
        for n in range(size)
    ]

    found = plan(*parcels, daily_parcels=daily_parcels)

    days: dict[datetime, int] = {}
    for cut_off_at in leaving(found).values():
        days[cut_off_at] = days.get(cut_off_at, 0) + 1
    assert all(count <= daily_parcels for count in days.values())
    at = leaving(found)
    for group, (size, hours) in enumerate(groups):
        instants = {at.get(100 * group + n) for n in range(size)}
        assert len(instants) == 1
        instant = instants.pop()
        assert (instant is None) == (size > daily_parcels)
        assert instant is None or instant >= MORNING + timedelta(hours=hours)
