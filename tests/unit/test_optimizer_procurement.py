"""Purchase plans against enumeration of everything that could be bought."""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from optimizer.baselines import cheapest_landed, cheapest_list
from optimizer.evaluate import evaluate_procurement, forming_cost_e4, purchase_cost, rebate_bp
from optimizer.levels import LevelSearch
from optimizer.procurement import solve_exactly
from optimizer.purchasing import search
from optimizer.schema import (
    E4,
    Demand,
    FormingSegment,
    Offer,
    PriceBreak,
    ProcurementProblem,
    Product,
    SpendTier,
    Supplier,
)
from optimizer.solving import Deadline

Option = tuple[int, dict[str, int], frozenset[str]]


def small_problem(seed: int) -> ProcurementProblem:
    """Return a problem with every kind of term, small enough to enumerate."""
    dice = random.Random(seed)  # noqa: S311 (instances, not secrets)
    warehouses = ("W1", "W2")[: dice.choice([1, 1, 2])]
    products = ("A", "B")[: dice.choice([1, 2, 2])]
    return ProcurementProblem(
        budget=dice.choice([None, None, None, dice.randint(500, 2500)]),
        warehouses=warehouses,
        suppliers=tuple(small_supplier(dice, name, warehouses) for name in ("S1", "S2")),
        products=tuple(
            Product(
                id=name,
                holding_cost=dice.randint(0, 6),
                writeoff_cost=dice.randint(0, 40),
                future_unit_cost=dice.choice([0, dice.randint(20, 120)]),
                max_excess=dice.randint(0, 3),
            )
            for name in products
        ),
        demands=tuple(
            Demand(
                product=name,
                warehouse=warehouse,
                must=dice.randint(0, 5),
                forming=tuple(
                    FormingSegment(units=dice.randint(1, 2), pi_bp=dice.randint(0, E4))
                    for _ in range(dice.randint(0, 2))
                ),
            )
            for name in products
            for warehouse in warehouses
        ),
        offers=tuple(
            small_offer(dice, supplier, name)
            for supplier in ("S1", "S2")
            for name in products
            if dice.random() < 0.85
        ),
    )


def small_supplier(dice: random.Random, name: str, warehouses: tuple[str, ...]) -> Supplier:
    threshold = dice.randint(300, 900)
    tiers = [
        SpendTier(min_spend=0, rebate_bp=0),
        SpendTier(min_spend=threshold, rebate_bp=dice.randint(50, 900)),
        SpendTier(min_spend=threshold * 2, rebate_bp=dice.randint(900, 1500)),
    ]
    return Supplier(
        id=name,
        fixed_order_cost=dice.choice([0, 0, dice.randint(50, 400)]),
        min_order_value=dice.choice([0, 0, dice.randint(200, 900)]),
        spend_tiers=tuple(tiers[: dice.choice([1, 1, 2, 3])]),
        freight_per_unit={warehouse: dice.randint(0, 12) for warehouse in warehouses},
    )


def small_offer(dice: random.Random, supplier: str, product: str) -> Offer:
    moq = dice.choice([1, 1, dice.randint(2, 5)])
    starts = [moq, moq + dice.randint(1, 4), moq + dice.randint(5, 7)]
    price = dice.randint(60, 130)
    return Offer(
        supplier=supplier,
        product=product,
        scheme=dice.choice(["all_units", "incremental"]),
        moq=moq,
        pack=dice.choice([1, 1, 2, 3]),
        capacity=dice.randint(3, 14),
        breaks=tuple(
            PriceBreak(from_units=start, price=price - step * dice.randint(1, 25))
            for step, start in enumerate(starts[: dice.randint(1, 3)])
        ),
    )


def site_costs(problem: ProcurementProblem, demand: Demand) -> dict[int, int]:
    """Return the least cost in e4 of every quantity that may arrive for one demand."""
    product = next(row for row in problem.products if row.id == demand.product)
    kept = (product.holding_cost + product.writeoff_cost) * E4
    costs: dict[int, int] = {}
    ranges = [range(segment.units + 1) for segment in demand.forming]
    for *covered, excess in itertools.product(*ranges, range(product.max_excess + 1)):
        cost = excess * kept + sum(
            units * forming_cost_e4(product, segment)
            for units, segment in zip(covered, demand.forming, strict=True)
        )
        arrived = demand.must + sum(covered) + excess
        costs[arrived] = min(cost, costs.get(arrived, cost))
    return costs


def ways_to_ship(
    arrivals: tuple[int, ...], quantities: tuple[int, ...]
) -> Iterator[list[tuple[int, ...]]]:
    """Yield every matrix of shipments with these row sums (quantities) and column sums."""
    if not quantities:
        if not any(arrivals):
            yield []
        return
    for first in itertools.product(*(range(min(a, quantities[0]) + 1) for a in arrivals)):
        if sum(first) == quantities[0]:
            left = tuple(a - f for a, f in zip(arrivals, first, strict=True))
            for rest in ways_to_ship(left, quantities[1:]):
                yield [first, *rest]


def product_options(problem: ProcurementProblem, product: str) -> list[Option]:
    """Return (cost in e4, spend by supplier, suppliers used) of every purchase of a product."""
    lanes = {supplier.id: supplier.freight_per_unit for supplier in problem.suppliers}
    demands = [demand for demand in problem.demands if demand.product == product]
    tables = [site_costs(problem, demand) for demand in demands]
    offers = [offer for offer in problem.offers if offer.product == product]
    most = sum(max(table) for table in tables)
    choices = [
        [0, *(q for q in range(offer.moq, min(offer.capacity, most) + 1) if q % offer.pack == 0)]
        for offer in offers
    ]
    cheapest: dict[tuple[int, ...], int] = {}
    by_total: dict[int, list[tuple[tuple[int, ...], int]]] = defaultdict(list)
    for arrivals in itertools.product(*tables):
        placed = sum(table[units] for table, units in zip(tables, arrivals, strict=True))
        by_total[sum(arrivals)].append((arrivals, placed))
    for quantities in itertools.product(*choices):
        for arrivals, placed in by_total.get(sum(quantities), []):
            for matrix in ways_to_ship(arrivals, quantities):
                freight = sum(
                    units * lanes[offer.supplier][demand.warehouse]
                    for offer, row in zip(offers, matrix, strict=True)
                    for demand, units in zip(demands, row, strict=True)
                )
                cost = placed + freight * E4
                cheapest[quantities] = min(cost, cheapest.get(quantities, cost))
    options: list[Option] = []
    for quantities, cost in cheapest.items():
        spend = {
            offer.supplier: purchase_cost(offer, units=units)
            for offer, units in zip(offers, quantities, strict=True)
            if units
        }
        options.append((cost + sum(spend.values()) * E4, spend, frozenset(spend)))
    return options


def enumerated_optimum(problem: ProcurementProblem) -> int | None:
    """Return the least objective over all plans, None when there is no plan."""
    suppliers = {supplier.id: supplier for supplier in problem.suppliers}
    best: int | None = None
    every = [product_options(problem, product.id) for product in problem.products]
    for options in itertools.product(*every):
        cost = sum(option[0] for option in options)
        used = frozenset().union(*(option[2] for option in options))
        total = 0
        for name in used:
            spend = sum(option[1].get(name, 0) for option in options)
            if spend < suppliers[name].min_order_value:
                break
            total += spend
            cost += suppliers[name].fixed_order_cost * E4
            cost -= rebate_bp(suppliers[name], spend=spend) * spend
        else:
            if problem.budget is None or total <= problem.budget:
                best = cost if best is None else min(best, cost)
    return best


@pytest.mark.parametrize("seed", range(60))
def test_the_plan_costs_what_enumeration_finds(seed: int) -> None:
    problem = small_problem(seed)

    found = search(problem, deadline=Deadline.after(20), relative_gap=0.0)

    expected = enumerated_optimum(problem)
    assert found.infeasible is (expected is None)
    if found.plan is not None:
        judged = evaluate_procurement(problem, found.plan)
        assert judged.violations == ()
        assert judged.objective_e4 == expected
        assert math.ceil(found.bound_e4) == expected


@pytest.mark.parametrize("seed", range(100, 125))
def test_columns_and_levels_bracket_the_optimum(seed: int) -> None:
    problem = small_problem(seed)

    level_search = LevelSearch(problem, deadline=Deadline.after(20), relative_gap=0.0)
    answer = level_search.run()

    expected = enumerated_optimum(problem)
    if expected is None:
        assert answer.units is None
    else:
        assert answer.bound_e4 <= expected
        assert expected <= level_search.best_e4


@pytest.mark.parametrize("seed", range(200, 220))
def test_no_baseline_is_cheaper_than_the_plan(seed: int) -> None:
    problem = small_problem(seed)

    answer = search(problem, deadline=Deadline.after(20), relative_gap=0.0)

    for baseline in (cheapest_list(problem), cheapest_landed(problem)):
        if baseline is not None:
            assert answer.plan is not None
            judged = evaluate_procurement(problem, baseline)
            planned = evaluate_procurement(problem, answer.plan)
            assert judged.violations == ()
            assert planned.objective_e4 <= judged.objective_e4


def test_one_model_and_the_oracle_agree_on_a_product_alone() -> None:
    for seed in range(300, 320):
        problem = small_problem(seed)
        alone = ProcurementProblem(
            warehouses=problem.warehouses,
            suppliers=tuple(
                Supplier(id=row.id, freight_per_unit=row.freight_per_unit)
                for row in problem.suppliers
            ),
            products=problem.products,
            demands=problem.demands,
            offers=problem.offers,
        )

        by_parts = search(alone, deadline=Deadline.after(20), relative_gap=0.0)
        by_model = solve_exactly(alone, deadline=Deadline.after(20))

        assert by_parts.infeasible == by_model.infeasible
        if not by_parts.infeasible:
            assert by_model.bound_e4 == pytest.approx(by_parts.bound_e4, abs=1.0)
