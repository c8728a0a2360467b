"""Keyset cursors and entity tags: what every list and read shares."""

import base64
import hashlib
import json
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel

from api.errors import Invalid, Violation

PAGE: Final = 50
PAGE_AT_MOST: Final = 100
_BIGGEST: Final = 2**31 - 1

Limit = Annotated[int, Query(ge=1, le=PAGE_AT_MOST, description="rows of a page")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; opaque")
]


def cursor_of(*position: int | UUID) -> str:
    """Return an opaque cursor for a position.

    >>> position_of(cursor_of(3, UUID(int=7)), int, UUID)
    [3, UUID('00000000-0000-0000-0000-000000000007')]
    """
    plain = json.dumps([str(step) for step in position])
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def position_of(cursor: str, *kinds: type[int | UUID]) -> list[Any]:
    """Return the position in a cursor.

    Raises:
        Invalid: it is not one of ours.
    """
    try:
        return _steps(cursor, kinds)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid(
            [Violation(parameter="cursor", detail="not a cursor of this list")]
        ) from error


def _steps(cursor: str, kinds: tuple[type[int | UUID], ...]) -> list[Any]:
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    steps = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    if not isinstance(steps, list) or len(steps) != len(kinds):
        raise ValueError("not a position")
    position = [kind(step) for kind, step in zip(kinds, steps, strict=True)]
    if any(isinstance(step, int) and abs(step) > _BIGGEST for step in position):
        raise ValueError("beyond what the column holds")
    return position


def tagged(request: Request, document: BaseModel) -> Response:
    """Return a document with its entity tag, or 304 when the caller has it."""
    body = document.model_dump_json().encode()
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
