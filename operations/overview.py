"""What became of everything since a moment: counts and sums from one snapshot, for operations."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.clock import business_now
from kit.db import transaction

# What was made since the moment, by its state. The names are ours, never a caller's.
_BY_STATE: Final = {
    "groups": "SELECT state, count(*) AS n FROM buying_group WHERE opened_at >= :since GROUP BY 1",
    "orders": "SELECT state, count(*) AS n FROM buyer_order WHERE created_at >= :since GROUP BY 1",
    "refunds": "SELECT state, count(*) AS n FROM refund WHERE created_at >= :since GROUP BY 1",
    "purchase_orders": (
        "SELECT state, count(*) AS n FROM purchase_order WHERE created_at >= :since GROUP BY 1"
    ),
    "waves": "SELECT state, count(*) AS n FROM wave WHERE created_at >= :since GROUP BY 1",
    "parcels": "SELECT state, count(*) AS n FROM shipment WHERE created_at >= :since GROUP BY 1",
}
# A buyer whose order is confirmed keeps the goods and the difference of a ladder.
_MONEY: Final = """
WITH made AS (SELECT id, amount_fen, state FROM buyer_order WHERE created_at >= :since),
 back AS (SELECT r.order_id, r.kind, sum(r.amount_fen) AS fen FROM refund r
  JOIN made ON made.id = r.order_id WHERE r.state = 'succeeded' GROUP BY 1, 2)
SELECT
 (SELECT coalesce(sum(l.amount_fen), 0) FROM payment_line l JOIN made ON made.id = l.order_id
  WHERE l.state IN ('captured', 'orphaned')) AS captured_fen,
 (SELECT coalesce(sum(fen), 0) FROM back) AS refunded_fen,
 (SELECT coalesce(sum(amount_fen), 0) FROM made
  WHERE state IN ('confirmed', 'won', 'allocated', 'shipped', 'delivered'))
 - (SELECT coalesce(sum(fen), 0) FROM back JOIN made ON made.id = back.order_id
  WHERE back.kind = 'difference'
  AND made.state IN ('confirmed', 'won', 'allocated', 'shipped', 'delivered')) AS confirmed_fen,
 (SELECT count(DISTINCT l.payment_id) FROM payment_line l JOIN made ON made.id = l.order_id
  JOIN refund r ON r.line_id = l.id AND r.state = 'succeeded'
  WHERE l.state = 'orphaned') AS late_payments_refunded,
 (SELECT count(*) FROM payment_line l JOIN made ON made.id = l.order_id
  WHERE l.state = 'orphaned') AS late_orders_refunded
"""
_SUPPLY: Final = """
WITH made AS (SELECT * FROM purchase_order WHERE created_at >= :since),
 goods AS (SELECT po_id, sum(good_units + damaged_units + over_units) AS units
  FROM purchase_order_line GROUP BY po_id)
SELECT
 (SELECT count(*) FROM made WHERE sent_at IS NOT NULL) AS sent,
 (SELECT count(*) FROM made WHERE state IN ('received', 'closed') AND EXISTS
  (SELECT FROM receipt r WHERE r.po_id = made.id)) AS received,
 (SELECT coalesce(sum(goods.units), 0) FROM goods JOIN made ON made.id = goods.po_id)
  AS units_received,
 (SELECT coalesce(sum(total_fen), 0) FROM made WHERE sent_at IS NOT NULL) AS ordered_fen,
 (SELECT count(*) FROM made WHERE approved_by IS NOT NULL) AS approved_by_person,
 (SELECT count(DISTINCT j.po_id) FROM purchase_order_journal j JOIN made ON made.id = j.po_id
  WHERE j.detail ->> 'to' = 'partially_received') AS partial_receipts,
 (SELECT count(*) FROM made WHERE state = 'rejected') AS rejected,
 (SELECT count(*) FROM made WHERE replaces_po_id IN
  (SELECT id FROM made WHERE state = 'rejected')) AS replans
"""
_TIER_MOVES: Final = """
SELECT line ->> 'supplier' AS supplier, line ->> 'sku' AS sku, line ->> 'reason' AS reason,
 CAST(found -> 'numbers' ->> 'more_fen' AS bigint) AS saved_fen
FROM purchase_plan p, jsonb_array_elements(p.result -> 'parts') part,
 jsonb_array_elements(part -> 'explanation' -> 'findings') found,
 jsonb_array_elements(p.result -> 'decision' -> 'lines') line
WHERE p.created_at >= :since AND found ->> 'kind' = 'tier_edge'
 AND found ->> 'subject' = (line ->> 'supplier') || '/' || (line ->> 'sku')
 AND CAST(found -> 'numbers' ->> 'instead' AS int) < CAST(line ->> 'tier_from' AS int)
ORDER BY saved_fen DESC
"""
_DELIVERY: Final = """
WITH sent AS (SELECT * FROM shipment WHERE created_at >= :since AND shipped_at IS NOT NULL),
 boxes AS (SELECT so.group_id, count(DISTINCT (sent.warehouse)) AS places
  FROM shipment_order so JOIN sent ON sent.id = so.shipment_id GROUP BY 1)
SELECT (SELECT count(*) FROM sent) AS parcels_shipped,
 (SELECT coalesce(sum(price_fen), 0) FROM sent) AS labels_fen,
 (SELECT count(*) FROM boxes) AS groups_shipped,
 (SELECT count(*) FROM boxes WHERE places = 1) AS groups_whole,
 (SELECT count(*) FROM wave WHERE created_at >= :since AND state = 'shipped') AS waves_shipped,
 (SELECT coalesce(sum(cost_fen), 0) FROM fulfilment_plan WHERE created_at >= :since
  AND nearest_cost_fen IS NOT NULL) AS plan_cost_fen,
 (SELECT coalesce(sum(nearest_cost_fen), 0) FROM fulfilment_plan WHERE created_at >= :since)
  AS nearest_cost_fen
"""
_LEFT: Final = """
SELECT (SELECT count(*) FROM inbox_message WHERE state = 'parked') AS parked,
 (SELECT count(*) FROM outbox_message WHERE dead_at IS NOT NULL) AS dead
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierMove:
    """A purchase of more than was needed because the next tier makes it cheaper."""

    supplier: str
    sku: str
    reason: str
    saved_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Counts by state and sums; `since` says from which moment on things count."""

    since: datetime
    now: datetime
    by_state: Mapping[str, Mapping[str, int]]
    money: Mapping[str, int]
    supply: Mapping[str, int]
    delivery: Mapping[str, int]
    left: Mapping[str, int]
    tier_moves: tuple[TierMove, ...]


async def overview(*, since: datetime) -> Overview:
    """Return what became of everything made since a moment of business time."""
    async with transaction(long=True) as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        )
        return Overview(
            since=since,
            now=await business_now(session),
            by_state={
                name: {row.state: row.n for row in await _rows(session, statement, since=since)}
                for name, statement in _BY_STATE.items()
            },
            money=await _sums(session, _MONEY, since=since),
            supply=await _sums(session, _SUPPLY, since=since),
            delivery=await _sums(session, _DELIVERY, since=since),
            left=await _sums(session, _LEFT, since=None),
            tier_moves=tuple(
                TierMove(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row
                for row in await _rows(session, _TIER_MOVES, since=since)
            ),
        )


async def _rows(session: AsyncSession, statement: str, *, since: datetime | None) -> list[Any]:
    connection = await session.connection()
    arguments = {} if since is None else {"since": since}
    return list(await connection.execute(text(statement), arguments))


async def _sums(session: AsyncSession, statement: str, *, since: datetime | None) -> dict[str, int]:
    (row,) = await _rows(session, statement, since=since)
    return {name: int(value) for name, value in row._mapping.items()}  # noqa: SLF001 - public
