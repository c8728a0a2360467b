"""The application: every router of this package, the hot routes first, and what they share."""

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Final
from uuid import UUID

from fastapi import FastAPI

from api import (
    campaigns,
    errors,
    groups,
    health,
    ops_audit,
    ops_catalogue,
    ops_clock,
    ops_overview,
    ops_purchases,
    ops_stock,
    orders,
    payment_webhooks,
    payments,
    sessions,
    webhooks,
)
from api.bodies import BodyGuard
from api.deps import Identities
from api.document import build
from api.limits import Limits
from groups.admission import Admission
from groups.progress import Progress, read_progress
from kit.batching import Batcher
from kit.cache import Cache, connect
from kit.db import engine, make_engine, transaction, use_engine
from kit.settings import settings
from payments.provider import close_provider

_ROUTERS: Final = (
    health.router,
    sessions.router,
    campaigns.router,
    orders.router,
    payments.router,
    payment_webhooks.router,
    webhooks.router,
    ops_catalogue.router,
    ops_stock.router,
    ops_purchases.router,
    ops_audit.router,
    ops_overview.router,
    ops_clock.router,
)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if not _has_engine():
            url = settings().database_url
            if url is None:
                raise RuntimeError("CARAVAN_DATABASE_URL is not set")
            mine = make_engine(
                url.get_secret_value(),
                pool_size=settings().db_pool_size,
                application="caravan-api",
            )
            use_engine(mine)
            stack.push_async_callback(mine.dispose)
            stack.callback(use_engine, None)
        stack.push_async_callback(close_provider)
        redis_url = settings().redis_url
        cache = None if redis_url is None else Cache(connect(redis_url.get_secret_value()))
        if cache is not None:
            stack.push_async_callback(cache.aclose)
        app.state.cache = cache
        app.state.limits = Limits(cache, factor=settings().rate_limit_factor)
        app.state.limits.start()
        stack.push_async_callback(app.state.limits.close)
        app.state.identities = Identities()
        stack.push_async_callback(app.state.identities.close)
        app.state.progress = Batcher(_progress)
        stack.push_async_callback(app.state.progress.close)
        # Last in, first out: the batch that runs is finished before anything is taken away.
        app.state.admission = Admission(groups.render)
        stack.push_async_callback(app.state.admission.close)
        yield


async def _progress(group_ids: Sequence[UUID]) -> list[Progress | None]:
    """Return groups' progress to all who ask at once; a group is read once for them."""
    async with transaction() as session:
        read = {group_id: await read_progress(session, group_id) for group_id in set(group_ids)}
    return [read[group_id] for group_id in group_ids]


def _has_engine() -> bool:
    try:
        engine()
    except RuntimeError:
        return False
    return True


def create_app() -> FastAPI:
    """Return the application; its lifespan opens the database and starts the batchers."""
    app = FastAPI(
        title="Caravan",
        version=version("caravan"),
        summary="Group-buying orders, payments, partners and operations",
        lifespan=_lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    errors.install(app)
    app.add_middleware(BodyGuard)
    app.router.routes[:0] = groups.ROUTES
    for router in _ROUTERS:
        # A router's own routes, not a copy: including it would hide their methods and paths.
        app.router.routes.extend(router.routes)
    document = functools.cache(lambda: build(app))
    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents
    return app
