import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from caravan.http_client import Client, WrongAnswer
from caravan.http_wire import ConnectionLost, Wire

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller hung up
        finally:
            writer.close()

    listening = await asyncio.start_server(safely, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listening.close()
        await listening.wait_closed()


async def question(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [
        int(line.partition(":")[2])
        for line in head.split("\r\n")
        if line.lower().startswith("content-length")
    ]
    return head, await reader.readexactly(lengths[0])


def answer(content: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


async def test_one_connection_serves_many_calls_and_says_everything() -> None:
    heads, connections = list[str](), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while True:
            head, body = await question(reader)
            heads.append(head)
            writer.write(answer(body or b"{}"))

    async with server(serve) as url:
        client = Client(f"{url}/base")
        said = await client.post("/seats", {"name": "茶"}, token="t", key="k")
        await client.get("/seats", limit=5, state=["a", "b"])
        await client.aclose()

    assert said == {"name": "茶"}
    assert connections == [1]
    assert heads[0].startswith("POST /base/seats HTTP/1.1\r\n")
    assert "authorization: Bearer t\r\n" in heads[0]
    assert "idempotency-key: k\r\n" in heads[0]
    assert heads[1].startswith("GET /base/seats?limit=5&state=a&state=b HTTP/1.1\r\n")


async def test_a_kept_connection_that_was_closed_is_replaced() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await question(reader)
        writer.write(answer(b"{}"))  # and the connection closes, unannounced

    async with server(serve) as url:
        client = Client(url)
        for _ in range(3):
            await client.get("/x")
        await client.aclose()

        assert client.repeats == {}


async def test_a_chunked_answer_is_put_together() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await question(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            b'4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n'
        )

    async with server(serve) as url:
        client = Client(url)
        assert await client.get("/x") == {"a": 1}
        await client.aclose()


async def test_half_an_answer_is_a_lost_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await question(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    async with server(serve) as url:
        wire = Wire(url)
        with pytest.raises(ConnectionLost):
            await wire.ask("GET", "/x", headers={})
        await wire.aclose()


async def test_nobody_there_is_a_lost_connection() -> None:
    wire = Wire("http://127.0.0.1:1")

    with pytest.raises(ConnectionLost, match="cannot reach"):
        await wire.ask("GET", "/x", headers={})


async def test_later_is_repeated_with_the_same_key_and_counted() -> None:
    keys = list[str]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await question(reader)
            keys.append(next(line for line in head.split("\r\n") if line.startswith("idemp")))
            if len(keys) == 1:
                writer.write(answer(b"{}", status="429 Later", headers="retry-after: 0\r\n"))
            elif len(keys) == 2:
                writer.write(answer(b"{}", status="503 Busy", headers="retry-after: 0\r\n"))
            else:
                writer.write(answer(b'{"ok": true}', status="201 Created"))

    async with server(serve) as url:
        client = Client(url)
        said = await client.post("/x", {}, key="once")
        await client.aclose()

    assert said == {"ok": True}
    assert keys == ["idempotency-key: once"] * 3
    assert client.repeats == {429: 1, 503: 1}


async def test_a_problem_is_told_by_its_code() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await question(reader)
            writer.write(answer(b'{"code": "group_full"}', status="409 Conflict"))

    async with server(serve) as url:
        client = Client(url)
        refused = await client.call("POST", "/x", document={})
        with pytest.raises(WrongAnswer, match="/x answered 409"):
            await client.post("/x", {})
        await client.aclose()

    assert (refused.status, refused.code) == (409, "group_full")
