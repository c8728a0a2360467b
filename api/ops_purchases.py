"""Purchase orders and plans for operations: look, approve, change, reject."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.deps import Database, Operator
from api.pages import PAGE, Cursor, Limit, cursor_of, position_of, tagged
from api.schemas import Count, Fen, Text, Wire
from operations import approve_order
from operations.approve_order import Judged
from suppliers import order_pages, plans
from suppliers.order_pages import Listed
from suppliers.orders import OrderLine
from suppliers.states import PurchaseOrderState
from suppliers.tables import SendState

router = APIRouter(prefix="/v1/ops", tags=["operations"])


class PurchaseLine(Wire):
    """A line; ordered = accepted + rejected + cancelled + unanswered."""

    line_no: int
    sku: str
    warehouse: str
    unit_price_fen: Fen
    ordered_units: Count
    unanswered_units: Count
    accepted_units: Count
    rejected_units: Count
    cancelled_units: Count
    open_units: Count
    good_units: Count
    damaged_units: Count
    short_closed_units: Count
    over_units: Count
    requested_at: datetime
    promised_at: datetime


class PurchaseOrderView(Wire):
    """A purchase order; `proposal` is a change that the supplier proposes."""

    id: UUID
    plan_id: UUID
    supplier: str
    supplier_ref: str | None
    state: PurchaseOrderState
    send_state: SendState
    total_fen: Fen
    replaces_po_id: UUID | None
    approved_by: str | None
    proposal: dict[str, Any] | None
    closed_reason: str | None
    created_at: datetime
    sent_at: datetime | None
    due_at: datetime | None = Field(description="an answer or goods are expected by then")
    overdue: bool
    lines: list[PurchaseLine]


class PurchaseOrderPage(Wire):
    purchase_orders: list[PurchaseOrderView]
    next: str | None


class LineQuantity(Wire):
    """Other units for a line."""

    line_no: Annotated[int, Field(strict=True, ge=1)]
    units: Annotated[int, Field(strict=True, ge=1, le=100_000_000)]


class Approval(Wire):
    """With `quantities` the order is changed and asked again, not approved."""

    quantities: Annotated[list[LineQuantity], Field(max_length=1000)] = Field(default=[])


class Rejection(Wire):
    reason: Text


class Judgement(Wire):
    """The order after the judgement; `changed` is false when it had been made before."""

    id: UUID
    state: PurchaseOrderState
    total_fen: Fen
    changed: bool


class PlanView(Wire):
    """What a plan decided and why; `problem` and `result` as `caravan plan` knows them."""

    id: UUID
    key: str
    status: str
    objective_e4: int | None
    lower_bound_e4: int | None
    proof: str
    problem: dict[str, Any]
    result: dict[str, Any]


@router.get(
    "/purchase-orders",
    response_model=PurchaseOrderPage,
    summary="Purchase orders, newest first",
)
async def list_orders(
    request: Request,
    operator: Operator,
    session: Database,
    *,
    state: Annotated[list[PurchaseOrderState] | None, Query()] = None,
    supplier: Annotated[str | None, Query(max_length=64)] = None,
    overdue: Annotated[bool, Query(description="only what should have been heard of")] = False,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Page through purchase orders with their lines."""
    del operator
    found = await order_pages.page(
        session,
        states=state or (),
        supplier=supplier,
        overdue=overdue,
        before=None if cursor is None else position_of(cursor, UUID)[0],
        limit=limit,
    )
    page = PurchaseOrderPage(
        purchase_orders=[_order(listed) for listed in found],
        next=cursor_of(found[-1].order.id) if len(found) == limit else None,
    )
    return tagged(request, page)


@router.post("/purchase-orders/{po_id}/approve", summary="Approve a purchase order")
async def approve(po_id: UUID, body: Approval, operator: Operator) -> Judgement:
    """Approve the order, or change its quantities and be asked again. Repeating it is harmless."""
    quantities = {row.line_no: row.units for row in body.quantities}
    judged = await approve_order.approve(po_id, operator.actor, quantities=quantities or None)
    return _judgement(judged)


@router.post("/purchase-orders/{po_id}/reject", summary="Reject a purchase order")
async def reject(po_id: UUID, body: Rejection, operator: Operator) -> Judgement:
    """Refuse to buy this; its supplier is passed over for a day. Repeating it is harmless."""
    return _judgement(await approve_order.reject(po_id, operator.actor, body.reason))


@router.get(
    "/plans/{plan_id}", response_model=PlanView, summary="A purchase plan with its explanation"
)
async def show_plan(
    request: Request, plan_id: UUID, operator: Operator, session: Database
) -> Response:
    """Show what a plan was made from, what it decided and why."""
    del operator
    plan = await plans.find(session, plan_id=plan_id)
    if plan is None:
        raise plans.UnknownPlan(f"there is no plan {plan_id}")
    view = PlanView(
        id=plan.id,
        key=plan.key,
        status=plan.status,
        objective_e4=plan.objective_e4,
        lower_bound_e4=plan.lower_bound_e4,
        proof=plan.proof,
        problem=dict(plan.problem),
        result=dict(plan.result),
    )
    return tagged(request, view)


def _judgement(judged: Judged) -> Judgement:
    return Judgement(
        id=judged.po_id, state=judged.state, total_fen=judged.total_fen, changed=judged.changed
    )


def _order(listed: Listed) -> PurchaseOrderView:
    order = listed.order
    return PurchaseOrderView(
        id=order.id,
        plan_id=order.plan_id,
        supplier=order.supplier,
        supplier_ref=order.supplier_ref,
        state=order.state,
        send_state=order.send_state,
        total_fen=order.total_fen,
        replaces_po_id=order.replaces_po_id,
        approved_by=order.approved_by,
        proposal=None if order.proposal is None else dict(order.proposal),
        closed_reason=listed.closed_reason,
        created_at=order.created_at,
        sent_at=order.sent_at,
        due_at=order.due_at,
        overdue=listed.overdue,
        lines=[_line(line) for line in order.lines],
    )


def _line(line: OrderLine) -> PurchaseLine:
    units = line.units
    return PurchaseLine(
        line_no=line.line_no,
        sku=line.sku,
        warehouse=line.warehouse,
        unit_price_fen=line.unit_price_fen,
        ordered_units=units.ordered_units,
        unanswered_units=units.unanswered_units,
        accepted_units=units.accepted_units,
        rejected_units=units.rejected_units,
        cancelled_units=units.cancelled_units,
        open_units=units.open_units,
        good_units=units.good_units,
        damaged_units=units.damaged_units,
        short_closed_units=units.short_closed_units,
        over_units=units.over_units,
        requested_at=line.requested_at,
        promised_at=line.promised_at,
    )
