"""Turns a purchase plan into order drafts: one for each supplier, a line for each warehouse."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from kit.ids import new_id
from kit.money import yuan
from optimizer.evaluate import purchase_cost
from optimizer.schema import Offer, OrderLine, ProcurementProblem
from optimizer.tiers import price_tiers
from suppliers.buying import Bought
from suppliers.offers import DAY, Company, Terms
from suppliers.orders import LineDraft, OrderDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine:
    """What is bought of one SKU from one supplier, and why so much of it."""

    supplier: str
    sku: str
    units: int
    tier_from: int
    cost_fen: int
    reason: str


def price_steps(offer: Offer, *, units: int) -> list[tuple[int, int]]:
    """Return (units, unit price) that add up to what the supplier charges for `units`.

    >>> from optimizer.schema import PriceBreak
    >>> breaks = (PriceBreak(from_units=1, price=9), PriceBreak(from_units=11, price=7))
    >>> offer = Offer(supplier="S", product="A", capacity=99, breaks=breaks)
    >>> price_steps(offer, units=15)
    [(15, 7)]
    >>> price_steps(Offer(supplier="S", product="A", scheme="incremental", capacity=99,
    ...                   breaks=breaks), units=15)
    [(10, 9), (5, 7)]
    """
    reached = [step for step in offer.breaks if step.from_units <= units]
    if offer.scheme == "all_units":
        return [(units, reached[-1].price)]
    starts = [reached[0].from_units - 1, *(step.from_units - 1 for step in reached[1:]), units]
    starts[0] = 0
    return [
        (end - start, step.price)
        for (start, end), step in zip(pairwise(starts), reached, strict=True)
    ]


def planned_lines(bought: Sequence[Bought]) -> list[PlannedLine]:
    """Return what is bought, with a sentence for each line that says why this quantity."""
    return [
        PlannedLine(
            supplier=line.supplier,
            sku=line.product,
            units=line.units,
            tier_from=line.tier_from,
            cost_fen=line.purchase_cost,
            reason=_reason(line, part),
        )
        for part in bought
        for line in part.plan.orders
    ]


def _reason(line: OrderLine, part: Bought) -> str:
    offer = _offer(part.problem, line)
    price = f"{line.units} from {line.supplier}, {yuan(line.purchase_cost)}"
    if line.tier_from > offer.breaks[0].from_units:
        price += f" in the tier from {line.tier_from}"
    needed = sum(row.must for row in part.problem.demands if row.product == line.product)
    others = sum(
        row.units
        for row in part.plan.orders
        if row.product == line.product and row.supplier != line.supplier
    )
    if others:
        return f"{price}: with {others} from others the cheapest way to {needed} needed"
    smallest = _smallest(offer, units=needed)
    if smallest is None or line.units <= smallest:
        if line.units > needed:
            return f"{price}: {needed} needed, and the supplier takes no order below {line.units}"
        return f"{price}: exactly what is needed"
    saved_fen = purchase_cost(offer, units=smallest) - line.purchase_cost
    if saved_fen > 0:
        dearer = f"{smallest} costs {saved_fen:,} fen more to buy"
        return f"{price}: bought {line.units} because {dearer}"
    return (
        f"{price}: {needed} needed, {line.units - needed} ahead for groups that are forming"
        f" or terms that are better for all of it"
    )


def _smallest(offer: Offer, *, units: int) -> int | None:
    """Return the smallest quantity the supplier accepts that covers `units`."""
    for tier in price_tiers(offer, useful_units=offer.capacity):
        covering = max(tier.lo, -(-units // offer.pack) * offer.pack)
        if covering <= tier.hi:
            return covering
    return None


def _offer(problem: ProcurementProblem, line: OrderLine) -> Offer:
    return next(
        offer
        for offer in problem.offers
        if (offer.supplier, offer.product) == (line.supplier, line.product)
    )


def order_drafts(
    bought: Iterable[Bought],
    *,
    key: str,
    plan_id: UUID,
    companies: Mapping[str, Company],
    terms: Sequence[Terms],
    replaced: Mapping[str, UUID],
    now: datetime,
) -> list[OrderDraft]:
    """Return one draft for each supplier of the plan.

    Args:
        replaced: by SKU, the refused order whose goods are bought again here.
    """
    agreed = {(row.supplier, row.sku): row for row in terms}
    lines: dict[str, list[LineDraft]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for part in bought:
        for order in part.plan.orders:
            totals[order.supplier] += order.purchase_cost
            lines[order.supplier] += _lines(
                order,
                _offer(part.problem, order),
                terms=agreed[order.supplier, order.product],
                day=companies[order.supplier].order_day(now),
            )
    return [
        OrderDraft(
            id=new_id(),
            plan_key=f"{key}:{supplier}",
            plan_id=plan_id,
            supplier=supplier,
            total_fen=totals[supplier],
            replaces_po_id=next(
                (replaced[line.sku] for line in lines[supplier] if line.sku in replaced), None
            ),
            lines=tuple(lines[supplier]),
        )
        for supplier in sorted(lines)
    ]


def _lines(order: OrderLine, offer: Offer, *, terms: Terms, day: datetime) -> list[LineDraft]:
    """Return a line for each warehouse and price."""
    requested_at = day + terms.lead_days * DAY
    promised_at = requested_at + terms.hard_safety_days * DAY
    steps = price_steps(offer, units=order.units)
    found: list[LineDraft] = []
    for shipment in order.shipments:
        left = shipment.units
        while left:
            units, price_fen = steps[0]
            taken = min(units, left)
            found.append(
                LineDraft(
                    agreement_id=terms.agreement_id,
                    sku=order.product,
                    warehouse=shipment.warehouse,
                    units=taken,
                    unit_price_fen=price_fen,
                    requested_at=requested_at,
                    promised_at=promised_at,
                )
            )
            left -= taken
            steps = [(units - taken, price_fen), *steps[1:]] if units > taken else steps[1:]
    return found
