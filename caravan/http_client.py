"""How the replay talks to servers: JSON over HTTP, repeated safely when refused."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from caravan.http_wire import ConnectionLost, Heard, Wire

# So long a client waits, in all, for a server that says "later" or does not answer.
_PATIENCE_SECONDS: Final = 90.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class NoAnswer(RuntimeError):
    """A server did not answer, or said "later", for longer than anybody waits."""


class WrongAnswer(RuntimeError):
    """A server said something that its contract does not know."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer: neither 429 nor 503."""

    status: int
    document: Any

    @property
    def code(self) -> str:
        """Return the stable code of a problem document."""
        known = self.document.get("code") if isinstance(self.document, dict) else None
        return str(known or f"http_{self.status}")


@dataclass(slots=True)
class Client:
    """A caller of one server; every repetition says exactly the same.

    `repeats` counts by status, 0 for a connection that broke.
    """

    base_url: str
    repeats: Counter[int] = field(default_factory=Counter)
    _wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        self._wire = Wire(self.base_url)

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def get(self, path: str, *, token: str | None = None, **query: Any) -> Any:
        """Return the document at `path`.

        Raises:
            WrongAnswer: anything but 200.
        """
        answer = await self.call("GET", path, token=token, query=query)
        return _expected(answer, path, status=HTTPStatus.OK)

    async def post(
        self, path: str, document: Any, *, token: str | None = None, key: str | None = None
    ) -> Any:
        """Return what was answered to `document`.

        Raises:
            WrongAnswer: anything but 2xx.
        """
        answer = await self.call("POST", path, token=token, key=key, document=document)
        return _expected(answer, path, status=None)

    async def put(self, path: str, document: Any) -> Any:
        """Return what was answered to `document`; raise WrongAnswer for anything but 2xx."""
        answer = await self.call("PUT", path, document=document)
        return _expected(answer, path, status=None)

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        key: str | None = None,
        document: Any = None,
        query: dict[str, Any] | None = None,
        content: bytes = b"",
    ) -> Answer:
        """Return the final answer; "later" and broken connections are repeated with the same key.

        Raises:
            NoAnswer: nothing else was heard for `_PATIENCE_SECONDS`.
        """
        headers = {}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if key is not None:
            headers["idempotency-key"] = key
        if document is not None:
            content = json.dumps(document, ensure_ascii=False).encode()
        if content:
            headers["content-type"] = "application/json"
        gives_up_at = time.monotonic() + _PATIENCE_SECONDS
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            wait_seconds, why = pause_seconds, "the connection broke"
            try:
                heard = await self._wire.ask(
                    method, path, headers=headers, content=content, query=query
                )
            except ConnectionLost as error:
                self.repeats[0] += 1
                why = str(error)
            else:
                if heard.status not in _LATER:
                    return Answer(heard.status, _document(heard))
                self.repeats[heard.status] += 1
                wait_seconds = _retry_after(heard, otherwise=pause_seconds)
                why = f"status {heard.status}"
            if time.monotonic() + wait_seconds > gives_up_at:
                raise NoAnswer(f"{method} {self.base_url}{path}: {why}")
            await asyncio.sleep(wait_seconds)
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)


def _document(heard: Heard) -> Any:
    if not heard.content:
        return None
    try:
        return json.loads(heard.content)
    except ValueError:
        return heard.content.decode(errors="replace")


def _retry_after(heard: Heard, *, otherwise: float) -> float:
    said = heard.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdecimal() else otherwise


def _expected(answer: Answer, path: str, *, status: HTTPStatus | None) -> Any:
    right = answer.status == status if status is not None else answer.status // 100 == 2  # noqa: PLR2004 - 2xx
    if not right:
        raise WrongAnswer(f"{path} answered {answer.status}: {_short(answer.document)}")
    return answer.document


def _short(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, default=str)[:500]
