from functools import partial
from uuid import UUID

from optimizer.evaluate import evaluate_procurement
from optimizer.plan import plan_procurement
from suppliers.buying import Buyer, Purchase
from suppliers.drafts import order_drafts, planned_lines
from suppliers.offers import Company
from suppliers.orders import OrderDraft
from suppliers.problems import Reach, SkuDemand
from suppliers.tables import PriceMode
from tests.unit.purchase_terms import NOW, company, demand, missing, terms

JADE, REED = company(), company("reed")


def buy(*demands: SkuDemand, companies: tuple[Company, ...] = (JADE, REED)) -> Purchase:
    buyer = Buyer(
        companies={row.code: row for row in companies},
        now=NOW,
        name="test",
        solve=partial(plan_procurement, deadline_seconds=5),
    )
    purchase = buyer.buy(demands)
    for part in purchase.bought:
        assert evaluate_procurement(part.problem, part.plan).feasible
    return purchase


def drafts_of(purchase: Purchase, *demands: SkuDemand) -> list[OrderDraft]:
    return order_drafts(
        purchase.bought,
        key="morning",
        plan_id=UUID(int=7),
        companies={"jade": JADE, "reed": REED},
        terms=[row for one in demands for row in one.terms],
        replaced={},
        now=NOW,
    )


def units(purchase: Purchase) -> dict[tuple[str, str], int]:
    return {
        (line.supplier, line.product): line.units
        for part in purchase.bought
        for line in part.plan.orders
    }


def test_a_tier_that_makes_more_cost_less_is_bought_and_explained() -> None:
    tiered = terms(breaks=((1, 1000), (300, 924)))
    purchase = buy(demand(missing(1, 288), offers=(tiered,), max_excess=20))

    (line,) = planned_lines(purchase.bought)
    assert units(purchase) == {("jade", "tea"): 300}
    assert "bought 300 because 288 costs 10,800 fen more" in line.reason


def test_a_sku_that_cannot_be_had_does_not_stop_the_others() -> None:
    tea = demand(missing(1, 30), offers=(terms(),))
    lamp = demand(missing(2, 2, sku="lamp"), offers=(terms(sku="lamp", moq=500),))

    purchase = buy(tea, lamp)

    assert units(purchase) == {("jade", "tea"): 30}
    (left_out,) = purchase.left_out
    assert (left_out.sku, left_out.missing) == ("lamp", lamp.missing)
    assert left_out.explanation is not None
    assert any("500" in finding.text.en for finding in left_out.explanation.findings) or (
        "500" in left_out.reason
    )


def test_a_shared_supplier_does_not_let_one_sku_stop_another() -> None:
    careful = company(fixed_order_cost_fen=500)
    tea = demand(missing(1, 30), offers=(terms(),))
    lamp = demand(missing(2, 2, sku="lamp"), offers=(terms(sku="lamp", moq=500),))

    purchase = buy(tea, lamp, companies=(careful, REED))

    assert units(purchase) == {("jade", "tea"): 30}
    assert [row.sku for row in purchase.left_out] == ["lamp"]


def test_a_minimum_value_nobody_can_reach_bars_the_supplier() -> None:
    proud = company(min_order_value_fen=10_000_000)
    tea = demand(missing(1, 3), offers=(terms(), terms("reed", breaks=((1, 2000),))))
    cup = demand(missing(2, 3, sku="cup"), offers=(terms(sku="cup"),))

    purchase = buy(tea, cup, companies=(proud, REED))

    assert units(purchase) == {("reed", "tea"): 3}
    assert [row.sku for row in purchase.left_out] == ["cup"]


def test_a_slower_supplier_is_used_when_the_fast_ones_cannot_make_enough() -> None:
    fast = terms(capacity_per_day=5, lead_days=4)
    slow = terms("reed", capacity_per_day=500, lead_days=9, breaks=((1, 500),))
    fits = demand(missing(1, 5), offers=(fast, slow))
    exceeds = demand(missing(1, 30), offers=(fast, slow))

    assert units(buy(fits)) == {("jade", "tea"): 5}
    assert units(buy(exceeds))["reed", "tea"] >= 25


def test_what_is_beyond_all_capacity_is_put_off_with_the_last_served() -> None:
    tiny = terms(capacity_per_day=1, lead_days=1)
    first, second = missing(1, 10), missing(2, 20)

    purchase = buy(demand(first, second, offers=(tiny,)))

    assert units(purchase) == {("jade", "tea"): 10}
    assert [row.missing for row in purchase.left_out] == [(second,)]


def test_safety_stock_waits_before_an_order_does() -> None:
    limited = terms(capacity_per_day=10, lead_days=2, max_units=10)

    purchase = buy(demand(missing(1, 10), offers=(limited,), safety=50))

    assert units(purchase) == {("jade", "tea"): 10}
    assert purchase.left_out == []


def test_safety_stock_is_bought_back_with_the_orders() -> None:
    purchase = buy(demand(missing(1, 10), offers=(terms(),), safety=5, leftover=2))

    assert units(purchase) == {("jade", "tea"): 13}


def test_a_slow_offer_with_a_small_moq_saves_what_a_fast_one_cannot_serve() -> None:
    bulky = terms(moq=1000, capacity_per_day=1000)
    slow = terms("reed", lead_days=8)

    purchase = buy(demand(missing(1, 4), offers=(bulky, slow)))

    assert units(purchase) == {("reed", "tea"): 4}
    assert purchase.bought[0].demands[0].reach is Reach.LATE


def test_two_warehouses_share_the_allowed_excess() -> None:
    packed = terms(pack=10, breaks=((1, 1000), (40, 400)))
    tea = demand(missing(1, 11), missing(2, 11, warehouse="north"), offers=(packed,), max_excess=18)

    purchase = buy(tea)

    assert units(purchase) == {("jade", "tea"): 40}


def test_one_draft_for_each_supplier_with_a_line_for_each_warehouse() -> None:
    tea = demand(missing(1, 30), missing(2, 20, warehouse="north"), offers=(terms(),))
    cup = demand(missing(3, 5, sku="cup"), offers=(terms("reed", sku="cup"),))

    drafts = drafts_of(buy(tea, cup), tea, cup)

    assert [(draft.supplier, draft.plan_key, draft.total_fen) for draft in drafts] == [
        ("jade", "morning:jade", 50_000),
        ("reed", "morning:reed", 5_000),
    ]
    assert [(line.warehouse, line.units) for line in drafts[0].lines] == [
        ("east", 30),
        ("north", 20),
    ]


def test_incremental_prices_become_lines_that_add_up() -> None:
    stepped = terms(price_mode=PriceMode.INCREMENTAL, breaks=((1, 100), (21, 80)))
    tea = demand(missing(1, 15), missing(2, 15, warehouse="north"), offers=(stepped,))

    (draft,) = drafts_of(buy(tea), tea)

    assert [(line.warehouse, line.units, line.unit_price_fen) for line in draft.lines] == [
        ("east", 15, 100),
        ("north", 5, 100),
        ("north", 10, 80),
    ]
    assert draft.total_fen == sum(line.units * line.unit_price_fen for line in draft.lines) == 2800
