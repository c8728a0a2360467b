"""A load generator that costs little: keep-alive connections, ready-made requests, no library."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

_REFUSED: Final = 400


@dataclass(slots=True)
class Outcome:
    """What the answers were and how long they took."""

    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    latencies_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, status: int, body: bytes, *, seconds: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.latencies_seconds.append(seconds)
        if not status:
            self.codes["connection_lost"] += 1
        elif status >= _REFUSED:
            place = body.find(b'"code":"') + 8
            self.codes[body[place : body.find(b'"', place)].decode()] += 1

    @property
    def accepted(self) -> int:
        """How many requests got what they asked for."""
        return sum(n for status, n in self.statuses.items() if 0 < status < _REFUSED)

    def percentile_ms(self, share: float) -> float:
        """Return the latency that `share` of the answers did not exceed."""
        ordered = sorted(self.latencies_seconds)
        if not ordered:
            return 0.0
        return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2)


class _Connection(asyncio.Protocol):
    """Sends one request at a time and tells when its answer is whole."""

    def __init__(self, answered: Callable[["_Connection", int, bytes], None]) -> None:
        self._answered = answered
        self._transport: asyncio.Transport
        self._seen = b""
        self._closing = False
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, *, began: float) -> None:
        self.began = began
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            return
        start = self._seen.find(b"content-length: ") + 16
        length = int(self._seen[start : self._seen.find(b"\r\n", start)])
        if len(self._seen) < end + 4 + length:
            return
        status, body = int(self._seen[9:12]), self._seen[end + 4 :]
        self._seen = b""
        self._answered(self, status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        # The server gives a connection up after an error; its request counts as one.
        del exc
        if not self._closing:
            self._answered(self, 0, b"")

    def close(self) -> None:
        self._closing = True
        self._transport.abort()


class _Driver:
    """Keeps connections busy until the time is over."""

    def __init__(self, make_request: Callable[[], bytes], *, rate: float | None) -> None:
        self._make_request = make_request
        self._rate = rate
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._flying = 0
        self._ends = 0.0
        self._done = asyncio.Event()
        self.outcome = Outcome()

    async def run(self, connections: list[_Connection], *, seconds: float) -> None:
        began = time.perf_counter()
        self._ends = began + seconds
        if self._rate is None:
            for connection in connections:
                self._fire(connection, time.perf_counter())
        else:
            self._idle.extend(connections)
            await self._pace(began, self._rate)
        async with asyncio.timeout(seconds + 30):
            await self._done.wait()
        self.outcome.seconds = time.perf_counter() - began

    async def _pace(self, began: float, rate: float) -> None:
        sent = 0
        while (now := time.perf_counter()) < self._ends:
            while sent < (now - began) * rate:
                at = began + sent / rate
                sent += 1
                if self._idle:
                    self._fire(self._idle.popleft(), at)
                else:
                    self._due.append(at)
            await asyncio.sleep(0.001)
        if not self._flying:
            self._done.set()

    def _fire(self, connection: _Connection, began: float) -> None:
        self._flying += 1
        connection.send(self._make_request(), began=began)

    def answered(self, connection: _Connection, status: int, body: bytes) -> None:
        self._flying -= 1
        now = time.perf_counter()
        self.outcome.note(status, body, seconds=now - connection.began)
        if not status:
            if not self._flying:
                self._done.set()
        elif self._rate is None and now < self._ends:
            self._fire(connection, now)
        elif self._due:
            self._fire(connection, self._due.popleft())
        else:
            self._idle.append(connection)
            if now >= self._ends and not self._flying:
                self._done.set()


async def drive(
    *,
    port: int,
    make_request: Callable[[], bytes],
    seconds: float,
    connections: int = 256,
    rate: float | None = None,
) -> Outcome:
    """Send requests for `seconds` and return what came back.

    Args:
        rate: requests a second, sent on time whether or not earlier ones were answered (latency
            counts from when a request was due); None sends as fast as answers come.
    """
    loop = asyncio.get_running_loop()
    driver = _Driver(make_request, rate=rate)
    made = [
        (await loop.create_connection(lambda: _Connection(driver.answered), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    try:
        await driver.run(made, seconds=seconds)
    finally:
        for connection in made:
            connection.close()
    return driver.outcome
