"""How a company answers a call: believe it, do it, answer, or answer badly on purpose."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.clock import BusinessClock
from sandbox.misbehaviour import AnswerFaults, Chances, Occasion
from sandbox.refusal import Refusal

T = TypeVar("T")

# A partner reads no more than this; our largest call is a wave of some thousand parcels.
BODY_BYTES: Final = 8 * 1024 * 1024
_HUGE_BYTES: Final = 10 * 1024 * 1024
# The key under which the server's protocol class hands its connection to the answers.
CONNECTION: Final = "sandbox.connection"


def json_answer(content: object, *, status: int = 200, etag: str | None = None) -> Response:
    """Return `content` as JSON."""
    headers = None if etag is None else {"ETag": etag}
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )


def refusal_answer(refusal: Refusal) -> Response:
    """Return the `{code, message}` of a refusal."""
    return json_answer({"code": refusal.code, "message": refusal.message}, status=refusal.status)


async def read_body(request: Request) -> bytes:
    """Return the raw body.

    Raises:
        Refusal: it is larger than a partner reads.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES:
            raise Refusal(413, "too_large", f"more than {BODY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def parse(body: bytes, kind: type[T], *, status: int = 422, code: str = "validation") -> T:
    """Return the body as `kind`.

    Raises:
        Refusal: it is not JSON (400), or not such a document (`status`, `code`).
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(status, code, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, code, f"not JSON: {error}") from None


class LostAnswer(Response):
    """Closes the connection without a byte: the caller cannot know what was done."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close and wait until the server has noticed."""
        scope["extensions"][CONNECTION]["transport"].abort()
        await _gone(receive, within_seconds=1.0)


class HangingAnswer(LostAnswer):
    """Says nothing for a while and then closes the connection."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the caller to lose patience first."""
        if not await _gone(receive, within_seconds=self._seconds):
            await super().__call__(scope, receive, send)


class SlowAnswer(Response):
    """Says the right thing, byte by byte."""

    def __init__(self, right: Response, *, bytes_per_second: float) -> None:
        super().__init__(right.body, status_code=right.status_code, headers=dict(right.headers))
        self._pause_seconds = 1.0 / bytes_per_second

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until done or the caller has gone."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        for position in range(len(self.body)):
            byte = bytes(self.body[position : position + 1])
            await send({"type": "http.response.body", "body": byte, "more_body": True})
            if await _gone(receive, within_seconds=self._pause_seconds):
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive, *, within_seconds: float) -> bool:
    """Wait for the caller to hang up; tell whether it did in time."""
    try:
        async with asyncio.timeout(within_seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


class Door:
    """Where one company's calls come in.

    Args:
        faults: the present misbehaviour.
        counts: told how many answers went wrong, and how: answers_lost, answers_hang and so on.
        believe: raises a Refusal for a call that is not signed by the shop.
        present: finishes a right answer, such as by signing it.
    """

    def __init__(
        self,
        *,
        clock: BusinessClock,
        chances: Chances,
        counts: Counter[str],
        faults: Callable[[], AnswerFaults],
        believe: Callable[[Request, bytes], None],
        present: Callable[[Response], Response] = lambda answer: answer,
    ) -> None:
        self._clock = clock
        self._chances = chances
        self._counts = counts
        self._faults = faults
        self._believe = believe
        self._present = present

    async def answer(
        self, request: Request, *, call: str, handle: Callable[[bytes], Response]
    ) -> Response:
        """Do what the call asks and answer, as well or as badly as the faults say.

        Args:
            call: its name, which an occasion may name in `only`.
            handle: does it; raises Refusal when it cannot be done.
        """
        faults = self._faults()
        try:
            body = await read_body(request)
            self._believe(request, body)
        except Refusal as refusal:
            return self._present(refusal_answer(refusal))
        touched = request.method != "GET"
        if self._strikes("refused", faults.refused, call=call, touched=touched):
            return refusal_answer(Refusal(503, "unavailable", "try again later"))
        if self._strikes("limited", faults.limited, call=call, touched=touched):
            answer = refusal_answer(Refusal(429, "FREQUENCY_LIMITED", "too many calls"))
            answer.headers["Retry-After"] = "1"
            return answer
        if self._strikes("hang", faults.hang, call=call, touched=touched):
            return HangingAnswer(seconds=faults.hang_seconds)
        try:
            answer = handle(body)
        except Refusal as refusal:
            answer = refusal_answer(refusal)
        self._clock.settle()
        return self._spoil(self._present(answer), faults, call=call, touched=touched)

    def _spoil(
        self, answer: Response, faults: AnswerFaults, *, call: str, touched: bool
    ) -> Response:
        if self._strikes("lost", faults.lost, call=call, touched=touched):
            return LostAnswer()
        if self._strikes("slow", faults.slow, call=call, touched=touched):
            return SlowAnswer(answer, bytes_per_second=faults.slow_bytes_per_second)
        if self._strikes("garbage", faults.garbage, call=call, touched=touched):
            return Response(b'{"status": "rec\xff\x00<html>', media_type="application/json")
        if self._strikes("huge", faults.huge, call=call, touched=touched):
            return Response(b'"' + b"x" * _HUGE_BYTES + b'"', media_type="application/json")
        return answer

    def _strikes(self, name: str, occasion: Occasion, *, call: str, touched: bool) -> bool:
        if not touched and not occasion.only:
            return False
        strikes = self._chances.strikes(f"answers.{name}", occasion, subjects=(call,))
        if strikes:
            self._counts[f"answers_{name}"] += 1
        return strikes
