"""Explains a purchase plan: why these suppliers and quantities, what binds, what would change it.

Every number is the difference of two plans as the evaluator's arithmetic prices them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from optimizer.columns import Oracle, Prices, fits
from optimizer.evaluate import Evaluation, rebate_bp
from optimizer.explanation import Explanation, Finding, Text
from optimizer.needs import PricedOffer, ProductNeed, ProductPlan, plan_product, product_needs
from optimizer.schema import E4, OrderLine, ProcurementPlan, ProcurementProblem, Supplier

_MOST_LINES: Final = 200
"""Lines explained one by one, the dearest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """The plan as sums per supplier, so that one product's change is priced at once."""

    suppliers: Mapping[str, Supplier]
    spend: Mapping[str, int]
    lines: Mapping[str, int]
    budget: int | None

    def terms_e4(self, name: str, *, spend: int, lines: int) -> int:
        if not lines:
            return 0
        supplier = self.suppliers[name]
        return supplier.fixed_order_cost * E4 - rebate_bp(supplier, spend=spend) * spend

    def change_e4(self, need: ProductNeed, old: ProductPlan, new: ProductPlan) -> int | None:
        """Return what replacing one product's plan costs; None when terms would be broken."""
        change = new.cost_e4 - old.cost_e4
        for at, priced in enumerate(need.offers):
            name = priced.offer.supplier
            spend = self.spend.get(name, 0) + new.purchases[at] - old.purchases[at]
            lines = self.lines.get(name, 0) + (new.units[at] > 0) - (old.units[at] > 0)
            if lines and spend < self.suppliers[name].min_order_value:
                return None
            change += self.terms_e4(name, spend=spend, lines=lines)
            change -= self.terms_e4(
                name, spend=self.spend.get(name, 0), lines=self.lines.get(name, 0)
            )
        total = sum(self.spend.values()) + sum(new.purchases) - sum(old.purchases)
        return None if self.budget is not None and total > self.budget else change


def explain_purchase(
    problem: ProcurementProblem, plan: ProcurementPlan, judged: Evaluation
) -> Explanation:
    """Return what a buyer would ask about the plan, the dearest lines first."""
    account = _account(problem, plan)
    bought = {(line.product, line.supplier): line.units for line in plan.orders}
    needs = {need.product.id: need for need in product_needs(problem)}
    findings = _supplier_findings(problem, plan, account)
    weights = Prices(
        weight={
            name: 1 - rebate_bp(supplier, spend=account.spend.get(name, 0)) / E4
            for name, supplier in account.suppliers.items()
        }
    )
    dearest = sorted(plan.orders, key=lambda line: -line.purchase_cost)
    for line in dearest[:_MOST_LINES]:
        need = needs[line.product]
        units = tuple(bought.get((line.product, row.offer.supplier), 0) for row in need.offers)
        current = plan_product(need, units)
        if current is not None:
            at = [row.offer.supplier for row in need.offers].index(line.supplier)
            findings += _line_findings(account, need, current, at=at, line=line, prices=weights)
    return Explanation(summary=_summary(plan, judged), findings=tuple(findings))


def _account(problem: ProcurementProblem, plan: ProcurementPlan) -> _Account:
    spend: dict[str, int] = {}
    lines: dict[str, int] = {}
    for line in plan.orders:
        spend[line.supplier] = spend.get(line.supplier, 0) + line.purchase_cost
        lines[line.supplier] = lines.get(line.supplier, 0) + 1
    return _Account(
        suppliers={supplier.id: supplier for supplier in problem.suppliers},
        spend=spend,
        lines=lines,
        budget=problem.budget,
    )


def _summary(plan: ProcurementPlan, judged: Evaluation) -> Text:
    units = sum(line.units for line in plan.orders)
    suppliers = len({line.supplier for line in plan.orders})
    rebate = -judged.parts_e4["rebate"] // E4
    purchase = judged.parts_e4["purchase"] // E4
    return Text(
        en=f"{units} units in {len(plan.orders)} lines from {suppliers} suppliers: purchases of "
        f"{purchase} fen, rebates of {rebate} fen",
        zh=f"向{suppliers}家供应商采购{len(plan.orders)}行共{units}件：货款{purchase}分，"
        f"返利{rebate}分",
    )


def _supplier_findings(
    problem: ProcurementProblem, plan: ProcurementPlan, account: _Account
) -> list[Finding]:
    findings: list[Finding] = []
    for supplier in problem.suppliers:
        spend, minimum = account.spend.get(supplier.id, 0), supplier.min_order_value
        lines = [line for line in plan.orders if line.supplier == supplier.id]
        if not lines or not minimum:
            continue
        smallest = min(line.purchase_cost // line.units for line in lines)
        if spend - minimum < smallest:
            text = Text(
                en=f"The minimum order value of {supplier.id} ({minimum} fen) binds: "
                f"{spend} fen are ordered",
                zh=f"{supplier.id}的最低订货额{minimum}分起约束作用：已订{spend}分",
            )
            numbers = {"minimum": minimum, "spend": spend}
            findings.append(Finding(kind="binds", subject=supplier.id, text=text, numbers=numbers))
    return findings


def _line_findings(
    account: _Account,
    need: ProductNeed,
    current: ProductPlan,
    *,
    at: int,
    line: OrderLine,
    prices: Prices,
) -> list[Finding]:
    priced = need.offers[at]
    found = [
        _capacity(priced, line),
        _less(account, need, current, at=at, line=line),
        _next_tier(account, need, current, at=at, line=line),
        _alternative(account, need, current, line=line, prices=prices),
    ]
    return [finding for finding in found if finding is not None]


def _subject(line: OrderLine) -> str:
    return f"{line.supplier}/{line.product}"


def _capacity(priced: PricedOffer, line: OrderLine) -> Finding | None:
    capacity = priced.offer.capacity
    if line.units + priced.offer.pack <= capacity:
        return None
    return Finding(
        kind="binds",
        subject=_subject(line),
        text=Text(
            en=f"{line.supplier} delivers no more than {capacity} units of {line.product}",
            zh=f"{line.supplier}最多供应{line.product}{capacity}件",
        ),
        numbers={"capacity": capacity, "units": line.units},
    )


def _changed(current: ProductPlan, at: int, units: int) -> tuple[int, ...]:
    return (*current.units[:at], units, *current.units[at + 1 :])


def _less(
    account: _Account, need: ProductNeed, current: ProductPlan, *, at: int, line: OrderLine
) -> Finding | None:
    """Say why more was bought than the must asks for."""
    missing = need.must - (sum(current.units) - line.units)
    pack = need.offers[at].offer.pack
    for tier in need.offers[at].tiers:
        least = max(tier.lo, -(-missing // pack) * pack)
        if least > tier.hi or least >= line.units:
            continue
        fewer = plan_product(need, _changed(current, at, least))
        change = None if fewer is None else account.change_e4(need, current, fewer)
        if change is None or change < 0:
            continue
        fen = change // E4
        return Finding(
            kind="tier_edge",
            subject=_subject(line),
            text=Text(
                en=f"bought {line.units} because {least} costs {fen:,} fen more",
                zh=f"采购{line.units}件，因为只买{least}件要多花{fen:,}分",
            ),
            numbers={"units": line.units, "instead": least, "more_fen": fen},
        )
    return None


def _next_tier(
    account: _Account, need: ProductNeed, current: ProductPlan, *, at: int, line: OrderLine
) -> Finding | None:
    """Say what reaching the next tier would take."""
    following = [tier for tier in need.offers[at].tiers if tier.lo > line.units]
    if not following:
        return None
    tier = following[0]
    more = plan_product(need, _changed(current, at, tier.lo))
    change = None if more is None else account.change_e4(need, current, more)
    if change is None:
        return None
    fen, extra = -(-change // E4), tier.lo - line.units
    return Finding(
        kind="next_tier",
        subject=_subject(line),
        text=Text(
            en=f"{extra} more units reach the unit price of {tier.price} fen and cost {fen:,} "
            "fen more in all",
            zh=f"再买{extra}件可达单价{tier.price}分，总成本增加{fen:,}分",
        ),
        numbers={"units": tier.lo, "extra": extra, "price_fen": tier.price, "more_fen": fen},
    )


def _alternative(
    account: _Account,
    need: ProductNeed,
    current: ProductPlan,
    *,
    line: OrderLine,
    prices: Prices,
) -> Finding | None:
    """Name the best plan for the product without this supplier."""
    if not fits(need):
        return None
    closed = Prices(weight=prices.weight, closed=frozenset({line.supplier}))
    choice = Oracle(need).choose(closed)
    plan = None if math.isinf(choice.value) else plan_product(need, choice.units)
    if plan is None:
        return Finding(
            kind="no_alternative",
            subject=_subject(line),
            text=Text(
                en=f"without {line.supplier} nobody can bring all required units of {line.product}",
                zh=f"没有{line.supplier}就无法满足{line.product}的必需数量",
            ),
        )
    change = account.change_e4(need, current, plan)
    parts = [
        (row.offer.supplier, units)
        for row, units in zip(need.offers, plan.units, strict=True)
        if units
    ]
    names = " + ".join(f"{units} from {name}" for name, units in parts) or "nothing"
    names_zh = "、".join(f"向{name}采购{units}件" for name, units in parts) or "不采购"
    if change is None:
        return Finding(
            kind="alternative",
            subject=_subject(line),
            text=Text(
                en=f"{names} would break a minimum order value or the budget",
                zh=f"改为{names_zh}，会违反最低订货额或预算",
            ),
        )
    fen = -(-change // E4)
    return Finding(
        kind="alternative",
        subject=_subject(line),
        text=Text(
            en=f"best alternative to {line.supplier} is {names}, {fen:,} fen more",
            zh=f"不用{line.supplier}时最好的选择是{names_zh}，多花{fen:,}分",
        ),
        numbers={"more_fen": fen},
    )
