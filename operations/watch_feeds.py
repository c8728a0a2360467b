"""Watch the stock feeds: poll warehouses that are silent, and say how far each was heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import text

from inventory import feed
from inventory.projection import Count
from kit.db import transaction
from kit.errors import CaravanError
from kit.ids import new_id
from kit.outgoing import Partner
from operations.companies import NoEndpoint, endpoint, line

# A warehouse that pushes is heard more often than this (wall clock) and needs no poll.
SILENT_SECONDS: Final = 60
_PAGE: Final = 1_000
_NOT_MODIFIED: Final = 304


class _StockLine(msgspec.Struct):
    """A line of a warehouse's stock page; partners may send more than we read."""

    sku: str
    on_hand: Annotated[int, msgspec.Meta(ge=0)]
    held: Annotated[int, msgspec.Meta(ge=0)] = 0


class _StockPage(msgspec.Struct):
    """A page of a warehouse's stock, true at `as_of`; `next` is the SKU to go on after."""

    as_of: datetime
    lines: list[_StockLine]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """How far each warehouse was heard, ready to be shown."""

    polled: Sequence[str]
    changed_skus: int
    failed: Sequence[str]
    sources: Sequence[Mapping[str, object]]
    discrepancies: Sequence[Mapping[str, object]]

    @property
    def did_something(self) -> bool:
        return bool(self.changed_skus or self.failed or self.discrepancies)

    @property
    def sentence(self) -> str:
        failed = f", no answer from {', '.join(self.failed)}" if self.failed else ""
        return (
            f"asked {len(self.polled)} silent warehouses: {self.changed_skus} SKUs"
            f" differed{failed}; {len(self.discrepancies)} discrepancies open"
        )


async def watch_feeds() -> FeedReport:
    """Poll every warehouse with an endpoint that was not heard lately, and report on all.

    Safe to run twice: a count is compared with the level at its own time, so the same stock
    again changes nothing.
    """
    polled, failed, changed = [], [], 0
    for code, etag in await _silent():
        polled.append(code)
        try:
            changed += await _poll(code, etag=etag)
        except (CaravanError, msgspec.ValidationError) as error:
            failed.append(code)
            await _note_failure(code, error=str(error))
    return FeedReport(
        polled=polled,
        changed_skus=changed,
        failed=failed,
        sources=await _sources(),
        discrepancies=await _open_discrepancies(),
    )


async def _silent() -> list[tuple[str, str | None]]:
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT p.code, f.etag FROM partner p"
                " LEFT JOIN feed_source f ON f.warehouse = p.code"
                " WHERE p.kind = 'warehouses' AND p.active AND p.url IS NOT NULL"
                " AND (f.last_heard_at IS NULL"
                "  OR f.last_heard_at < now() - :silent * interval '1 second')"
                " ORDER BY p.code"
            ),
            {"silent": SILENT_SECONDS},
        )
        return [(row.code, row.etag) for row in rows]


async def _poll(code: str, *, etag: str | None) -> int:
    """Take over a warehouse's stock page by page; return how many SKUs differed."""
    try:
        partner = await endpoint("warehouses", code)
    except NoEndpoint:
        return 0
    after, changed, fresh = "", 0, etag
    while True:
        answer = await line().get(
            partner,
            "/stock",
            params={"after": after, "limit": str(_PAGE)},
            headers={"If-None-Match": etag} if etag and not after else {},
        )
        if answer.status == _NOT_MODIFIED:
            break
        page = _read(partner, answer.document)
        changed += await _take_over(code, page)
        fresh = answer.headers.get("etag", fresh)
        if page.next is None:
            break
        after = page.next
    await _note_heard(code, etag=fresh)
    return changed


def _read(partner: Partner, document: Any) -> _StockPage:
    page = msgspec.convert(document, _StockPage)
    if page.as_of.tzinfo is None:
        raise msgspec.ValidationError(f"{partner.code} counts at a time without a zone")
    return page


async def _take_over(code: str, page: _StockPage) -> int:
    async with transaction(long=True) as session:
        outcome = await feed.take_over(
            session,
            feed.Snapshot(
                warehouse=code,
                as_of=page.as_of,
                complete=False,
                counts={one.sku: Count(on_hand=one.on_hand, held=one.held) for one in page.lines},
                reference=f"poll:{new_id()}",
            ),
        )
    return len(outcome.changed) + len(outcome.impossible)


async def _note_heard(code: str, *, etag: str | None) -> None:
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO feed_source AS f (warehouse, last_heard_at, etag)"
                " VALUES (:code, now(), :etag) ON CONFLICT (warehouse) DO UPDATE"
                " SET last_heard_at = now(), etag = excluded.etag, last_error = NULL"
            ),
            {"code": code, "etag": etag},
        )


async def _note_failure(code: str, *, error: str) -> None:
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO feed_source AS f (warehouse, last_error) VALUES (:code, :error)"
                " ON CONFLICT (warehouse) DO UPDATE SET last_error = excluded.last_error"
            ),
            {"code": code, "error": error[:500]},
        )


async def _sources() -> list[Mapping[str, object]]:
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT f.warehouse, f.last_snapshot_as_of AS counted_at,"
                " f.last_event_at AS newest_event,"
                " CAST(extract(epoch FROM now() - f.last_heard_at) AS int) AS silent_seconds,"
                " coalesce(f.last_error, '') AS error FROM feed_source f ORDER BY f.warehouse"
            )
        )
        return [dict(row) for row in rows.mappings()]


async def _open_discrepancies() -> list[Mapping[str, object]]:
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT sku, warehouse, kind, units, opened_at FROM discrepancy"
                " WHERE state = 'open' ORDER BY opened_at LIMIT 200"
            )
        )
        return [dict(row) for row in rows.mappings()]
