"""The ledger of goods: append-only movements, and the levels that follow from them."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets, discrepancies, levels
from inventory.projection import BelowZero, Booked, Level, Movement, Place, project
from inventory.states import Bucket, MovementType
from kit.ids import new_id

__all__ = ["BelowZero", "Bucket", "Movement", "MovementType", "Place", "book", "rebuild"]

_INSERT: Final = text(
    "INSERT INTO stock_movement (id, sku, warehouse, seq, bucket, qty_delta, kind, reference,"
    " idempotency_key, actor, reason, occurred_at)"
    " SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:skus AS text[]),"
    "  CAST(:warehouses AS text[]), CAST(:seqs AS bigint[]), CAST(:buckets AS text[]),"
    "  CAST(:deltas AS int[]), CAST(:kinds AS text[]), CAST(:refs AS text[]),"
    "  CAST(:keys AS text[]), CAST(:actors AS text[]), CAST(:reasons AS text[]),"
    "  CAST(:times AS timestamptz[]))"
)


async def book(session: AsyncSession, movements: Sequence[Movement]) -> int:
    """Book movements and move the levels in the same transaction; return how many were new.

    Levels are locked in order and made where missing; a key that is booked already is skipped;
    `seq` has no holes. The SKUs' budgets are marked dirty, and shortages are opened or resolved.
    A movement that occurred before the last count of its place is booked with its opposite.

    Raises:
        BelowZero: a level would end below zero units; nothing is booked.
        UnknownProduct: a SKU is no product.
    """
    if not movements:
        return 0
    locked = await levels.lock(session, (movement.place for movement in movements))
    seen = await _booked_keys(session, [movement.key for movement in movements])
    fresh: list[Movement] = []
    for movement in movements:
        if movement.key not in seen:
            seen.add(movement.key)
            fresh.append(movement)
    if not fresh:
        return 0
    after = project(locked, fresh)
    await _insert(session, after.booked)
    changed: dict[Place, Level] = {
        place: level for place, level in after.levels.items() if level != locked[place]
    }
    await levels.write(session, changed)
    places = sorted(changed)
    await discrepancies.settle_shortages(session, places)
    await budgets.mark_dirty(session, {place.sku for place in places})
    return len(fresh)


async def _booked_keys(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Return the keys that are booked; their levels are locked, so no other is being booked."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT idempotency_key FROM stock_movement"
            " WHERE idempotency_key = ANY(CAST(:keys AS text[]))"
        ),
        {"keys": list(keys)},
    )
    return {row.idempotency_key for row in rows}


async def _insert(session: AsyncSession, booked: Sequence[Booked]) -> None:
    connection = await session.connection()
    movements = [row.movement for row in booked]
    await connection.execute(
        _INSERT,
        {
            "ids": [new_id() for _ in booked],
            "skus": [movement.sku for movement in movements],
            "warehouses": [movement.warehouse for movement in movements],
            "seqs": [row.seq for row in booked],
            "buckets": [movement.bucket.value for movement in movements],
            "deltas": [movement.qty_delta for movement in movements],
            "kinds": [movement.kind.value for movement in movements],
            "refs": [movement.reference for movement in movements],
            "keys": [movement.key for movement in movements],
            "actors": [movement.actor for movement in movements],
            "reasons": [movement.reason for movement in movements],
            "times": [movement.occurred_at for movement in movements],
        },
    )


async def rebuild(session: AsyncSession, sku: str | None = None) -> int:
    """Work the levels out again from movements and live reservations; return how many were wrong.

    Every level concerned stays locked until the transaction ends.

    Args:
        sku: only this one; None means all.
    """
    connection = await session.connection()
    only = {"sku": sku}
    await connection.execute(
        text(
            "SELECT 1 FROM stock_level WHERE CAST(:sku AS text) IS NULL OR sku = :sku"
            " ORDER BY sku, warehouse FOR UPDATE"
        ),
        only,
    )
    rows = await connection.execute(
        text(
            "WITH moved AS (SELECT sku, warehouse, sum(qty_delta)::int AS on_hand,"
            "  coalesce(sum(qty_delta) FILTER (WHERE bucket = 'held'), 0)::int AS held,"
            "  max(seq) AS last_seq FROM stock_movement"
            "  WHERE CAST(:sku AS text) IS NULL OR sku = :sku GROUP BY sku, warehouse),"
            " promised AS (SELECT sku, warehouse, sum(units)::int AS reserved FROM reservation"
            "  WHERE state = 'live' AND (CAST(:sku AS text) IS NULL OR sku = :sku)"
            "  GROUP BY sku, warehouse),"
            " right_level AS (SELECT l.sku, l.warehouse, coalesce(m.on_hand, 0) AS on_hand,"
            "  coalesce(m.held, 0) AS held, coalesce(p.reserved, 0) AS reserved,"
            "  coalesce(m.last_seq, 0) AS last_seq FROM stock_level l"
            "  LEFT JOIN moved m USING (sku, warehouse)"
            "  LEFT JOIN promised p USING (sku, warehouse)"
            "  WHERE CAST(:sku AS text) IS NULL OR l.sku = :sku)"
            " UPDATE stock_level l SET on_hand = r.on_hand, held = r.held,"
            " reserved = r.reserved, last_seq = r.last_seq FROM right_level r"
            " WHERE l.sku = r.sku AND l.warehouse = r.warehouse"
            " AND (l.on_hand, l.held, l.reserved, l.last_seq)"
            "  IS DISTINCT FROM (r.on_hand, r.held, r.reserved, r.last_seq)"
            " RETURNING l.sku, l.warehouse"
        ),
        only,
    )
    wrong = sorted(Place(row.sku, row.warehouse) for row in rows)
    await discrepancies.settle_shortages(session, wrong)
    await budgets.mark_dirty(session, {place.sku for place in wrong})
    return len(wrong)
