"""One API worker for the bench: the application as it is, or with the row-lock admission.

Either has one more route, an authenticated POST that does nothing: what the HTTP stack costs.
"""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.app import create_app
from api.groups import render
from api.serve import spare_the_collector
from bench.row_lock import RowLockAdmission
from kit.settings import settings


async def noop(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an authenticated caller."""
    del receive
    token = next(value.decode() for name, value in scope["headers"] if name == b"authorization")
    await scope["app"].state.identities.of(token)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
        }
    )
    await send({"type": "http.response.body", "body": b"{}"})


class _Noop:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await noop(scope, receive, send)


def build(*, row_lock: bool) -> FastAPI:
    """Return the application to be measured."""
    app = create_app()
    app.router.routes.insert(0, Route("/v1/groups/noop/orders", _Noop(), methods=["POST"]))
    if row_lock:
        usual = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(inner: FastAPI) -> AsyncIterator[None]:
            async with usual(inner):
                inner.state.admission = RowLockAdmission(render, at_once=settings().db_pool_size)
                yield

        app.router.lifespan_context = lifespan
    return app


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m bench.join_worker", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--row-lock", action="store_true")
    asked = parser.parse_args()
    spare_the_collector()
    uvicorn.run(
        build(row_lock=asked.row_lock),
        host="127.0.0.1",
        port=asked.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
    )


if __name__ == "__main__":
    main()
