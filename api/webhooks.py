"""Partners' webhooks: believed by their signature over the raw bytes, read strictly, kept once.

One indexed read and one insert; the clerk applies what was kept. Nothing in the answer or in the
time it takes tells a stranger whether a partner exists.
"""

import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from standardwebhooks import Webhook

from api import errors, strict_json
from api.errors import Invalid, Violation
from api.violations import violation_of
from api.webhook_events import EVENTS, Envelope
from kit import inbox
from kit.db import transaction

Shape = TypeVar("Shape", bound=msgspec.Struct)

router = APIRouter(prefix="/v1/webhooks", tags=["partners"])

_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CODE: Final = re.compile(r"[^\x00]{1,200}")
_SIGNED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
# Nobody knows it: it stands in for secrets that are missing, so that they cost the same.
_NOBODYS: Final = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
_ANSWERS: Final = Counter("caravan_webhooks", "Webhooks by partner kind and answer", ["kind", "to"])

_DOCUMENT: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in _SIGNED
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "docs/webhooks.md and docs/webhooks.schema.json",
                    "required": ["type", "timestamp", "data"],
                    "properties": {
                        "type": {"type": "string"},
                        "timestamp": {"type": "string", "format": "date-time"},
                        "data": {"type": "object"},
                    },
                    "additionalProperties": False,
                }
            }
        },
    },
    "responses": {"200": {"description": "Seen before"}, "202": {"description": "Taken in"}},
}


class Event(NamedTuple):
    """A webhook whose meaning was checked."""

    kind: str
    occurred_at: datetime
    body: Mapping[str, Any]


@router.post("/suppliers/{code}", status_code=202, openapi_extra=_DOCUMENT)
async def hear_supplier(code: str, request: Request) -> Response:
    """A supplier answers, despatches, or changes what it sells."""
    return await _hear("suppliers", code, request)


@router.post("/warehouses/{code}", status_code=202, openapi_extra=_DOCUMENT)
async def hear_warehouse(code: str, request: Request) -> Response:
    """A warehouse tells of stock, goods received and parcels that left."""
    return await _hear("warehouses", code, request)


@router.post("/carriers/{code}", status_code=202, openapi_extra=_DOCUMENT)
async def hear_carrier(code: str, request: Request) -> Response:
    """A carrier tells where parcels are."""
    return await _hear("carriers", code, request)


async def _hear(kind: str, code: str, request: Request) -> Response:
    content = await request.body()
    headers = {name: request.headers.get(name, "") for name in _SIGNED}
    async with transaction() as session:
        keys = await _secrets(session, kind, code)
        if not believed(content, headers, keys=keys):
            return _counted(kind, "refused", _not_believed())
        event = read_event(kind, content)
        fresh = await inbox.take_in(
            session,
            source=f"{kind}:{code}",
            external_id=headers["webhook-id"],
            kind=event.kind,
            body=event.body,
            occurred_at=event.occurred_at,
        )
    # The answer leaves after the commit: what is taken in is kept.
    if fresh:
        return _counted(kind, "taken", Response(status_code=202))
    return _counted(kind, "seen", Response(status_code=200))


def believed(content: bytes, headers: Mapping[str, str], *, keys: Sequence[str | None]) -> bool:
    """Tell whether one of a partner's keys signed this content lately.

    Every key is tried, missing ones by one that nobody knows, whatever the others say; and
    whatever goes wrong while trying means no.
    """
    if _ID.fullmatch(headers["webhook-id"]) is None:
        return False
    signed = [_signed_by(key or _NOBODYS, content, headers) for key in keys]
    return any(signed)


def read_event(kind: str, content: bytes) -> Event:
    """Return what a partner of this kind says.

    Raises:
        MalformedJson: it is not strict JSON.
        Invalid: it is not in the agreed shape, or such a partner says no such thing.
    """
    document = strict_json.parse(content)
    envelope = _converted(document, Envelope, within="")
    shape = EVENTS[kind].get(envelope.type)
    if shape is None:
        detail = f"{kind} send no {envelope.type}"
        raise Invalid([Violation(pointer="/type", detail=detail)])
    said = _converted(envelope.data, shape, within="/data")
    return Event(kind=envelope.type, occurred_at=envelope.timestamp, body=msgspec.to_builtins(said))


def _converted(document: Any, shape: type[Shape], *, within: str) -> Shape:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise Invalid([violation_of(str(error), within=within)]) from error


async def _secrets(session: AsyncSession, kind: str, code: str) -> tuple[str | None, str | None]:
    """Return the current and the previous key of an active partner."""
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "SELECT secret, previous_secret FROM partner"
                " WHERE kind = :kind AND code = :code AND active"
            ),
            # What cannot be a code is asked for all the same, under a name that is none.
            {"kind": kind, "code": code if _CODE.fullmatch(code) else ""},
        )
    ).one_or_none()
    return (None, None) if row is None else (row.secret, row.previous_secret)


def _signed_by(key: str, content: bytes, headers: Mapping[str, str]) -> bool:
    try:
        Webhook(key).verify(content, dict(headers), json_parse=False)
    except Exception:  # noqa: BLE001  # the library and what it calls raise many kinds for bad input
        return False
    return True


def _not_believed() -> Response:
    return errors.problem(401, code="not_believed", detail="the signature does not prove this")


def _counted(kind: str, to: str, response: Response) -> Response:
    _ANSWERS.labels(kind, to).inc()
    return response
