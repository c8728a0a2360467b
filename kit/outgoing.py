"""Call partners so that their worst day costs us little and we always know what we know.

After a call one of four things is certain: an answer, a refusal, "nothing happened that we know
of" (`PartnerUnavailable`), or "it may have happened" (`AnswerLost`: ask by key, never repeat
elsewhere).
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Self

import httpx
import msgspec
from standardwebhooks import Webhook

from kit.addresses import checked_address, url_of
from kit.breaker import Breaker, BreakerOpen
from kit.ids import new_id
from kit.partners import (
    Answer,
    AnswerLost,
    HostRefused,
    Limits,
    Partner,
    PartnerRefused,
    PartnerUnavailable,
)

__all__ = [
    "Answer",
    "AnswerLost",
    "HostRefused",
    "Limits",
    "Outgoing",
    "Partner",
    "PartnerRefused",
    "PartnerUnavailable",
]

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_TRY_LATER: Final = frozenset({408, 425, 429})
_PORTS: Final = {"https": 443, "http": 80}
_SERVER_ERROR: Final = 500
_REDIRECT: Final = 300
_NOT_MODIFIED: Final = 304
# The first thing httpcore does that a partner could act upon.
_SENDING: Final = "send_request_headers.started"


@dataclass(slots=True, kw_only=True)
class _Gate:
    """One partner's bulkhead, pace and breaker."""

    breaker: Breaker
    places: asyncio.Semaphore
    next_turn_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """What one call has done so far."""

    sent: bool = False

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        self.sent = self.sent or event.endswith(_SENDING)


class Outgoing:
    """The client for all partners; one for a process, used as an async context manager.

    Args:
        allowed_hosts: names that may be called.
        allow_private: loopback and private addresses and plain http, for development and tests.
        verify: certificates to trust instead of the public ones.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Collection[str],
        allow_private: bool = False,
        limits: Limits | None = None,
        verify: ssl.SSLContext | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed_hosts = frozenset(allowed_hosts)
        self._allow_private = allow_private
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._gates: dict[str, _Gate] = {}
        self._client = httpx.AsyncClient(
            verify=verify or True,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(self._limits.read_seconds, connect=self._limits.connect_seconds),
            # A kept connection that the partner closes while we send makes every answer doubtful.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def breaker(self, partner: Partner) -> Breaker:
        """Return the partner's breaker, to show its state."""
        return self._gate(partner).breaker

    async def get(
        self,
        partner: Partner,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Answer:
        """Ask a question without an effect; a lost answer is just `PartnerUnavailable`."""
        try:
            return await self.send(partner, "GET", path, params=params, headers=headers)
        except AnswerLost as lost:
            raise PartnerUnavailable(str(lost)) from lost

    async def post(
        self, partner: Partner, path: str, *, document: Any, idempotency_key: str
    ) -> Answer:
        """Send a document under the key that makes a repetition harmless."""
        return await self.send(
            partner,
            "POST",
            path,
            content=msgspec.json.encode(document),
            headers={"Content-Type": "application/json"},
            idempotency_key=idempotency_key,
        )

    async def send(
        self,
        partner: Partner,
        method: str,
        path: str,
        *,
        content: bytes = b"",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Send exactly these bytes, signed when the partner has a secret.

        Raises:
            PartnerUnavailable: nothing was sent, or the partner answered 5xx, 408, 425 or 429.
            AnswerLost: it was sent and no whole answer came back.
            PartnerRefused: the partner answered another 4xx, or a redirect.
            HostRefused: the partner's address is not one we call.
        """
        request = httpx.Request(
            method,
            url_of(partner, path, params=params),
            content=content,
            headers={
                **headers,
                **({"Idempotency-Key": idempotency_key} if idempotency_key else {}),
                **_signature(partner, content, message_id=idempotency_key or str(new_id())),
                "Accept-Encoding": "identity",
            },
        )
        gate = self._gate(partner)
        deadline = asyncio.get_running_loop().time() + self._limits.total_seconds
        async with self._turn(partner, gate, deadline=deadline):
            try:
                return await gate.breaker.call(
                    lambda: self._exchange(partner, request, deadline=deadline),
                    counts=(PartnerUnavailable, AnswerLost),
                )
            except BreakerOpen as rest:
                raise PartnerUnavailable(str(rest)) from rest

    @asynccontextmanager
    async def _turn(self, partner: Partner, gate: _Gate, *, deadline: float) -> AsyncIterator[None]:
        """Wait for a place and a turn; refuse when either would come too late."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                await gate.places.acquire()
        except TimeoutError as full:
            raise PartnerUnavailable(f"too many calls to {partner.code} are under way") from full
        try:
            turn_at = max(loop.time(), gate.next_turn_at)
            if turn_at >= deadline:
                raise PartnerUnavailable(f"too many calls are waiting for {partner.code}")
            gate.next_turn_at = turn_at + 1 / partner.per_second
            await asyncio.sleep(turn_at - loop.time())
            yield
        finally:
            gate.places.release()

    async def _exchange(
        self, partner: Partner, request: httpx.Request, *, deadline: float
    ) -> Answer:
        """Connect, send and read; say of every failure whether anything had been sent."""
        exchange = _Exchange()
        try:
            async with asyncio.timeout_at(deadline):
                await self._address(partner, request)
                request.extensions["trace"] = exchange.trace
                response = await self._client.send(request, stream=True)
                try:
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError, _BadAnswer) as error:
            reason = f"{partner.code}: {type(error).__name__} {error}".rstrip()
            if exchange.sent:
                raise AnswerLost(reason) from error
            raise PartnerUnavailable(reason) from error
        return _judged(partner, response, body)

    async def _address(self, partner: Partner, request: httpx.Request) -> None:
        """Direct the request to a checked address of the host that it names."""
        url = request.url
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_private):
            raise HostRefused(f"{partner.code} can only be called by https")
        port = url.port or _PORTS[url.scheme]
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                address = await checked_address(
                    url.host, port, allowed=self._allowed_hosts, private=self._allow_private
                )
        except OSError as error:  # TimeoutError is one of them
            raise PartnerUnavailable(f"{partner.code}: {url.host} does not resolve") from error
        request.url = url.copy_with(host=address)
        # The certificate is still checked against the name.
        request.extensions = {
            "sni_hostname": url.host,
            "timeout": self._client.timeout.as_dict(),
        }

    async def _body(self, response: httpx.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _BadAnswer("the answer is compressed")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > self._limits.body_bytes:
                raise _BadAnswer(f"the answer is longer than {self._limits.body_bytes} bytes")
        return bytes(body)

    def _gate(self, partner: Partner) -> _Gate:
        gate = self._gates.get(partner.code)
        if gate is None:
            gate = self._gates[partner.code] = _Gate(
                breaker=Breaker(partner.code, monotonic=self._monotonic),
                places=asyncio.Semaphore(partner.at_once),
            )
        return gate


class _BadAnswer(Exception):
    """What came back cannot be taken for an answer."""


def _signature(partner: Partner, content: bytes, *, message_id: str) -> dict[str, str]:
    """Return Standard Webhooks headers; the time is the wall clock's, as all headers' times."""
    if partner.secret is None:
        return {}
    now = datetime.now(UTC)
    webhook = Webhook(partner.secret.get_secret_value())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign(message_id, now, content.decode()),
    }


def _judged(partner: Partner, response: httpx.Response, body: bytes) -> Answer:
    status = response.status_code
    if status >= _SERVER_ERROR or status in _TRY_LATER:
        raise PartnerUnavailable(f"{partner.code} answered {status}")
    if status >= _REDIRECT and status != _NOT_MODIFIED:
        raise PartnerRefused(partner.code, status=status, body=body)
    document = None
    if body and response.headers.get("Content-Type", "").startswith("application/json"):
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise AnswerLost(f"{partner.code}: the answer is not JSON: {error}") from error
    return Answer(status=status, headers=dict(response.headers), body=body, document=document)
