"""Is this process alive, is it ready, and how is it doing."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from sqlalchemy import text

from api.deps import Identities, as_operator
from api.schemas import Health
from kit.db import transaction
from kit.settings import settings

router = APIRouter(tags=["health"])

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


@router.get("/healthz", summary="The process answers")
async def healthz() -> Health:
    """Return that this process is alive; it asks nobody else."""
    return Health(status="ok")


@router.get("/readyz", summary="The process can serve")
async def readyz() -> Health:
    """Return that the database answers; 503 with Retry-After when it does not."""
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(text("SELECT 1"))
    return Health(status="ready")


@router.get("/metrics", response_class=Response, summary="Metrics of this process")
async def metrics(
    request: Request, authorization: Annotated[str | None, Header()] = None
) -> Response:
    """Return metrics in Prometheus' format, to operators; on one's own machine to anybody."""
    address = request.client.host if request.client else ""
    if settings().production or address not in _LOOPBACK:
        identities: Identities = request.app.state.identities
        as_operator(await identities.of(authorization))
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
