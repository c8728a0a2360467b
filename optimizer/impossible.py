"""Says in words why no plan exists, and the smallest change that would allow one."""

from collections.abc import Sequence
from typing import Final

from optimizer.explanation import Explanation, Finding, Text
from optimizer.needs import ProductNeed, product_needs
from optimizer.procurement import largest_spends
from optimizer.relaxation import (
    Relaxed,
    impossible_products,
    only,
    smallest_relaxation,
)
from optimizer.schema import Offer, ProcurementProblem
from optimizer.solving import Deadline

_MOST_PRODUCTS: Final = 25
"""Products explained one by one; a list without end helps nobody."""


def explain_impossible(problem: ProcurementProblem, *, deadline: Deadline) -> Explanation:
    """Return what forbids every plan: facts seen at a glance, then the smallest relaxation."""
    hopeless = impossible_products(problem)
    findings = [*_facts(problem, hopeless)]
    if hopeless:
        for name in hopeless[:_MOST_PRODUCTS]:
            part = deadline.part(1 / _MOST_PRODUCTS)
            relaxed = smallest_relaxation(only(problem, name), deadline=part)
            findings += [_relaxation(row) for row in relaxed]
    else:
        relaxed = smallest_relaxation(problem, deadline=deadline)
        findings += [_relaxation(row) for row in relaxed]
    changes = [finding for finding in findings if finding.kind == "relaxation"]
    way_out = changes[0].text if changes else Text(en="none was found", zh="未找到")
    names = ", ".join(hopeless[:_MOST_PRODUCTS])
    return Explanation(
        summary=Text(
            en=f"No plan can bring all required units of {names or 'all products together'}; "
            f"smallest way out: {way_out.en}",
            zh=f"没有任何方案能满足{names or '全部商品'}的必需数量；最小调整：{way_out.zh}",
        ),
        findings=tuple(findings),
    )


def _facts(problem: ProcurementProblem, hopeless: Sequence[str]) -> list[Finding]:
    findings: list[Finding] = []
    needs = product_needs(problem)
    wanted = set(hopeless[:_MOST_PRODUCTS])
    for need in needs:
        if need.product.id in wanted:
            offers = [row for row in problem.offers if row.product == need.product.id]
            findings += _product_facts(need, offers)
    largest = largest_spends(needs)
    for supplier in problem.suppliers:
        reachable = largest.get(supplier.id, 0)
        if supplier.min_order_value > reachable:
            findings.append(
                Finding(
                    kind="min_order_value_above_useful",
                    subject=supplier.id,
                    text=Text(
                        en=f"{supplier.id} asks for orders of at least "
                        f"{supplier.min_order_value} fen, but all useful units cost {reachable} "
                        "fen at most",
                        zh=f"{supplier.id}的最低订货额为{supplier.min_order_value}分，"
                        f"而全部可用数量最多只值{reachable}分",
                    ),
                    numbers={"minimum": supplier.min_order_value, "reachable": reachable},
                )
            )
    return findings


def _product_facts(need: ProductNeed, offers: Sequence[Offer]) -> list[Finding]:
    findings: list[Finding] = []
    name, useful = need.product.id, need.most
    capacity = sum(offer.capacity // offer.pack * offer.pack for offer in offers)
    if capacity < need.must:
        findings.append(
            Finding(
                kind="capacity_below_must",
                subject=name,
                text=Text(
                    en=f"All suppliers of {name} together bring {capacity} units, "
                    f"{need.must - capacity} fewer than the {need.must} required",
                    zh=f"{name}的全部供应商合计只能供应{capacity}件，"
                    f"比必需的{need.must}件少{need.must - capacity}件",
                ),
                numbers={"capacity": capacity, "must": need.must},
            )
        )
    for offer in offers:
        least = -(-max(offer.moq, offer.breaks[0].from_units) // offer.pack) * offer.pack
        if least > useful:
            findings.append(
                Finding(
                    kind="moq_above_useful",
                    subject=f"{offer.supplier}/{name}",
                    text=Text(
                        en=f"MOQ of {offer.supplier} for {name} exceeds useful need by "
                        f"{least - useful} ({least} against {useful})",
                        zh=f"{offer.supplier}对{name}的起订量比可用需求多{least - useful}件"
                        f"（{least}对{useful}）",
                    ),
                    numbers={"moq": least, "useful": useful, "by": least - useful},
                )
            )
        elif useful // offer.pack * offer.pack < need.must:
            findings.append(
                Finding(
                    kind="pack_gap",
                    subject=f"{offer.supplier}/{name}",
                    text=Text(
                        en=f"No whole number of {offer.supplier}'s packs of {offer.pack} lies "
                        f"between the {need.must} required and the {useful} useful units of {name}",
                        zh=f"{offer.supplier}的{name}每箱{offer.pack}件，"
                        f"在必需{need.must}件与可用{useful}件之间没有整箱数",
                    ),
                    numbers={"pack": offer.pack, "must": need.must, "useful": useful},
                )
            )
    return findings


def _relaxation(relaxed: Relaxed) -> Finding:
    first, _, second = relaxed.subject.partition("/")
    by = relaxed.by
    texts = {
        "moq": Text(
            en=f"lower the MOQ of {first} for {second} by {by}",
            zh=f"把{first}对{second}的起订量降低{by}件",
        ),
        "capacity": Text(
            en=f"raise what {first} can deliver of {second} by {by}",
            zh=f"把{first}对{second}的供应能力提高{by}件",
        ),
        "max_excess": Text(
            en=f"allow {by} more units of {first} beyond need at {second}",
            zh=f"允许{second}仓多备{by}件{first}",
        ),
        "must": Text(
            en=f"require {by} fewer units of {first} at {second}",
            zh=f"把{second}仓{first}的必需数量减少{by}件",
        ),
        "min_order_value": Text(
            en=f"lower the minimum order value of {first} by {by} fen",
            zh=f"把{first}的最低订货额降低{by}分",
        ),
        "budget": Text(en=f"raise the budget by {by} fen", zh=f"把预算提高{by}分"),
    }
    return Finding(
        kind="relaxation",
        subject=relaxed.subject,
        text=texts[relaxed.rule],
        numbers={"by": by},
    )
