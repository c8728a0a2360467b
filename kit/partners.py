"""Who a partner is, what it may answer, and what we know when it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import SecretStr

from kit.errors import CaravanError, Conflict, Unavailable, Unprocessable


class PartnerUnavailable(Unavailable):
    """Nothing was sent, or the partner said it did nothing (5xx, 429); try again later."""

    code: ClassVar[str] = "partner.unavailable"


class AnswerLost(CaravanError):
    """The request was sent and its answer never understood: its effect is unknown.

    Deliberately not `Unavailable`: what is retried blindly may be done twice.
    """

    code: ClassVar[str] = "partner.answer_lost"


class PartnerRefused(Conflict):
    """The partner understood and refuses (4xx); repeating it changes nothing."""

    code: ClassVar[str] = "partner.refused"

    def __init__(self, partner: str, *, status: int, body: bytes) -> None:
        super().__init__(f"{partner} answered {status}")
        self.partner, self.status, self.body = partner, status, body


class HostRefused(Unprocessable):
    """The address of a partner is one we never call; nothing was sent."""

    code: ClassVar[str] = "partner.host_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """Where a company listens and how hard it may be asked."""

    code: str
    url: str
    secret: SecretStr | None = None
    """Standard Webhooks secret (`whsec_...`) that signs what we send."""
    at_once: int = 8
    per_second: float = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how large an exchange may be (RELIABILITY.md, misbehaving suppliers)."""

    connect_seconds: float = 2.0
    read_seconds: float = 10.0
    total_seconds: float = 15.0
    body_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a partner answered: 2xx, or 304 to a conditional question."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    document: Any
    """The decoded body when it is JSON, else None."""
