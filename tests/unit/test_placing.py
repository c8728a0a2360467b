from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from logistics import refining
from logistics.cutoffs import DailyCutOff
from logistics.network import Network, Place, Way
from logistics.placing import GroupWant, Placement, Reason, Want, by_distance, place_fairly
from logistics.shelves import Shelves, Source
from logistics.stranded import missing_by_place
from logistics.tables import WarehouseKind
from logistics.tariffs import Tariff
from optimizer.evaluate import evaluate_allocation
from optimizer.plan import plan_allocation

NOON = datetime(2011, 12, 5, 4, tzinfo=UTC)
DAY = timedelta(days=1)
NORTH, SOUTH = "110000", "440000"


def place(
    code: str,
    province: str,
    *,
    kind: WarehouseKind = WarehouseKind.OWN,
    on_hold: bool = False,
    wave_cost_fen: int = 0,
) -> Place:
    return Place(
        code=code,
        kind=kind,
        province=province,
        city=province,
        lon=116.4 if province == NORTH else 113.3,
        lat=39.9 if province == NORTH else 23.1,
        cut_off=DailyCutOff(local=time(18), timezone="Asia/Shanghai"),
        handling_hours=2,
        daily_parcels=100,
        wave_cost_fen=wave_cost_fen,
        on_hold=on_hold,
    )


def way(fen: int, *, carrier: str = "swift", days: int = 2) -> Way:
    tariff = Tariff(first_grams=1000, first_fen=fen, step_grams=500, step_fen=100)
    return Way(carrier=carrier, tariff=tariff, days=days, max_grams=20_000)


def network(*places: Place, near_fen: int = 600, far_fen: int = 1100) -> Network:
    known = places or (place("north", NORTH), place("south", SOUTH))
    return Network(
        places={each.code: each for each in known},
        ways={
            (each.code, province): (way(near_fen if each.province == province else far_fen),)
            for each in known
            for province in (NORTH, SOUTH)
        },
    )


def group(
    number: int,
    *provinces: str,
    units: int = 1,
    whole: bool = True,
    minutes: int = 0,
    only: frozenset[str] | None = None,
    ship_by: datetime = NOON + 2 * DAY,
) -> GroupWant:
    return GroupWant(
        group_id=UUID(int=number),
        sku="tea",
        unit_grams=500,
        whole=whole,
        completed_at=NOON + timedelta(minutes=minutes),
        ship_by=ship_by,
        wants=tuple(
            Want(order_id=UUID(int=100 * number + n), units=units, province=p, city=p)
            for n, p in enumerate(provinces)
        ),
        only=only,
    )


def shelf(warehouse: str, units: int) -> Source:
    return Source(warehouse=warehouse, sku="tea", units=units)


def line(warehouse: str, units: int, *, days: float = 1, number: int = 1) -> Source:
    return Source(
        warehouse=warehouse,
        sku="tea",
        units=units,
        line_id=UUID(int=number),
        available_at=NOON + days * DAY,
    )


def serve(
    groups: list[GroupWant],
    sources: list[Source],
    *,
    net: Network | None = None,
    room: int = 100,
) -> Placement:
    net = net or network()
    return place_fairly(
        groups,
        network=net,
        shelves=Shelves(sources),
        capacity=dict.fromkeys(net.places, room),
    )


def where(placement: Placement, number: int) -> list[str]:
    return [each.warehouse for each in placement.placed[UUID(int=number)]]


def test_a_group_is_served_from_the_cheapest_warehouse_that_has_all_of_it() -> None:
    found = serve([group(1, SOUTH, SOUTH)], [shelf("north", 5), shelf("south", 2)])

    assert where(found, 1) == ["south", "south"]
    assert found.cost_fen == 1200


def test_a_distant_whole_warehouse_beats_two_near_halves() -> None:
    found = serve([group(1, NORTH, SOUTH)], [shelf("north", 2), shelf("south", 1)])

    assert where(found, 1) == ["north", "north"]


def test_two_halves_serve_no_whole_group_and_say_what_is_missing() -> None:
    found = serve([group(1, NORTH, NORTH, NORTH)], [shelf("north", 2), shelf("south", 1)])

    (unserved,) = found.unserved
    assert (unserved.reason, unserved.warehouse, unserved.missing_units) == (
        Reason.SHORT,
        "north",
        1,
    )


def test_a_group_that_may_split_takes_both_halves_or_none() -> None:
    sources = [shelf("north", 1), shelf("south", 1)]

    both = serve([group(1, NORTH, SOUTH, whole=False)], sources)
    neither = serve([group(1, NORTH, SOUTH, SOUTH, whole=False)], sources)
    after = serve([group(1, NORTH, SOUTH, SOUTH, whole=False), group(2, NORTH, minutes=1)], sources)

    assert where(both, 1) == ["north", "south"]
    assert not neither.placed
    assert where(after, 2) == ["north"]  # what the first gave back


def test_stock_and_inbound_of_one_warehouse_serve_a_group_together() -> None:
    found = serve([group(1, NORTH, NORTH, NORTH)], [shelf("north", 1), line("north", 2)])

    placed = found.placed[UUID(int=1)]
    assert sorted(each.from_stock for each in placed) == [False, False, True]
    assert not any(each.late for each in placed)


def test_an_order_is_served_from_one_source() -> None:
    found = serve([group(1, NORTH, units=2)], [shelf("north", 1), line("north", 1)])

    (unserved,) = found.unserved
    assert (unserved.reason, unserved.missing_units) == (Reason.SHORT, 2)


def test_stock_far_away_goes_before_inbound_near_by_and_in_time_before_late() -> None:
    from_stock = serve([group(1, NORTH)], [shelf("south", 1), line("north", 1)])
    in_time = serve(
        [group(1, NORTH)],
        [line("north", 1, days=5, number=1), line("south", 1, days=1, number=2)],
    )
    late = serve([group(1, NORTH)], [line("north", 1, days=5)])

    assert where(from_stock, 1) == ["south"]
    assert where(in_time, 1) == ["south"]
    assert late.placed[UUID(int=1)][0].late


def test_the_group_that_was_complete_first_gets_the_last_units() -> None:
    early, late = group(9, NORTH, NORTH), group(1, NORTH, NORTH, minutes=1)

    found = serve([late, early], [shelf("north", 3)])

    assert list(found.placed) == [UUID(int=9)]
    assert [u.group.group_id.int for u in found.unserved] == [1]


def test_a_group_that_cannot_be_served_holds_up_nobody() -> None:
    found = serve([group(1, *[NORTH] * 4), group(2, NORTH, minutes=1)], [shelf("north", 3)])

    assert list(found.placed) == [UUID(int=2)]


def test_the_rest_of_a_group_joins_the_part_that_has_a_warehouse() -> None:
    found = serve([group(1, NORTH, only=frozenset({"south"}))], [shelf("north", 9)])

    assert found.unserved[0].warehouse == "south"


def test_a_full_dock_sends_a_group_elsewhere_or_lets_it_wait() -> None:
    sources = [shelf("north", 5), shelf("south", 5)]

    elsewhere = serve([group(1, NORTH, NORTH), group(2, NORTH, minutes=1)], sources, room=2)
    waiting = serve([group(1, *[NORTH] * 3)], sources, room=2)

    assert (where(elsewhere, 1), where(elsewhere, 2)) == (["north", "north"], ["south"])
    assert waiting.unserved[0].reason is Reason.CAPACITY


def test_warehouses_on_hold_and_local_ones_of_other_cities_are_no_places() -> None:
    held = network(place("north", NORTH, on_hold=True), place("south", SOUTH))
    local = network(place("north", NORTH, kind=WarehouseKind.LOCAL))

    sources = [shelf("north", 9)]

    assert serve([group(1, NORTH)], sources, net=held).unserved[0].reason is Reason.SHORT
    assert where(serve([group(1, NORTH)], sources, net=local), 1) == ["north"]
    assert serve([group(1, SOUTH)], sources, net=local).unserved[0].reason is Reason.NO_LANE


def test_the_nearest_warehouse_need_not_be_the_cheapest() -> None:
    dear_near = network(near_fen=2000, far_fen=500)
    sources = [shelf("north", 1), shelf("south", 1)]

    nearest = place_fairly(
        [group(1, NORTH)],
        network=dear_near,
        shelves=Shelves(sources),
        capacity={"north": 9, "south": 9},
        rank=by_distance,
    )

    assert where(nearest, 1) == ["north"]
    assert where(serve([group(1, NORTH)], sources, net=dear_near), 1) == ["south"]


def test_what_is_spread_over_warehouses_is_bought_where_least_is_missing() -> None:
    halves = [shelf("north", 3), shelf("south", 2)]

    stranded = missing_by_place(
        [group(1, *[NORTH] * 5), group(2, *[SOUTH] * 4, minutes=1)],
        network=network(),
        shelves=Shelves(halves),
    )

    # The first waits in the north with 3 of 5; the second cannot count those.
    assert stranded == {("tea", "north"): 2, ("tea", "south"): 2}


def test_nothing_is_stranded_that_can_be_served() -> None:
    assert not missing_by_place(
        [group(1, NORTH, SOUTH)], network=network(), shelves=Shelves([line("south", 2)])
    )


@settings(deadline=None, max_examples=40)
@given(
    groups=st.lists(
        st.tuples(st.lists(st.sampled_from([NORTH, SOUTH]), min_size=1, max_size=4), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    north=st.integers(0, 12),
    south=st.integers(0, 12),
    room=st.integers(1, 12),
    wave_cost_fen=st.sampled_from([0, 700]),
)
def test_the_optimizer_serves_the_same_groups_for_no_more(
    groups: list[tuple[list[str], bool]], north: int, south: int, room: int, wave_cost_fen: int
) -> None:
    net = network(
        place("north", NORTH, wave_cost_fen=wave_cost_fen),
        place("south", SOUTH, wave_cost_fen=wave_cost_fen),
    )
    shelves = Shelves([shelf("north", north), shelf("south", south)])
    capacity = {"north": room, "south": room}
    placement = place_fairly(
        [group(n + 1, *p, whole=whole, minutes=n) for n, (p, whole) in enumerate(groups)],
        network=net,
        shelves=shelves,
        capacity=capacity,
    )
    question = refining.question_of(placement, network=net, shelves=shelves, capacity=capacity)
    if question is None:
        assert not placement.placed
        return

    result = plan_allocation(question.problem)

    assert result.plan is not None
    assert not result.unserved
    assert evaluate_allocation(question.problem, result.plan).feasible
    better = refining.answered(question, result.plan.assignment, placement=placement, network=net)
    assert better.placed.keys() == placement.placed.keys()
    cost = refining.plan_cost_fen(better, network=net)
    assert cost <= refining.plan_cost_fen(placement, network=net)
    assert result.objective_e4 is not None
    assert cost * 10_000 == result.objective_e4
