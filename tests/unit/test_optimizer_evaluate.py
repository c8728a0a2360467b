"""The referee, checked by hand."""

from dataclasses import replace

import pytest

from optimizer.evaluate import (
    evaluate_allocation,
    evaluate_procurement,
    purchase_cost,
    rebate_bp,
    tier_start,
)
from optimizer.schema import (
    AllocationPlan,
    AllocationProblem,
    AllocationWarehouse,
    CarrierRate,
    Coverage,
    Demand,
    FormingSegment,
    Group,
    Member,
    Offer,
    OrderLine,
    PriceBreak,
    ProcurementPlan,
    ProcurementProblem,
    Product,
    Shipment,
    SpendTier,
    Stock,
    Supplier,
    Truck,
)

OFFER = Offer(
    supplier="S",
    product="A",
    moq=10,
    pack=5,
    capacity=60,
    breaks=(PriceBreak(from_units=10, price=100), PriceBreak(from_units=30, price=90)),
)
SUPPLIER = Supplier(
    id="S",
    fixed_order_cost=700,
    min_order_value=1500,
    spend_tiers=(SpendTier(min_spend=0, rebate_bp=0), SpendTier(min_spend=2700, rebate_bp=125)),
    freight_per_unit={"W1": 3, "W2": 4},
)
PURCHASE = ProcurementProblem(
    budget=5000,
    warehouses=("W1", "W2", "W3"),
    suppliers=(SUPPLIER,),
    products=(
        Product(id="A", holding_cost=2, writeoff_cost=10, future_unit_cost=50, max_excess=4),
    ),
    demands=(
        Demand(
            product="A",
            warehouse="W1",
            must=18,
            forming=(FormingSegment(units=3, pi_bp=7500),),
        ),
        Demand(product="A", warehouse="W2", must=7),
    ),
    offers=(OFFER,),
)
LINE = OrderLine(
    supplier="S",
    product="A",
    units=30,
    tier_from=30,
    purchase_cost=2700,
    shipments=(Shipment(warehouse="W1", units=21), Shipment(warehouse="W2", units=9)),
)
GOOD = ProcurementPlan(
    orders=(LINE,),
    coverage=(
        Coverage(product="A", warehouse="W1", forming=(3,), excess=0),
        Coverage(product="A", warehouse="W2", forming=(), excess=2),
    ),
)


def broken_rules(plan: ProcurementPlan) -> set[str]:
    return {violation.rule for violation in evaluate_procurement(PURCHASE, plan).violations}


def test_every_part_of_a_purchase_is_priced() -> None:
    judged = evaluate_procurement(PURCHASE, GOOD)

    # Forming unit: 2 x 10^4 + 0.25 x 10 x 10^4 - 0.75 x 50 x 10^4 = -330,000.
    assert judged.parts_e4 == {
        "purchase": 27_000_000,
        "fixed_order": 7_000_000,
        "freight": (21 * 3 + 9 * 4) * 10_000,
        "excess": 2 * 12 * 10_000,
        "forming": 3 * -330_000,
        "rebate": -125 * 2700,
    }
    assert judged.objective_e4 == 27_000_000 + 7_000_000 + 990_000 + 240_000 - 990_000 - 337_500
    assert judged.feasible


def test_a_spend_at_the_threshold_has_reached_it() -> None:
    assert rebate_bp(SUPPLIER, spend=2700) == 125
    assert rebate_bp(SUPPLIER, spend=2699) == 0


@pytest.mark.parametrize(
    ("units", "rule"), [(5, "moq"), (32, "pack"), (65, "capacity"), (5, "unpriced")]
)
def test_a_quantity_the_supplier_refuses_is_named(units: int, rule: str) -> None:
    line = replace(LINE, units=units, shipments=(Shipment(warehouse="W1", units=units),))

    assert rule in broken_rules(replace(GOOD, orders=(line,)))


def test_units_that_arrive_without_a_reason_or_do_not_arrive_are_named() -> None:
    nothing_covered = replace(GOOD, coverage=())
    too_much_covered = replace(
        GOOD, coverage=(replace(GOOD.coverage[0], excess=1), GOOD.coverage[1])
    )

    assert broken_rules(nothing_covered) == {"balance"}
    assert broken_rules(too_much_covered) == {"must"}


def test_excess_and_segments_have_limits() -> None:
    excess = replace(GOOD.coverage[1], excess=5)
    segment = replace(GOOD.coverage[0], forming=(4,))

    assert "max_excess" in broken_rules(replace(GOOD, coverage=(GOOD.coverage[0], excess)))
    assert "forming" in broken_rules(replace(GOOD, coverage=(segment, GOOD.coverage[1])))


def test_a_shipment_needs_a_lane_and_must_add_up() -> None:
    nowhere = replace(LINE, shipments=(Shipment(warehouse="W3", units=30),))
    short = replace(LINE, shipments=(Shipment(warehouse="W1", units=21),))

    assert "no_lane" in broken_rules(replace(GOOD, orders=(nowhere,)))
    assert "shipments" in broken_rules(replace(GOOD, orders=(short,)))


def test_terms_over_several_products_are_checked() -> None:
    small = replace(
        LINE,
        units=10,
        purchase_cost=1000,
        shipments=(Shipment(warehouse="W1", units=10),),
    )
    large = replace(
        LINE,
        units=60,
        purchase_cost=5400,
        shipments=(Shipment(warehouse="W1", units=60),),
    )

    assert "min_order_value" in broken_rules(replace(GOOD, orders=(small,)))
    assert "budget" in broken_rules(replace(GOOD, orders=(large,)))


def test_a_wrong_price_and_an_offer_nobody_made_are_named() -> None:
    cheaper = replace(LINE, purchase_cost=2600)
    stranger = replace(LINE, supplier="T")

    assert broken_rules(replace(GOOD, orders=(cheaper,))) == {"purchase_cost"}
    assert "no_such_offer" in broken_rules(replace(GOOD, orders=(stranger,)))


def test_an_incremental_list_bills_each_unit_at_its_own_tier() -> None:
    steps = replace(OFFER, scheme="incremental")

    assert purchase_cost(steps, units=29) == 2900
    assert purchase_cost(steps, units=31) == 29 * 100 + 2 * 90
    assert tier_start(steps, units=31) == 30


SHIPPING = AllocationProblem(
    warehouses=(
        AllocationWarehouse(id="E", wave_cost=40),
        AllocationWarehouse(id="W", wave_cost=60, parcel_capacity=1),
    ),
    zones=("N", "S"),
    stock=(Stock(warehouse="E", product="A", units=5), Stock(warehouse="W", product="A", units=2)),
    carrier=(
        CarrierRate(warehouse="E", zone="N", per_parcel=100, per_volume=2),
        CarrierRate(warehouse="E", zone="S", per_parcel=130, per_volume=3),
        CarrierRate(warehouse="W", zone="S", per_parcel=50),
    ),
    trucks=(Truck(warehouse="E", zone="N", capacity=10, cost=70),),
    groups=(
        Group(
            id="g",
            product="A",
            split_penalty=25,
            members=(
                Member(id="m1", zone="N", units=2, volume=7),
                Member(id="m2", zone="S", units=1, volume=4),
                Member(id="m3", zone="N", units=1, volume=7),
            ),
        ),
    ),
)


def shipping_rules(problem: AllocationProblem, **places: str) -> set[str]:
    judged = evaluate_allocation(problem, AllocationPlan(assignment=places))
    return {violation.rule for violation in judged.violations}


def test_every_part_of_a_split_shipment_is_priced() -> None:
    plan = AllocationPlan(assignment={"m1": "E", "m2": "W", "m3": "E"})

    judged = evaluate_allocation(SHIPPING, plan)

    assert judged.parts_e4 == {
        "carrier": (114 + 50 + 114) * 10_000,
        "wave": 100 * 10_000,
        "split": 25 * 10_000,
        "truck": 2 * 70 * 10_000,
    }
    assert judged.feasible


def test_each_rule_of_a_shipment_is_named() -> None:
    whole = replace(SHIPPING, groups=(replace(SHIPPING.groups[0], whole=True),))
    only_east = replace(SHIPPING, groups=(replace(SHIPPING.groups[0], warehouses=("E",)),))
    one_left = replace(SHIPPING, stock=(replace(SHIPPING.stock[0], units=1), SHIPPING.stock[1]))

    assert shipping_rules(whole, m1="E", m2="W", m3="E") == {"whole"}
    assert shipping_rules(only_east, m1="E", m2="W", m3="E") == {"warehouse"}
    assert shipping_rules(one_left, m1="E", m2="W", m3="E") == {"stock"}
    assert shipping_rules(SHIPPING, m1="W", m2="W", m3="W") == {
        "no_lane",
        "parcel_capacity",
        "stock",
    }
    assert shipping_rules(SHIPPING, m1="E") == {"half_served"}
    assert shipping_rules(SHIPPING) == {"unserved"}
    assert shipping_rules(SHIPPING, m1="E", m2="E", m3="E", m9="E") == {"no_such_member"}
