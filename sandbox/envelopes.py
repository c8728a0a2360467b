"""Standard Webhooks on a company's side: what it signs, and which signatures it believes."""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request

from sandbox.clock import BusinessClock
from sandbox.delivery import Courier, Letter
from sandbox.misbehaviour import Chances, EventFaults
from sandbox.refusal import Refusal

T = TypeVar("T")

# Caravan refuses more than 64 KiB; the rest is for the envelope around the list.
PART_BYTES: Final = 60 * 1024


def in_parts(items: Sequence[T], *, longest: int | None = None) -> Iterator[Sequence[T]]:
    """Cut a list into parts whose JSON stays within one webhook; an empty list is one part.

    Args:
        longest: most items in a part.
    """
    part: list[T] = []
    size = 0
    for item in items:
        item_bytes = len(msgspec.json.encode(item)) + 1
        if part and (size + item_bytes > PART_BYTES or len(part) == longest):
            yield part
            part, size = [], 0
        part.append(item)
        size += item_bytes
    if part or not items:
        yield part


class Seal:
    """One company's secret, shared with the shop."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)

    def headers(self, event_id: str, content: bytes, *, at: datetime) -> dict[str, str]:
        """Return the headers that prove the content is ours."""
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._webhook.sign(event_id, at, content.decode()),
        }

    def believe(self, request: Request, body: bytes) -> None:
        """Believe a call of the shop, or refuse it.

        A call without a body signs the empty string.
        """
        try:
            self._webhook.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            raise Refusal(401, "unauthorized", "the signature does not match") from None


class Announcer:
    """Sends one company's webhooks, in order."""

    def __init__(
        self,
        *,
        clock: BusinessClock,
        courier: Courier,
        chances: Chances,
        seal: Seal,
        url: str,
        pauses_seconds: Sequence[float],
    ) -> None:
        self._clock = clock
        self._courier = courier
        self._chances = chances
        self._seal = seal
        self._url = url
        self._pauses_seconds = pauses_seconds

    def announce(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        faults: EventFaults,
        subjects: Collection[str] = (),
    ) -> None:
        """Tell the shop of one event, as often as the faults say.

        Args:
            subjects: SKUs or parcels concerned; an occasion may name them in `only`, or the kind.
        """
        event_id = f"evt_{uuid.uuid4().hex}"
        content = msgspec.json.encode(
            {"type": kind, "timestamp": self._clock.now.isoformat(), "data": data}
        )
        concerned = {kind, *subjects}
        if self._chances.strikes("events.stale", faults.stale, subjects=concerned):
            an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
            self._post(event_id, content, pauses_seconds=(), signed_at=an_hour_ago)
        self._post(event_id, content, pauses_seconds=self._pauses_seconds)
        if self._chances.strikes("events.duplicates", faults.duplicates, subjects=concerned):
            self._clock.after(
                timedelta(seconds=faults.duplicates.after_seconds),
                lambda: self._post(event_id, content, pauses_seconds=self._pauses_seconds),
            )

    def _post(
        self,
        event_id: str,
        content: bytes,
        *,
        pauses_seconds: Sequence[float],
        signed_at: datetime | None = None,
    ) -> None:
        def headers() -> Mapping[str, str]:
            return self._seal.headers(event_id, content, at=signed_at or datetime.now(UTC))

        self._courier.post(
            Letter(
                url=self._url,
                content=content,
                headers=headers,
                lane=self._url,
                pauses_seconds=pauses_seconds,
            )
        )
