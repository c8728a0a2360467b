"""A buyer's own orders, with their parcels; and giving one up."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from api.deps import Buyer, Database, Idempotent
from api.kept import answer_once
from api.pages import PAGE, Cursor, Limit, cursor_of, position_of, tagged
from api.schemas import Problem, Wire
from groups.states import GroupState, OrderState
from kit.db import transaction
from operations import order_reads
from operations.cancel_order import NoSuchOrder, cancel_order
from operations.order_reads import SeenEvent, SeenOrder

router = APIRouter(prefix="/v1/orders", tags=["orders"])


class TrackingEventBody(Wire):
    status: str
    place: str
    occurred_at: datetime


class ShipmentBody(Wire):
    """The parcel an order travels in."""

    id: UUID
    state: str
    carrier: str
    tracking_no: str | None
    tracking: str
    promised_at: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    events: list[TrackingEventBody] = Field(
        default=[], description="where it was; only when one order is read"
    )


class OwnOrder(Wire):
    """A member's seat and what became of it."""

    id: UUID
    group_id: UUID
    campaign_id: UUID
    sku: str
    product: str
    quantity: int
    price_fen: int
    amount_fen: int
    final_price_fen: int | None = Field(description="tiered: the price of a unit in the end")
    state: OrderState
    group_state: GroupState
    reserved_until: datetime
    created_at: datetime
    paid_at: datetime | None
    confirmed_at: datetime | None
    ship_by: datetime | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    closed_reason: str | None
    refunded_fen: int = Field(description="what has reached the buyer")
    shipment: ShipmentBody | None


class OrderPage(Wire):
    orders: list[OwnOrder]
    next: str | None


@router.get("", response_model=OrderPage, summary="Own orders, newest first")
async def list_orders(
    request: Request,
    buyer: Buyer,
    session: Database,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return the caller's orders."""
    before = None if cursor is None else position_of(cursor, UUID)[0]
    found = await order_reads.list_orders(
        session, user_id=buyer.user_id, before=before, limit=limit
    )
    page = OrderPage(
        orders=[_body(order) for order in found],
        next=cursor_of(found[-1].id) if len(found) == limit else None,
    )
    return tagged(request, page)


@router.get("/{order_id}", response_model=OwnOrder, summary="One own order with its parcel")
async def show_order(request: Request, buyer: Buyer, session: Database, order_id: UUID) -> Response:
    """Return one of the caller's orders; another user's id is not found."""
    found = await order_reads.one_order(session, user_id=buyer.user_id, order_id=order_id)
    if found is None:
        raise NoSuchOrder("there is nothing here by that name")
    events = await order_reads.tracked(session, found.shipment.id) if found.shipment else []
    return tagged(request, _body(found, events))


@router.post(
    "/{order_id}/cancel",
    response_model=OwnOrder,
    summary="Give an order up",
    responses={status: {"model": Problem} for status in (404, 409)},
)
async def give_up(order_id: UUID, buyer: Buyer, keyed: Idempotent) -> Response:
    """Release an unpaid seat, or have the money sent back."""

    async def act() -> tuple[int, Mapping[str, Any]]:
        await cancel_order(user_id=buyer.user_id, order_id=order_id)
        async with transaction() as session:
            found = await order_reads.one_order(session, user_id=buyer.user_id, order_id=order_id)
        if found is None:
            raise NoSuchOrder("there is nothing here by that name")
        return 200, _body(found).model_dump(mode="json")

    return await answer_once(keyed, act)


def _body(order: SeenOrder, events: Sequence[SeenEvent] = ()) -> OwnOrder:
    known = asdict(order)
    if order.shipment is not None:
        known["shipment"]["events"] = [asdict(event) for event in events]
    return OwnOrder.model_validate(known)
