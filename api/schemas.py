"""What goes over the wire: strict Pydantic models, never tables."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Wire(BaseModel):
    """A model of the wire; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


# 1 is a quantity; 1.0, "1" and true are not.
Quantity = Annotated[int, Field(strict=True, ge=1, le=1000)]
Count = Annotated[int, Field(strict=True, ge=0)]
Fen = Annotated[int, Field(strict=True, ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class ProblemError(Wire):
    """One value that is wrong."""

    pointer: str | None = Field(default=None, description="JSON pointer into the body")
    parameter: str | None = Field(default=None, description="name of a query parameter")
    detail: str


class Problem(Wire):
    """RFC 9457; `code` is stable and what clients branch on."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[ProblemError] | None = None


class Health(Wire):
    status: str


class LogIn(Wire):
    """A code of wx.login; outside production `dev:NAME` logs in as NAME."""

    code: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]


class LoggedIn(Wire):
    """The token is shown once."""

    token: str
    user_id: UUID
    expires_at: datetime
