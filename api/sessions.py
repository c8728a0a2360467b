"""Logging in."""

from typing import Final

from fastapi import APIRouter, Request

from api.deps import Database
from api.limits import ADDRESS_LOGINS_A_WINDOW, Limits
from api.schemas import LoggedIn, LogIn
from groups import sessions
from kit.errors import Unprocessable
from kit.settings import settings

router = APIRouter(prefix="/v1", tags=["sessions"])

_DEVELOPER: Final = "dev:"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


class CodeRefused(Unprocessable):
    """The login provider does not know the code."""

    code = "login_refused"


@router.post("/sessions", status_code=201, summary="Log in")
async def log_in(body: LogIn, request: Request, session: Database) -> LoggedIn:
    """Exchange a login code for a bearer token."""
    address = request.client.host if request.client else ""
    if settings().production or address not in _LOOPBACK:
        limits: Limits = request.app.state.limits
        limits.take(
            user=f"address:{address}", route="POST /v1/sessions", limit=ADDRESS_LOGINS_A_WINDOW
        )
    name = body.code.removeprefix(_DEVELOPER)
    if settings().production or name == body.code or not name:
        raise CodeRefused("the login code is unknown")
    token, user_id, expires_at = await sessions.log_in(session, f"{_DEVELOPER}{name}")
    return LoggedIn(token=token, user_id=user_id, expires_at=expires_at)
