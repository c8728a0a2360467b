"""One real API process: it serves over a socket, and a SIGTERM lets it finish what it took."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from kit.ids import new_id
from kit.servers.processes import choose_port
from tests.conftest import ROOT
from tests.store.groups_world import (
    ADDRESS,
    add_campaign,
    add_token,
    assert_seats_add_up,
    bearer,
    count,
)

pytestmark = pytest.mark.usefixtures("store")

ANSWERS_SECONDS = 30


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `python -m api.serve` on a free port; yield the process and its address."""
    port = choose_port(None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api.serve",
        "--port",
        str(port),
        cwd=ROOT,
        env={**os.environ, "CARAVAN_DATABASE_URL": url, "CARAVAN_ENV": "test"},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(ANSWERS_SECONDS), httpx.AsyncClient() as client:
            while not await _answers(client, address):
                assert process.returncode is None, "the server ended at its start"
        yield process, address
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(f"{address}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def test_a_sigterm_finishes_what_was_taken_and_ends_within_five_seconds(store: str) -> None:
    campaign_id = await add_campaign(per_user_limit=1000)
    token, _ = await add_token("ann")
    statuses: list[int] = []

    async with serving(store) as (process, address), httpx.AsyncClient() as client:
        opening = [
            asyncio.ensure_future(
                client.post(
                    f"{address}/v1/groups",
                    json={"campaign_id": str(campaign_id), "address": dict(ADDRESS)},
                    headers=bearer(token, key=new_id().hex),
                )
            )
            for _ in range(60)
        ]
        await asyncio.wait(opening, return_when=asyncio.FIRST_COMPLETED)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            code = await process.wait()
        for answer in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(answer, httpx.Response):
                statuses.append(answer.status_code)
            else:
                assert isinstance(answer, httpx.TransportError)

    assert code in {0, -signal.SIGTERM}
    assert statuses.count(201) >= 1
    assert set(statuses) <= {201, 503}
    assert await count("buyer_order") >= statuses.count(201)
    await assert_seats_add_up()


async def test_a_body_sent_drop_by_drop_over_a_socket_is_read_or_refused(store: str) -> None:
    async with serving(store) as (_, address):
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for drop in (b'{"code"', b': "dev:', b'ann"}'):
            writer.write(b"%x\r\n%b\r\n" % (len(drop), drop))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        read = await reader.readline()
        writer.close()

        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 40000\r\n\r\n"
        )
        refused = await reader.read()  # to the end: the server closes the connection
        writer.close()

    assert read.startswith(b"HTTP/1.1 201")
    assert refused.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in refused
