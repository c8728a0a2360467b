"""POST /v1/payments: a buyer starts to pay."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from api.deps import Buyer, Idempotent
from api.kept import answer_once
from api.schemas import Problem, Wire
from operations.start_payment import start_payment

router = APIRouter(tags=["payments"])


class StartPayment(Wire):
    """The orders to pay together: one, or up to ten over several groups."""

    order_ids: Annotated[list[UUID], Field(min_length=1, max_length=10)]


class PaymentLineBody(Wire):
    order_id: UUID
    amount_fen: int


class PaymentStarted(Wire):
    """`pay_params` go to wx.requestPayment as they are."""

    payment_id: UUID
    provider: str
    amount_fen: int
    expires_at: datetime
    pay_params: dict[str, str]
    lines: list[PaymentLineBody]


@router.post(
    "/v1/payments",
    status_code=201,
    response_model=PaymentStarted,
    responses={status: {"model": Problem} for status in (404, 409, 422, 503)},
)
async def make_payment(body: StartPayment, buyer: Buyer, keyed: Idempotent) -> Response:
    """Make the payment attempt; the same orders again give the same attempt."""

    async def act() -> tuple[int, Mapping[str, Any]]:
        started = await start_payment(user_id=buyer.user_id, order_ids=body.order_ids)
        answer = PaymentStarted(
            payment_id=started.payment_id,
            provider=started.provider,
            amount_fen=started.amount_fen,
            expires_at=started.expires_at,
            pay_params=started.pay_params,
            lines=[
                PaymentLineBody(order_id=line.order_id, amount_fen=line.amount_fen)
                for line in started.lines
            ],
        )
        return 201, answer.model_dump(mode="json")

    return await answer_once(keyed, act)
