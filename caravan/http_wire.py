"""HTTP/1.1 over kept connections, as much of it as a replay needs: thousands of small calls.

A general client spends more time on each of them than the shop does; this one only writes a head,
reads a head and a body, and says plainly when a connection is lost.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

_CONNECTIONS: Final = 48
_LONGEST_HEAD: Final = 64 * 1024
_PORTS: Final = {"http": 80, "https": 443}


class ConnectionLost(Exception):
    """The server could not be reached, or went away before it had answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a server answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(slots=True)
class _Line:
    """One connection; `used` when it has carried an answer before."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False


@dataclass(slots=True)
class Wire:
    """Connections to one server.

    Args:
        base_url: http or https, with an optional path before every path that is asked for.
    """

    base_url: str
    timeout_seconds: float = 30.0
    _idle: list[_Line] = field(default_factory=list)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS))

    async def aclose(self) -> None:
        """Close every connection."""
        while self._idle:
            await _close(self._idle.pop())

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        query: Mapping[str, object] | None = None,
    ) -> Heard:
        """Return what the server answers.

        A kept connection that the server closed meanwhile is replaced once without a word.

        Raises:
            ConnectionLost: no connection, none kept to the end, or no answer in time.
        """
        message = self._message(method, path, headers=headers, content=content, query=query)
        async with self._places:
            while True:
                line = self._idle.pop() if self._idle else await self._connect()
                try:
                    async with asyncio.timeout(self.timeout_seconds):
                        line.writer.write(message)
                        heard, keep = await _read(line.reader, bodiless=method == "HEAD")
                except asyncio.IncompleteReadError as error:
                    await _close(line)
                    if line.used and not error.partial:
                        continue
                    raise ConnectionLost("the answer ended too early") from error
                except (OSError, asyncio.LimitOverrunError, ValueError) as error:
                    await _close(line)
                    if line.used and isinstance(error, ConnectionError):
                        continue
                    raise ConnectionLost(f"{type(error).__name__} {error}".strip()) from error
                except BaseException:
                    await _close(line)  # what comes on it belongs to nobody
                    raise
                if keep:
                    line.used = True
                    self._idle.append(line)
                else:
                    await _close(line)
                return heard

    async def _connect(self) -> _Line:
        parts = urlsplit(self.base_url)
        port = parts.port or _PORTS[parts.scheme]
        try:
            async with asyncio.timeout(self.timeout_seconds):
                reader, writer = await asyncio.open_connection(
                    parts.hostname, port, ssl=parts.scheme == "https" or None, limit=_LONGEST_HEAD
                )
        except OSError as error:
            raise ConnectionLost(f"cannot reach {parts.netloc}: {error}") from error
        return _Line(reader, writer)

    def _message(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        query: Mapping[str, object] | None,
    ) -> bytes:
        parts = urlsplit(self.base_url)
        target = (
            parts.path.rstrip("/") + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        )
        head = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        head += [f"content-length: {len(content)}", "", ""]
        return "\r\n".join(head).encode("latin-1") + content


async def _read(reader: asyncio.StreamReader, *, bodiless: bool) -> tuple[Heard, bool]:
    """Return an answer and whether its connection may be kept."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    status = int(first.split(" ", 2)[1])
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    keep = headers.get("connection", "").lower() != "close"
    if bodiless or status in {204, 304}:
        content = b""
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        content = await _read_chunks(reader)
    elif "content-length" in headers:
        content = await reader.readexactly(int(headers["content-length"]))
    else:
        content, keep = await reader.read(), False
    return Heard(status=status, headers=headers, content=content), keep


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";", 1)[0], 16)
        parts.append(await reader.readexactly(size))
        await reader.readuntil(b"\r\n")
        if not size:
            return b"".join(parts)


async def _close(line: _Line) -> None:
    line.writer.close()
    with contextlib.suppress(OSError):
        await line.writer.wait_closed()
