from collections.abc import Mapping
from uuid import UUID

from suppliers.needs import Netted, UncoveredNeed, net
from tests.unit.purchase_terms import need

EVERYWHERE = {"tea": frozenset({"east", "north"}), "cup": frozenset({"east", "north"})}


def netted(*needs: UncoveredNeed, available: Mapping[tuple[str, str], int] | None = None) -> Netted:
    return net(needs, available=available or {}, delivered_to=EVERYWHERE)


def bought(result: Netted) -> list[tuple[str, str, int]]:
    return [(row.bundle.sku, row.warehouse, row.units) for row in result.missing]


def test_an_order_is_bought_for_the_cheapest_warehouse() -> None:
    result = netted(need(1, province="31"), need(2, province="11"))

    assert bought(result) == [("tea", "east", 1), ("tea", "north", 1)]


def test_stock_in_another_warehouse_is_not_bought_again() -> None:
    result = netted(need(1, units=3), available={("tea", "north"): 5})

    assert (bought(result), result.covered_orders, result.leftover) == ([], 1, {"tea": 2})


def test_the_earliest_group_gets_what_is_there() -> None:
    early, late = need(1, units=4), need(2, units=4)

    result = netted(early, late, available={("tea", "east"): 5})

    assert [row.bundle.orders for row in result.missing] == [(late,)]
    assert bought(result) == [("tea", "east", 3)]


def test_a_whole_group_goes_where_all_its_members_are_served_at_least_cost() -> None:
    members = [need(1, group=1, province="31"), need(2, group=1, province="11")]

    result = netted(*members)

    # east 800 + 1500 = 2300, north 1200 + 700 = 1900
    assert bought(result) == [("tea", "north", 2)]


def test_members_of_a_group_that_may_be_split_go_their_own_ways() -> None:
    members = [
        need(1, group=1, province="31", whole=False),
        need(2, group=1, province="11", whole=False),
    ]

    assert bought(netted(*members)) == [("tea", "east", 1), ("tea", "north", 1)]


def test_fragments_that_no_whole_group_can_use_do_not_stop_a_purchase() -> None:
    members = [need(number, group=1) for number in range(10)]

    result = netted(*members, available={("tea", "east"): 5, ("tea", "north"): 5})

    assert bought(result) == [("tea", "east", 5)]
    assert result.leftover == {"tea": 5}


def test_what_nobody_delivers_or_ships_is_named() -> None:
    nowhere = need(1, province="54")
    unsold = need(2, sku="lamp")

    result = netted(nowhere, unsold)

    assert [bundle.orders for bundle in result.unreachable] == [(nowhere,), (unsold,)]


def test_a_supplier_that_only_delivers_to_the_dearer_warehouse_decides() -> None:
    result = net([need(1)], available={}, delivered_to={"tea": frozenset({"north"})})

    assert bought(result) == [("tea", "north", 1)]


def test_skus_do_not_share_stock() -> None:
    result = netted(need(1), need(2, sku="cup"), available={("cup", "east"): 1})

    assert bought(result) == [("tea", "east", 1)]
    assert result.missing[0].bundle.orders[0].order_id == UUID(int=1)
