"""Plans with their proof and their reasons, feasible or not, small or large."""

import json
import random
from dataclasses import replace

import pytest

from optimizer.baselines import cheapest_landed, cheapest_list, nearest_with_stock
from optimizer.evaluate import evaluate_allocation, evaluate_procurement
from optimizer.explanation import Explanation, Finding
from optimizer.plan import plan_allocation, plan_procurement, to_document
from optimizer.schema import (
    AllocationProblem,
    AllocationWarehouse,
    CarrierRate,
    Demand,
    FormingSegment,
    Group,
    Member,
    Offer,
    PriceBreak,
    ProcurementProblem,
    Product,
    SpendTier,
    Stock,
    Supplier,
    Truck,
)

TEA = Product(id="tea", holding_cost=4, writeoff_cost=10, max_excess=40)
SUPPLIER = Supplier(id="hill", freight_per_unit={"east": 0})
OFFER = Offer(
    supplier="hill",
    product="tea",
    pack=12,
    capacity=1000,
    breaks=(PriceBreak(from_units=1, price=1000), PriceBreak(from_units=300, price=924)),
)
PURCHASE = ProcurementProblem(
    warehouses=("east",),
    suppliers=(SUPPLIER,),
    products=(TEA,),
    demands=(Demand(product="tea", warehouse="east", must=280),),
    offers=(OFFER,),
)


def of_kind(explanation: Explanation, kind: str) -> list[Finding]:
    return [finding for finding in explanation.findings if finding.kind == kind]


def test_a_tier_edge_is_said_in_two_languages() -> None:
    result = plan_procurement(PURCHASE)

    # 288 x 1000 + 8 x 14 = 288,112 against 300 x 924 + 20 x 14 = 277,480.
    [edge] = of_kind(result.explanation, "tier_edge")
    assert edge.text.en == "bought 300 because 288 costs 10,632 fen more"
    assert "只买288件要多花10,632分" in edge.text.zh
    assert result.status == "optimal"
    assert result.gap == 0


def test_the_best_rejected_supplier_is_named_with_its_cost() -> None:
    valley = Supplier(id="valley", freight_per_unit={"east": 5}, fixed_order_cost=500)
    dearer = replace(OFFER, supplier="valley", breaks=(PriceBreak(from_units=1, price=930),))
    problem = replace(PURCHASE, suppliers=(SUPPLIER, valley), offers=(OFFER, dearer))

    result = plan_procurement(problem)

    # 288 x 935 + 8 x 14 + 500 = 269,892 against 277,480 at hill.
    assert result.objective_e4 == 2_698_920_000
    [alternative] = of_kind(result.explanation, "alternative")
    assert alternative.subject == "valley/tea"
    assert alternative.numbers["more_fen"] == 277_480 - 269_892


@pytest.mark.parametrize(
    ("offer", "product", "kind"),
    [
        (replace(OFFER, capacity=200), TEA, "capacity_below_must"),
        (replace(OFFER, moq=400), TEA, "moq_above_useful"),
        (replace(OFFER, pack=150), replace(TEA, max_excess=10), "pack_gap"),
    ],
)
def test_an_impossible_purchase_names_the_fact_and_a_way_out(
    offer: Offer, product: Product, kind: str
) -> None:
    result = plan_procurement(replace(PURCHASE, offers=(offer,), products=(product,)))

    assert result.status == "infeasible"
    assert result.objective_e4 is None
    assert of_kind(result.explanation, kind)
    assert of_kind(result.explanation, "relaxation")
    assert result.plan is not None
    [missing] = result.unserved
    assert missing.units == 280 - sum(line.units for line in result.plan.orders)


def test_a_minimum_order_value_out_of_reach_is_named() -> None:
    hill = replace(SUPPLIER, min_order_value=1_000_000)

    result = plan_procurement(replace(PURCHASE, suppliers=(hill,)))

    assert result.status == "infeasible"
    assert of_kind(result.explanation, "min_order_value_above_useful")
    assert "hill" in {finding.subject for finding in of_kind(result.explanation, "relaxation")}
    assert [row.units for row in result.unserved] == [280]


def test_a_budget_that_is_too_small_is_the_way_out() -> None:
    result = plan_procurement(replace(PURCHASE, budget=270_000))

    [change] = of_kind(result.explanation, "relaxation")
    assert change.subject == "budget"
    assert change.numbers["by"] == 277_200 - 270_000
    assert result.plan is not None
    assert sum(line.purchase_cost for line in result.plan.orders) <= 270_000


def shop(products: int, seed: int) -> ProcurementProblem:
    """Return a purchase over three suppliers with fixed costs, minima and rebates."""
    dice = random.Random(seed)  # noqa: S311 (instances, not secrets)
    names = [f"p{number}" for number in range(products)]
    price = {name: dice.randint(500, 8000) for name in names}
    turnover = sum(price.values()) * 40
    return ProcurementProblem(
        warehouses=("east",),
        suppliers=tuple(
            Supplier(
                id=f"s{number}",
                fixed_order_cost=dice.randint(5_000, 60_000),
                min_order_value=turnover // 20,
                spend_tiers=(
                    SpendTier(min_spend=0, rebate_bp=0),
                    SpendTier(min_spend=turnover // 3, rebate_bp=150),
                ),
                freight_per_unit={"east": dice.randint(5, 40)},
            )
            for number in range(3)
        ),
        products=tuple(
            Product(
                id=name,
                holding_cost=price[name] // 100,
                writeoff_cost=price[name] // 3,
                future_unit_cost=price[name],
                max_excess=30,
            )
            for name in names
        ),
        demands=tuple(
            Demand(
                product=name,
                warehouse="east",
                must=dice.randint(5, 60),
                forming=(FormingSegment(units=dice.randint(1, 9), pi_bp=dice.randint(3000, 9000)),),
            )
            for name in names
        ),
        offers=tuple(
            Offer(
                supplier=f"s{number}",
                product=name,
                moq=dice.choice([1, 5, 10]),
                pack=dice.choice([1, 5, 6]),
                capacity=500,
                breaks=tuple(
                    PriceBreak(from_units=start, price=int(base * (1 - 0.05 * step)))
                    for step, start in enumerate((10, 40, 90))
                ),
            )
            for name in names
            for number in dice.sample(range(3), 2)
            for base in [price[name] * dice.uniform(0.93, 1.1)]
        ),
    )


def test_a_shop_of_coupled_products_is_planned_with_a_proof() -> None:
    problem = shop(80, seed=5)

    result = plan_procurement(problem, deadline_seconds=20, relative_gap=2e-3)

    assert result.plan is not None
    assert result.objective_e4 is not None
    assert result.gap is not None
    assert evaluate_procurement(problem, result.plan).objective_e4 == result.objective_e4
    assert result.gap <= 2e-3
    for baseline in (cheapest_list(problem), cheapest_landed(problem)):
        assert baseline is not None
        assert result.objective_e4 < evaluate_procurement(problem, baseline).objective_e4


def test_without_time_the_plan_is_still_feasible() -> None:
    problem = shop(80, seed=6)

    result = plan_procurement(problem, deadline_seconds=0.0)

    assert result.status == "feasible"
    assert result.plan is not None
    assert evaluate_procurement(problem, result.plan).feasible


def test_a_result_is_a_json_document_with_the_promised_keys() -> None:
    document = to_document(plan_procurement(PURCHASE))

    assert json.loads(json.dumps(document)) == document
    assert list(document) == [
        "status",
        "objective_e4",
        "lower_bound_e4",
        "gap",
        "proof",
        "plan",
        "unserved",
        "explanation",
    ]
    assert document["plan"]["orders"][0]["units"] == 300


def fleet(groups: int, seed: int, *, parcel_capacity: int | None = None) -> AllocationProblem:
    """Return groups over few products whose stock is spread and scarce."""
    dice = random.Random(seed)  # noqa: S311 (instances, not secrets)
    warehouses = [f"w{number}" for number in range(4)]
    zones = [f"z{number}" for number in range(8)]
    teams = tuple(
        Group(
            id=f"g{number}",
            product=f"p{number % 7}",
            split_penalty=400,
            members=tuple(
                Member(
                    id=f"g{number}m{position}",
                    zone=dice.choice(zones),
                    units=1,
                    volume=dice.randint(1, 20),
                )
                for position in range(3)
            ),
        )
        for number in range(groups)
    )
    wanted = 3 * -(-groups // 7)
    lanes = [(warehouse, zone) for warehouse in warehouses for zone in zones]
    return AllocationProblem(
        warehouses=tuple(
            AllocationWarehouse(id=name, wave_cost=900, parcel_capacity=parcel_capacity)
            for name in warehouses
        ),
        zones=tuple(zones),
        stock=tuple(
            Stock(warehouse=name, product=f"p{product}", units=wanted // 4 + dice.randint(1, 9))
            for name in warehouses
            for product in range(7)
        ),
        carrier=tuple(
            CarrierRate(
                warehouse=warehouse, zone=zone, per_parcel=dice.randint(300, 900), per_volume=3
            )
            for warehouse, zone in lanes
        ),
        trucks=tuple(
            Truck(warehouse=warehouse, zone=zone, capacity=120, cost=dice.randint(300, 900))
            for warehouse, zone in lanes
        ),
        groups=teams,
    )


@pytest.mark.parametrize("parcel_capacity", [None, 240])
def test_a_wave_of_many_groups_leaves_nobody_behind(parcel_capacity: int | None) -> None:
    problem = fleet(280, seed=3, parcel_capacity=parcel_capacity)

    result = plan_allocation(problem, deadline_seconds=1.0)

    assert result.plan is not None
    assert result.objective_e4 is not None
    assert result.lower_bound_e4 is not None
    judged = evaluate_allocation(problem, result.plan)
    assert judged.violations == ()
    assert judged.objective_e4 == result.objective_e4
    assert 0 < result.lower_bound_e4 <= result.objective_e4
    assert result.unserved == ()
    baseline = evaluate_allocation(problem, nearest_with_stock(problem))
    assert not baseline.feasible or result.objective_e4 <= baseline.objective_e4


def lone_group(*, whole: bool, stock: tuple[int, int]) -> AllocationProblem:
    """Return one pair whose product lies in two warehouses."""
    return AllocationProblem(
        warehouses=(AllocationWarehouse(id="east"), AllocationWarehouse(id="west")),
        zones=("N",),
        stock=(
            Stock(warehouse="east", product="tea", units=stock[0]),
            Stock(warehouse="west", product="tea", units=stock[1]),
        ),
        carrier=(
            CarrierRate(warehouse="east", zone="N", per_parcel=100),
            CarrierRate(warehouse="west", zone="N", per_parcel=150),
        ),
        groups=(
            Group(
                id="pair",
                product="tea",
                split_penalty=30,
                whole=whole,
                members=(
                    Member(id="ann", zone="N", units=1),
                    Member(id="ben", zone="N", units=1),
                ),
            ),
        ),
    )


def test_two_halves_are_split_only_where_the_policy_allows_it() -> None:
    split = plan_allocation(lone_group(whole=False, stock=(1, 1)))
    whole = plan_allocation(lone_group(whole=True, stock=(1, 1)))

    assert split.objective_e4 == 2_800_000
    assert whole.status == "infeasible"
    assert whole.unserved == ("pair",)
    assert whole.plan is not None
    assert whole.plan.assignment == {}
    [fact] = of_kind(whole.explanation, "group_too_large")
    assert fact.numbers == {"units": 2, "most": 1}
    [change] = of_kind(whole.explanation, "relaxation")
    assert change.numbers["by"] == 1


def test_missing_stock_is_named_and_nobody_gets_half() -> None:
    result = plan_allocation(lone_group(whole=False, stock=(1, 0)))

    assert result.status == "infeasible"
    assert result.unserved == ("pair",)
    [fact] = of_kind(result.explanation, "stock_below_demand")
    assert fact.numbers["by"] == 1


def test_a_zone_without_a_lane_is_named() -> None:
    problem = lone_group(whole=False, stock=(2, 2))
    result = plan_allocation(replace(problem, carrier=()))

    assert result.proof == "infeasible"
    assert [finding.subject for finding in of_kind(result.explanation, "no_lane")] == ["pair"]


def test_a_second_choice_says_what_it_lacks() -> None:
    result = plan_allocation(lone_group(whole=True, stock=(1, 2)))

    [choice] = of_kind(result.explanation, "alternative")
    assert choice.numbers == {"more_fen": -100, "short_units": 1}


def test_nothing_to_do_is_an_optimal_plan() -> None:
    empty = replace(lone_group(whole=False, stock=(1, 1)), groups=())

    result = plan_allocation(empty)

    assert (result.status, result.objective_e4) == ("optimal", 0)
    assert plan_procurement(replace(PURCHASE, demands=())).objective_e4 == 0
