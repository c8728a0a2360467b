"""What a purchase plan decided, in the words operations read: the artifact and the API show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from optimizer.plan import to_document
from suppliers.buying import Bought, LeftOut, Purchase
from suppliers.drafts import planned_lines
from suppliers.needs import Bundle
from suppliers.orders import OrderDraft
from suppliers.plans import Plan
from suppliers.states import PurchaseOrderState

# From the best to the worst a plan made of parts can be called.
_STATUSES: Final = ("optimal", "feasible", "unknown", "infeasible")
_PROOFS: Final = ("exact", "bound", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedOrder:
    """A purchase order that carries out the plan."""

    po_id: str
    supplier: str
    state: str
    total_fen: int
    replaces_po_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedLine:
    """What is bought of one SKU from one supplier, and a sentence that says why."""

    supplier: str
    sku: str
    units: int
    tier_from: int
    cost_fen: int
    reason: str
    notes: list[str] = field(default_factory=list)  # alternatives, what binds, tier edges


@dataclass(frozen=True, slots=True, kw_only=True)
class StillUncovered:
    """Orders that are not bought for now, and why."""

    sku: str
    units: int
    order_ids: list[str]
    reason: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseDecision:
    """What a plan decided; without `plan_id` there was nothing to buy and nothing was written."""

    key: str
    plan_id: str | None = None
    status: str = "nothing"
    proof: str = ""
    objective_e4: int | None = None
    lower_bound_e4: int | None = None
    covered_orders: int = 0  # by stock and inbound that is there already
    summary: list[str] = field(default_factory=list)
    orders: list[DecidedOrder] = field(default_factory=list)
    lines: list[DecidedLine] = field(default_factory=list)
    uncovered: list[StillUncovered] = field(default_factory=list)

    @property
    def ready(self) -> list[DecidedOrder]:
        """Orders below the limit, which are approved by it."""
        return [order for order in self.orders if order.state == PurchaseOrderState.APPROVED]

    @property
    def approvals(self) -> list[DecidedOrder]:
        """Orders that wait for a person."""
        waiting = PurchaseOrderState.PENDING_APPROVAL
        return [order for order in self.orders if order.state == waiting]


def decide(
    key: str,
    plan_id: UUID,
    purchase: Purchase,
    *,
    unreachable: Sequence[Bundle],
    covered_orders: int,
    drafts: Sequence[OrderDraft],
    states: Mapping[UUID, PurchaseOrderState],
) -> PurchaseDecision:
    """Return what a purchase and its orders amount to."""
    results = [part.result for part in purchase.bought]
    bounds = [result.lower_bound_e4 for result in results]
    return PurchaseDecision(
        key=key,
        plan_id=str(plan_id),
        status=max((r.status for r in results), key=_STATUSES.index, default="infeasible"),
        proof=max((r.proof for r in results), key=_PROOFS.index, default="none"),
        objective_e4=sum(r.objective_e4 or 0 for r in results) if results else None,
        lower_bound_e4=None
        if not bounds or None in bounds
        else sum(bound for bound in bounds if bound is not None),
        covered_orders=covered_orders,
        summary=[result.explanation.summary.en for result in results],
        orders=[
            DecidedOrder(
                po_id=str(draft.id),
                supplier=draft.supplier,
                state=states[draft.id].value,
                total_fen=draft.total_fen,
                replaces_po_id=None if draft.replaces_po_id is None else str(draft.replaces_po_id),
            )
            for draft in drafts
        ],
        lines=_lines(purchase.bought),
        uncovered=[
            *(_left_out(row) for row in purchase.left_out),
            *(_unreachable(bundle) for bundle in unreachable),
        ],
    )


def _lines(bought: Sequence[Bought]) -> list[DecidedLine]:
    notes: dict[str, list[str]] = {}
    for part in bought:
        for finding in part.result.explanation.findings:
            notes.setdefault(finding.subject, []).append(finding.text.en)
    return [
        DecidedLine(
            supplier=line.supplier,
            sku=line.sku,
            units=line.units,
            tier_from=line.tier_from,
            cost_fen=line.cost_fen,
            reason=line.reason,
            notes=notes.get(f"{line.supplier}/{line.sku}", []),
        )
        for line in planned_lines(bought)
    ]


def _left_out(row: LeftOut) -> StillUncovered:
    findings = () if row.explanation is None else row.explanation.findings
    return StillUncovered(
        sku=row.sku,
        units=sum(missing.units for missing in row.missing),
        order_ids=[
            str(order.order_id) for missing in row.missing for order in missing.bundle.orders
        ],
        reason=row.reason,
        notes=[finding.text.en for finding in findings],
    )


def _unreachable(bundle: Bundle) -> StillUncovered:
    return StillUncovered(
        sku=bundle.sku,
        units=bundle.units,
        order_ids=[str(order.order_id) for order in bundle.orders],
        reason="no supplier delivers it to a warehouse that can send it to these members",
    )


def to_plan(decision: PurchaseDecision, plan_id: UUID, purchase: Purchase) -> Plan:
    """Return the plan's row: what the optimizer was told, what it answered, what was decided."""
    return Plan(
        id=plan_id,
        key=decision.key,
        status=decision.status,
        objective_e4=decision.objective_e4,
        lower_bound_e4=decision.lower_bound_e4,
        proof=decision.proof,
        problem={"parts": [msgspec.to_builtins(part.problem) for part in purchase.bought]},
        result={
            "decision": msgspec.to_builtins(decision),
            "parts": [to_document(part.result) for part in purchase.bought],
            "left_out": [
                msgspec.to_builtins(row.explanation)
                for row in purchase.left_out
                if row.explanation is not None
            ],
        },
    )


def from_plan(plan: Plan) -> PurchaseDecision:
    """Return the decision that a plan's row keeps."""
    kept: Any = plan.result["decision"]
    return msgspec.convert(kept, type=PurchaseDecision)
