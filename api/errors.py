"""Every refusal leaves as RFC 9457 problem+json with a stable code; nothing else ever leaks."""

import http
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from kit.db import DatabaseDown, sqlstate
from kit.errors import CaravanError, Conflict, NotFound, Unavailable, Unprocessable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 1
DATABASE_RETRY_SECONDS: Final = 2

# Lock and statement timeouts, a deadlock that lost its repeats: busy now, fine a moment later.
_BUSY_STATES: Final = frozenset({"55P03", "57014", "40001", "40P01"})


class Unauthenticated(CaravanError):
    """No token, or one that is not (or no longer) good. HTTP 401."""

    code: ClassVar[str] = "unauthenticated"


class Forbidden(CaravanError):
    """The token is good and its role is the wrong one. HTTP 403."""

    code: ClassVar[str] = "forbidden"


class TooManyRequests(CaravanError):
    """A rate limit. HTTP 429."""

    code: ClassVar[str] = "too_many_requests"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__("too many requests; the same key is safe to repeat")
        self.retry_after_seconds = retry_after_seconds


class Malformed(CaravanError):
    """The request cannot be read. HTTP 400."""

    code: ClassVar[str] = "malformed"


class MalformedJson(Malformed):
    code = "malformed_json"


class KeyMissing(Malformed):
    code = "idempotency_key_missing"


class KeyInvalid(Malformed):
    code = "idempotency_key_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """What is wrong with one value of the body (by JSON pointer) or one query parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Invalid(Unprocessable):
    """The body can be read and cannot be meant."""

    code = "validation"

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        where = first.pointer if first.pointer is not None else first.parameter
        super().__init__(f"{where or 'the body'}: {first.detail}")
        self.violations = tuple(violations)


class BodyRefused(HTTPException):
    """The body is of a kind or size that is not read; also raised while it is streamed."""

    def __init__(self, status: int, *, code: str, detail: str) -> None:
        # What is left of the body is never read, so the connection ends with the answer.
        super().__init__(status, detail, headers={"Connection": "close"})
        self.code = code


# Read from the top: the first family an error belongs to gives the status.
STATUS_OF_FAMILY: Final[Sequence[tuple[type[CaravanError], int]]] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (TooManyRequests, 429),
    (Malformed, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Unprocessable, 422),
    (Unavailable, 503),
)


def status_of(error: CaravanError) -> int:
    """Return the HTTP status of an error's family."""
    for family, status in STATUS_OF_FAMILY:
        if isinstance(error, family):
            return status
    return 500


def headers_of(error: CaravanError) -> dict[str, str]:
    """Return the headers that belong to an error's family."""
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="caravan"'}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, DatabaseDown):
        return {"Retry-After": str(DATABASE_RETRY_SECONDS)}
    if isinstance(error, Unavailable):
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


def document(
    status: int, *, code: str, detail: str, violations: Sequence[Violation] = ()
) -> dict[str, Any]:
    """Return a problem document."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if violations:
        problem["errors"] = [
            {
                key: value
                for key, value in (
                    ("pointer", violation.pointer),
                    ("parameter", violation.parameter),
                    ("detail", violation.detail),
                )
                if value is not None
            }
            for violation in violations
        ]
    return problem


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    violations: Sequence[Violation] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document as a response."""
    return Response(
        msgspec.json.encode(document(status, code=code, detail=detail, violations=violations)),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def problem_of(error: CaravanError) -> Response:
    """Return the response to an error that is part of the contract."""
    return problem(
        status_of(error),
        code=error.code,
        detail=str(error),
        violations=error.violations if isinstance(error, Invalid) else (),
        headers=headers_of(error),
    )


def busy(error: BaseException) -> Unavailable | None:
    """Return the contract's error behind a database error that a repeat may cure, or None."""
    if isinstance(error, PoolTimeout) or sqlstate(error) in _BUSY_STATES:
        return Unavailable("the database is busy; repeat the request")
    return None


def _violation(error: Mapping[str, Any]) -> Violation:
    place, *path = error["loc"]
    detail = str(error["msg"])
    if place == "body":
        pointer = "".join(
            "/" + str(step).replace("~", "~0").replace("/", "~1")
            for step in path
            if not isinstance(step, str) or step != "__root__"
        )
        return Violation(pointer=pointer, detail=detail)
    return Violation(parameter=".".join(str(step) for step in path), detail=detail)


def _allowed_methods(request: Request) -> str:
    """Return every method of the path, over all its routes; Starlette names the first route's."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


async def _contract(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, CaravanError)  # noqa: S101  # registered for this class
    return problem_of(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class
    if isinstance(error, BodyRefused):
        return problem(
            error.status_code, code=error.code, detail=error.detail, headers=error.headers
        )
    status = http.HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is http.HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed_methods(request)
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    return problem(status, code=code, detail=str(error.detail), headers=headers)


async def _validation(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this class
    entries = error.errors()
    if any(entry["type"] == "json_invalid" for entry in entries):
        return problem_of(MalformedJson("the body is not JSON"))
    if any(entry["loc"][0] == "path" for entry in entries):
        # What cannot be an id is nobody's id.
        return problem_of(NotFound("there is nothing here by that name"))
    return problem_of(Invalid([_violation(entry) for entry in entries]))


async def _database(request: Request, error: Exception) -> Response:
    del request
    known = busy(error)
    if known is None:
        raise error
    return problem_of(known)


async def _bug(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, so it is logged as the bug it is.
    del request, error
    return problem(500, code="internal", detail="something is broken on our side")


def install(app: FastAPI) -> None:
    """Make every refusal of `app` a problem document."""
    app.add_exception_handler(CaravanError, _contract)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(Exception, _bug)
