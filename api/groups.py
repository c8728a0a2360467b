"""The hot routes: open a group, join one, see how far it is. Plain Starlette and msgspec.

They stand in the same application and in its OpenAPI document as the other routes, but decode,
ask and answer without FastAPI's machinery, which would cost more than the seat itself.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from prometheus_client import Counter
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api import errors
from api.bodies import BODY
from api.deps import Identities, as_buyer, checked_key, fingerprint
from api.limits import Limits
from api.seat_bodies import JoinGroup, OpenGroup, decode, destination_of, quantity_of
from groups.admission import Admission, Answer, Unknown
from groups.progress import NextTier, Progress, SeenMember
from groups.seat_facts import Ask, Reason, Refused, Seat

OPEN_ROUTE: Final = "POST /v1/groups"
JOIN_ROUTE: Final = "POST /v1/groups/{group_id}/orders"

_ANSWERS: Final = Counter("caravan_seat_answers", "Answers to requests for a seat", ["status"])
# Looking a label up costs as much as deciding a seat.
_COUNTERS: Final = {status: _ANSWERS.labels(status) for status in (201, 409)}
_DETAILS: Final = {
    Reason.GROUP_FULL: "every seat of the group is taken",
    Reason.GROUP_CLOSED: "the group takes no more members",
    Reason.ALREADY_MEMBER: "you have a seat in this group",
    Reason.USER_LIMIT: "the campaign's limit per buyer is reached",
    Reason.SEAT_CAP: "the product's limit of participants is reached",
    Reason.OUT_OF_STOCK: "no more can be promised of the product",
    Reason.CAMPAIGN_PAUSED: "the campaign takes no members now",
}
_encoder: Final = msgspec.json.Encoder()


class GroupBody(Struct):
    """A group just after a seat in it was given."""

    id: UUID
    campaign_id: UUID
    sku: str
    mode: str
    state: str
    capacity: int
    min_size: int
    price_fen: int
    paid: int
    held: int
    missing: int  # seats nobody has
    deadline_at: datetime
    version: int


class OrderBody(Struct):
    """A member's seat."""

    id: UUID
    group_id: UUID
    campaign_id: UUID
    sku: str
    quantity: int
    price_fen: int
    amount_fen: int
    state: str
    reserved_until: datetime


class SeatTaken(Struct):
    """What a buyer gets for opening or joining."""

    group: GroupBody
    order: OrderBody


class GroupProgress(Struct):
    """How far a group is; members are masked."""

    id: UUID
    campaign_id: UUID
    sku: str
    state: str
    paid: int
    held: int
    missing: int
    capacity: int
    min_size: int
    price_fen: int
    final_price_fen: int | None
    next_tier: NextTier | None
    deadline_at: datetime
    seconds_left: int
    members: tuple[SeenMember, ...]
    version: int


def render(ask: Ask, decision: Seat | Refused) -> Answer:
    """Return the words of a decision, as they are kept under the key."""
    del ask
    if isinstance(decision, Refused):
        return _REFUSALS[decision.reason]
    seat = decision
    taken = SeatTaken(
        group=GroupBody(
            id=seat.group_id,
            campaign_id=seat.campaign_id,
            sku=seat.sku,
            mode=seat.mode.value,
            state=seat.state.value,
            capacity=seat.capacity,
            min_size=seat.min_size,
            price_fen=seat.price_fen,
            paid=seat.paid_seats,
            held=seat.held_seats,
            missing=seat.capacity - seat.paid_seats - seat.held_seats,
            deadline_at=seat.deadline_at,
            version=seat.progress,
        ),
        order=OrderBody(
            id=seat.order_id,
            group_id=seat.group_id,
            campaign_id=seat.campaign_id,
            sku=seat.sku,
            quantity=seat.quantity,
            price_fen=seat.price_fen,
            amount_fen=seat.amount_fen,
            state="reserved",
            reserved_until=seat.reserved_until,
        ),
    )
    return Answer(201, _encoder.encode(taken).decode())


_REFUSALS: Final = {
    reason: Answer(
        409,
        _encoder.encode(errors.document(409, code=reason.value, detail=detail)).decode(),
    )
    for reason, detail in _DETAILS.items()
}


class _TakeSeat:
    """The ASGI endpoint of both ways to get a seat."""

    def __init__(self, route: str) -> None:
        self._route = route
        self._opens = route == OPEN_ROUTE
        self._open = msgspec.json.Decoder(OpenGroup)
        self._join = msgspec.json.Decoder(JoinGroup)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive  # the body was taken in by the guard
        authorization, key = _credentials(scope)
        state = scope["app"].state
        identities: Identities = state.identities
        buyer = as_buyer(await identities.of(authorization))
        owner = str(buyer.user_id)
        limits: Limits = state.limits
        limits.take(user=owner, route=self._route)
        named = (owner, self._route, checked_key(key))
        body: bytes = scope[BODY]
        meant: OpenGroup | JoinGroup
        group_id: UUID | None = None
        campaign_id: UUID | None = None
        if self._opens:
            meant = opening = decode(body, self._open)
            campaign_id = opening.campaign_id
        else:
            meant = decode(body, self._join)
            group_id = _group_id(scope)
        province, city, address = destination_of(meant.address)
        admission: Admission = state.admission
        answer = await admission.take_seat(
            Ask(
                user_id=buyer.user_id,
                key=named,
                fingerprint=fingerprint(scope["path"], body),
                quantity=quantity_of(meant),
                province=province,
                city=city,
                address=address,
                group_id=group_id,
                campaign_id=campaign_id,
            )
        )
        _COUNTERS[answer.status].inc()
        await _send(send, answer.status, answer.body.encode())


class _ShowGroup:
    """The ASGI endpoint of a group's progress."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        authorization, _ = _credentials(scope)
        state = scope["app"].state
        identities: Identities = state.identities
        await identities.of(authorization)
        progress: Progress | None = await state.progress.submit(_group_id(scope))
        if progress is None:
            raise Unknown("there is nothing here by that name")
        etag = f'W/"{progress.version}"'.encode()
        headers = [(b"etag", etag), (b"cache-control", b"private, no-cache")]
        if any(name == b"if-none-match" and etag in value for name, value in scope["headers"]):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await _send(send, 200, _encoder.encode(shown(progress)), headers)


def shown(progress: Progress) -> GroupProgress:
    """Return a group's progress as it goes over the wire."""
    return GroupProgress(
        id=progress.group_id,
        campaign_id=progress.campaign_id,
        sku=progress.sku,
        state=progress.state.value,
        paid=progress.paid,
        held=progress.held,
        missing=progress.capacity - progress.paid - progress.held,
        capacity=progress.capacity,
        min_size=progress.min_size,
        price_fen=progress.price_fen,
        final_price_fen=progress.final_price_fen,
        next_tier=progress.next_tier,
        deadline_at=progress.deadline_at,
        seconds_left=progress.seconds_left,
        members=progress.members,
        version=progress.version,
    )


def _credentials(scope: Scope) -> tuple[str | None, str | None]:
    authorization = key = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"idempotency-key":
            key = value.decode("latin-1")
    return authorization, key


def _group_id(scope: Scope) -> UUID:
    try:
        return UUID(scope["path_params"]["group_id"])
    except ValueError:
        raise Unknown("there is nothing here by that name") from None


async def _send(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    kind = errors.MEDIA_TYPE.encode() if status >= 400 else b"application/json"  # noqa: PLR2004
    message: dict[str, Any] = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            *(headers or ()),
        ],
    }
    await send(message)
    await send({"type": "http.response.body", "body": body})


ROUTES: Final = (
    Route("/v1/groups/{group_id}/orders", _TakeSeat(JOIN_ROUTE), methods=["POST"], name="join"),
    Route("/v1/groups/{group_id}", _ShowGroup(), methods=["GET"], name="show_group"),
    Route("/v1/groups", _TakeSeat(OPEN_ROUTE), methods=["POST"], name="open_group"),
)
