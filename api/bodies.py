"""Takes a request's body in before anybody looks at it: kind, size, time and strictness."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import strict_json
from api.errors import BodyRefused, problem, problem_of
from kit.errors import CaravanError

# API.md, the table of bad input.
BODY_BYTES: Final = 32 * 1024
WEBHOOK_BYTES: Final = 64 * 1024
UPLOAD_BYTES: Final = 64 * 1024 * 1024
BODY_SECONDS: Final = 10.0

WEBHOOKS: Final = "/v1/webhooks/"
# Documents that operations upload; the route streams them and names the kinds it takes.
UPLOADS: Final = ("/v1/ops/catalogue",)
# Where a body that was taken in stands in the scope.
BODY: Final = "caravan.body"

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class BodyGuard:
    """Middleware: small JSON bodies are read whole and checked; uploads are counted as they flow.

    Webhooks are signed over their raw bytes and joins are decoded by their own routes, so both
    get their bytes unparsed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        try:
            if path.startswith(UPLOADS):
                _refuse_encoding(scope)
                _refuse_announced(scope, UPLOAD_BYTES)
                await self.app(scope, _counted(receive), send)
                return
            webhook = path.startswith(WEBHOOKS)
            body = await _taken_in(scope, receive, WEBHOOK_BYTES if webhook else BODY_BYTES)
            if body and not webhook and not _decodes_itself(path):
                strict_json.parse(body)
        except BodyRefused as error:
            answer = problem(
                error.status_code, code=error.code, detail=error.detail, headers=error.headers
            )
            await answer(scope, receive, send)
            return
        except CaravanError as error:
            await problem_of(error)(scope, receive, send)
            return
        scope[BODY] = body
        await self.app(scope, _again(body, receive), send)


def _decodes_itself(path: str) -> bool:
    """Return whether the route checks its bytes itself: opening and joining groups."""
    return path == "/v1/groups" or (path.startswith("/v1/groups/") and path.endswith("/orders"))


def _again(body: bytes, receive: Receive) -> Receive:
    told = False

    async def once() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def _counted(receive: Receive) -> Receive:
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > UPLOAD_BYTES:
            raise _too_large(UPLOAD_BYTES)
        return message

    return counting


def _too_large(limit: int) -> BodyRefused:
    return BodyRefused(413, code="body_too_large", detail=f"a body has at most {limit} bytes")


def _refuse_encoding(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise BodyRefused(
                415, code="content_encoding", detail="bodies are sent without an encoding"
            )


def _refuse_announced(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)


async def _taken_in(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the body of a JSON request.

    Raises:
        BodyRefused: it is of another kind, encoded, too large, or does not come to its end.
    """
    kind = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value
        elif name == b"content-encoding":
            _refuse_encoding(scope)
        elif name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(receive, limit)
    except TimeoutError:
        raise BodyRefused(
            408, code="body_timeout", detail=f"the body did not end in {BODY_SECONDS:.0f} s"
        ) from None
    if body and kind != b"application/json" and not _is_json(kind):
        raise BodyRefused(415, code="content_type", detail="bodies are application/json")
    return body


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        if size > limit:
            break
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _is_json(content_type: bytes) -> bool:
    kind, _, parameters = content_type.partition(b";")
    parameters = parameters.strip().lower().replace(b'"', b"")
    return kind.strip().lower() == b"application/json" and parameters in {b"", b"charset=utf-8"}
