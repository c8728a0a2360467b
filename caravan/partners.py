"""Saves where partners are called, how often, and the two secrets that are live at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from kit.db import transaction
from kit.errors import Unprocessable

KINDS: Final = ("suppliers", "warehouses", "carriers", "shop")


class BadEndpoint(Unprocessable):
    """The kind, address or secret of a partner cannot be meant."""

    code = "bad_endpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A partner's address and secret."""

    kind: str
    code: str
    url: str
    secret: str
    per_second: float = 50.0
    at_once: int = 8


async def put(endpoints: Sequence[Endpoint]) -> None:
    """Save endpoints; a changed secret keeps the one before it as the previous one.

    Raises:
        BadEndpoint: an unknown kind, no http(s) address, or no `whsec_` secret.
    """
    for one in endpoints:
        if one.kind not in KINDS:
            raise BadEndpoint(f"{one.kind} is none of {', '.join(KINDS)}")
        if not one.url.startswith(("http://", "https://")):
            raise BadEndpoint(f"{one.url} is not an http address")
        if not one.secret.startswith("whsec_"):
            raise BadEndpoint("a Standard Webhooks secret starts with whsec_")
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO partner (kind, code, url, secret, calls_per_second, calls_at_once)"
                " SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:codes AS text[]),"
                " CAST(:urls AS text[]), CAST(:secrets AS text[]),"
                " CAST(:rates AS float8[]), CAST(:widths AS int[]))"
                " ON CONFLICT (kind, code) DO UPDATE SET url = excluded.url,"
                " secret = excluded.secret, active = true,"
                " calls_per_second = excluded.calls_per_second,"
                " calls_at_once = excluded.calls_at_once,"
                " previous_secret = CASE WHEN partner.secret IS DISTINCT FROM excluded.secret"
                "  THEN partner.secret ELSE partner.previous_secret END"
            ),
            {
                "kinds": [one.kind for one in endpoints],
                "codes": [one.code for one in endpoints],
                "urls": [one.url for one in endpoints],
                "secrets": [one.secret for one in endpoints],
                "rates": [one.per_second for one in endpoints],
                "widths": [one.at_once for one in endpoints],
            },
        )
