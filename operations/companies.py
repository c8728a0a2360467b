"""The one outgoing client of a process, and the partners' endpoints it calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr
from sqlalchemy import text

from kit.db import transaction
from kit.errors import NotFound
from kit.outgoing import Outgoing
from kit.partners import Partner
from kit.settings import settings


class NoEndpoint(NotFound):
    """The partner has no endpoint that could be called."""

    code = "no_endpoint"


class _Line:
    current: Outgoing | None = None
    users: int = 0


@asynccontextmanager
async def open_line() -> AsyncIterator[Outgoing]:
    """Open the client that calls partners for as long as the block lasts.

    Blocks may nest and overlap: they share one client, and the last to end closes it.
    """
    outgoing = _Line.current
    if outgoing is None:
        configured = settings()
        outgoing = _Line.current = Outgoing(
            allowed_hosts=configured.allowed_hosts, allow_private=not configured.production
        )
    _Line.users += 1
    try:
        yield outgoing
    finally:
        _Line.users -= 1
        if not _Line.users:
            _Line.current = None
            await outgoing.aclose()


def line() -> Outgoing:
    """Return the open client of this process."""
    if _Line.current is None:
        msg = "no line to partners in this process: open_line() first"
        raise RuntimeError(msg)
    return _Line.current


async def endpoint(kind: str, code: str) -> Partner:
    """Return where and how the partner is called.

    Args:
        kind: suppliers, warehouses, carriers or shop.

    Raises:
        NoEndpoint: it is unknown, inactive, or has no address.
    """
    async with transaction() as session:
        connection = await session.connection()
        row = (
            await connection.execute(
                text(
                    "SELECT url, secret, calls_per_second, calls_at_once FROM partner"
                    " WHERE kind = :kind AND code = :code AND active"
                ),
                {"kind": kind, "code": code},
            )
        ).one_or_none()
    if row is None or row.url is None:
        raise NoEndpoint(f"{kind}:{code} has no endpoint")
    return Partner(
        code=f"{kind}:{code}",
        url=row.url,
        secret=None if row.secret is None else SecretStr(row.secret),
        at_once=row.calls_at_once,
        per_second=row.calls_per_second,
    )
