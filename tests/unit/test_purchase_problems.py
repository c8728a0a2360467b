from dataclasses import replace
from datetime import timedelta

import pytest

from optimizer.reading import check_procurement
from suppliers.problems import Reach, build_problem, cut_to, excess_limit, offers_of, segments
from suppliers.tables import PriceMode
from tests.unit.purchase_terms import NOW, SHIP_BY, company, demand, missing, terms

COMPANIES = {"jade": company(), "reed": company("reed")}


def test_the_problem_says_what_the_rows_say() -> None:
    tea = demand(
        missing(1, 30),
        missing(2, 20, warehouse="north"),
        offers=(terms(breaks=((1, 1000), (60, 900)), moq=12, pack=6),),
        max_excess=15,
        safety=4,
        leftover=1,
        forming=((10, 8000), (5, 300)),
    )

    problem = build_problem([tea], companies=COMPANIES, now=NOW, name="morning")

    check_procurement(problem)
    assert [(row.warehouse, row.must) for row in problem.demands] == [("east", 33), ("north", 20)]
    # Ten likely units, and the excess once for both warehouses as units nobody will need.
    assert [(row.units, row.pi_bp) for row in problem.demands[0].forming] == [(10, 8000), (15, 0)]
    assert problem.demands[1].forming == ()
    assert (problem.products[0].max_excess, problem.products[0].future_unit_cost) == (0, 1000)
    (offer,) = problem.offers
    assert (offer.moq, offer.pack, offer.scheme, offer.capacity) == (12, 6, "all_units", 3000)


def test_capacity_is_what_can_be_made_until_the_goods_must_leave() -> None:
    tea = demand(missing(1, 30), offers=(terms(capacity_per_day=100, open_units=40),))

    (offer,) = offers_of(tea, companies=COMPANIES, now=NOW)

    assert offer.capacity == 3 * 100 - 40  # five days to ship, two of them lead


@pytest.mark.parametrize(
    ("max_units", "commitment_left", "capacity"), [(120, None, 120), (None, 75, 72), (60, 75, 60)]
)
def test_capacity_is_cut_by_the_agreement(
    max_units: int | None, commitment_left: int | None, capacity: int
) -> None:
    limited = terms(pack=12, max_units=max_units, commitment_left=commitment_left)

    (offer,) = offers_of(demand(missing(1, 3), offers=(limited,)), companies=COMPANIES, now=NOW)

    assert offer.capacity == capacity


@pytest.mark.parametrize(
    ("lead_days", "safety_days", "first"),
    [(4, 1, Reach.SAFE), (5, 1, Reach.TIGHT), (6, 0, Reach.LATE)],
)
def test_an_offer_is_let_in_by_when_its_goods_come(
    lead_days: int, safety_days: int, first: Reach
) -> None:
    slow = terms(lead_days=lead_days, hard_safety_days=safety_days)
    tea = demand(missing(1, 1), offers=(slow,))
    allowed = [
        reach
        for reach in Reach
        if offers_of(replace(tea, reach=reach), companies=COMPANIES, now=NOW)
    ]

    assert allowed[0] is first


def test_an_order_after_the_cut_off_counts_from_the_next_day() -> None:
    evening = NOW + timedelta(hours=6)
    tea = demand(missing(1, 1), offers=(terms(lead_days=4),))

    assert len(offers_of(tea, companies=COMPANIES, now=NOW)) == 1
    assert len(offers_of(tea, companies=COMPANIES, now=evening)) == 0


def test_a_supplier_that_refused_a_while_ago_is_not_asked_yet() -> None:
    tea = demand(missing(1, 1), offers=(terms(resting_until=NOW + timedelta(hours=1)),))

    assert offers_of(tea, companies=COMPANIES, now=NOW) == ()
    assert len(offers_of(tea, companies=COMPANIES, now=NOW + timedelta(hours=1))) == 1


def test_the_last_served_are_put_off_when_capacity_is_short() -> None:
    first, second, third = missing(1, 40), missing(2, 50), missing(3, 10)

    kept, off = cut_to(demand(first, second, third, offers=(terms(),)), units=60)

    assert (kept.missing, off) == ((first, third), (second,))


def test_an_accepted_moq_risk_allows_the_smallest_order() -> None:
    dear = terms(moq=50, breaks=((1, 100),))
    careful = demand(missing(1, 5), offers=(dear,), max_excess=10)
    brave = demand(missing(1, 5), offers=(dear,), max_excess=10, moq_risk=True)

    companies = {"jade": company(min_order_value_fen=8000)}
    assert excess_limit(careful, companies=companies) == 10
    assert excess_limit(brave, companies=companies) == 80  # the minimum value, not the MOQ


def test_what_is_left_over_counts_against_the_allowed_excess() -> None:
    tea = demand(missing(1, 5), offers=(terms(),), max_excess=10, leftover=9, safety=2)

    assert excess_limit(tea, companies=COMPANIES) == 3


def test_an_incremental_price_list_stays_one() -> None:
    tea = demand(missing(1, 5), offers=(terms(price_mode=PriceMode.INCREMENTAL),))

    (offer,) = offers_of(tea, companies=COMPANIES, now=NOW)

    assert offer.scheme == "incremental"


def test_certain_demand_is_the_likeliest_segment() -> None:
    assert segments([(3, 10_000), (2, 0)], leftover=1) == ((2, 10_000),)


def test_the_earliest_ship_by_of_a_sku_decides() -> None:
    assert demand(missing(1, 1), missing(2, 1), offers=(terms(),)).ship_by == SHIP_BY
