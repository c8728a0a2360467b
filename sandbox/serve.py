"""Run all companies in one process: `python -m sandbox.serve --config FILE --port N`."""

import argparse
import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.answers import CONNECTION
from sandbox.app import build_app
from sandbox.config import SandboxConfig, load_config

_STOP_WITHIN_SECONDS: Final = 2
_BAD_USE: Final = 2
_BACKLOG: Final = 1024


class AbortableProtocol(HttpToolsProtocol):
    """HTTP/1.1 that lets an answer cut its own connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: {"transport": self.transport}}


class _InnerServer(uvicorn.Server):
    """A server inside another program, which owns the signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server_config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=AbortableProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_STOP_WITHIN_SECONDS,
        server_header=False,
    )


def bind(*, host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only on sockets that say they are TCP; with it on,
    # an answer of two writes waits 40 ms for the caller's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.asynccontextmanager
async def running(
    config: SandboxConfig, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Run the companies in this event loop; yield their base URL."""
    async with serving(build_app(config), host=host, port=port) as url:
        yield url


@contextlib.asynccontextmanager
async def serving(app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve an application in this event loop; yield its base URL."""
    listener = bind(host=host, port=port)
    server = _InnerServer(_server_config(app))
    work = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait({listening, work}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await work  # raises what kept it from starting
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await work


def main() -> None:
    """Serve until a signal; exit 2 with one sentence when that cannot begin."""
    parser = argparse.ArgumentParser(prog="sandbox.serve", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON, see sandbox/config.py")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    try:
        config = load_config(options.config)
    except (OSError, ValueError) as error:
        sys.exit(_complain(f"cannot use {options.config}: {error}"))
    try:
        listener = bind(host=options.host, port=options.port)
    except OSError as error:
        sys.exit(_complain(f"cannot listen on {options.host}:{options.port}: {error.strerror}"))
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(_server_config(build_app(config))).run(sockets=[listener])


def _complain(sentence: str) -> int:
    sys.stderr.write(f"sandbox: {sentence}\n")
    return _BAD_USE


if __name__ == "__main__":
    main()
