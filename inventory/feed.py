"""What external stock systems count, taken over as of the time they counted.

A count is never written over a level. It is compared with the level at its own time, and the
difference is booked, so that what moved here since then survives; what turns out later to have
moved before is booked with its opposite (`inventory.projection`). The result does not depend on
the order in which messages arrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import discrepancies, ledger, levels
from inventory.discrepancies import REVIEW, Finding
from inventory.projection import (
    Count,
    Difference,
    Level,
    Movement,
    Place,
    difference,
    is_news,
    is_possible,
)
from inventory.states import Bucket, MovementType

_NOTHING: Final = Count(on_hand=0, held=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A warehouse's count, or one part of it.

    complete: whatever is neither in `counts` nor in another part with this as_of is not there.
    """

    warehouse: str
    as_of: datetime
    complete: bool
    counts: Mapping[str, Count]
    reference: str
    """Names the message, so that a movement can be traced to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a snapshot came to, by SKU."""

    changed: Sequence[str] = ()
    stale: Sequence[str] = ()
    unknown: Sequence[str] = ()
    impossible: Sequence[str] = ()
    """Counted fewer than have left since: open as `review` discrepancies, not booked."""


@dataclass(slots=True)
class _Sorted:
    """The lines of a snapshot by what happens to them."""

    applied: dict[Place, Count] = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    impossible: list[Finding] = field(default_factory=list)


async def take_over(session: AsyncSession, snapshot: Snapshot) -> Outcome:
    """Book what a count differs by, at its as_of; a line older than the last one is ignored.

    SKUs that are no product are left out and named. All lines are applied by the same few
    statements, whatever their number.
    """
    warehouse = snapshot.warehouse
    known = await levels.known_skus(session, snapshot.counts.keys())
    counts = {
        Place(sku, warehouse): count for sku, count in snapshot.counts.items() if sku in known
    }
    if snapshot.complete:
        for place in await levels.close_warehouse(session, warehouse):
            counts.setdefault(place, _NOTHING)
    locked = await levels.lock(session, counts)
    since = await _moved_since(session, sorted(counts), snapshot.as_of)
    # Absent from this part, but counted in another part of the same count.
    elsewhere = await _counted_at(session, snapshot) if snapshot.complete else set()
    counts = {
        place: count
        for place, count in counts.items()
        if place.sku in snapshot.counts or place not in elsewhere
    }
    found = _sorted(snapshot, counts, locked, since)
    await ledger.book(session, found.movements)
    await _keep(session, snapshot.as_of, found.applied)
    await discrepancies.resolve(session, REVIEW, sorted(found.applied))
    await discrepancies.open_findings(session, REVIEW, found.impossible)
    unknown = sorted(snapshot.counts.keys() - known)
    await _heard_snapshot(session, snapshot, unknown=unknown)
    return Outcome(
        changed=found.changed,
        stale=found.stale,
        unknown=unknown,
        impossible=[finding.place.sku for finding in found.impossible],
    )


def _sorted(
    snapshot: Snapshot,
    counts: Mapping[Place, Count],
    locked: Mapping[Place, Level],
    since: Mapping[Place, Count],
) -> _Sorted:
    found = _Sorted()
    for place in sorted(counts):
        count, level = counts[place], locked[place]
        if not is_news(snapshot.as_of, level):
            found.stale.append(place.sku)
            continue
        differs = difference(count, level, moved_since=since.get(place, _NOTHING))
        if not is_possible(level, differs):
            found.impossible.append(_impossible(place, snapshot, count, differs))
            continue
        found.applied[place] = count
        movements = _movements(snapshot, place, differs)
        if movements:
            found.movements += movements
            found.changed.append(place.sku)
    return found


def _movements(snapshot: Snapshot, place: Place, differs: Difference) -> list[Movement]:
    by_bucket = ((Bucket.AVAILABLE, differs.available), (Bucket.HELD, differs.held))
    return [
        Movement(
            sku=place.sku,
            warehouse=place.warehouse,
            bucket=bucket,
            qty_delta=units,
            kind=MovementType.RECONCILE,
            reference=snapshot.reference,
            key=f"count:{place.warehouse}:{snapshot.reference}:{place.sku}:{bucket.value}",
            actor=f"warehouses:{place.warehouse}",
            reason="counted",
            occurred_at=snapshot.as_of,
        )
        for bucket, units in by_bucket
        if units
    ]


def _impossible(place: Place, snapshot: Snapshot, count: Count, differs: Difference) -> Finding:
    detail = {
        "as_of": snapshot.as_of.isoformat(),
        "counted_on_hand": count.on_hand,
        "counted_held": count.held,
        "reference": snapshot.reference,
        "problem": "more has left since the count than was counted",
    }
    return Finding(place=place, units=differs.on_hand, detail=detail)


async def _moved_since(
    session: AsyncSession, places: Sequence[Place], as_of: datetime
) -> dict[Place, Count]:
    """Return by place what moved after `as_of`."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT sku, warehouse, sum(m.qty_delta) AS on_hand,"
            " coalesce(sum(m.qty_delta) FILTER (WHERE m.bucket = 'held'), 0) AS held"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]))"
            "  AS place (sku, warehouse)"
            " JOIN stock_movement m USING (sku, warehouse)"
            " WHERE m.occurred_at > CAST(:as_of AS timestamptz) GROUP BY sku, warehouse"
        ),
        levels.columns_of(places) | {"as_of": as_of},
    )
    return {
        Place(row.sku, row.warehouse): Count(on_hand=row.on_hand, held=row.held) for row in rows
    }


async def _counted_at(session: AsyncSession, snapshot: Snapshot) -> set[Place]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT sku FROM snapshot_line WHERE warehouse = :warehouse"
            " AND as_of = CAST(:as_of AS timestamptz)"
        ),
        {"warehouse": snapshot.warehouse, "as_of": snapshot.as_of},
    )
    return {Place(row.sku, snapshot.warehouse) for row in rows}


async def _keep(session: AsyncSession, as_of: datetime, applied: Mapping[Place, Count]) -> None:
    if not applied:
        return
    places = list(applied)
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO snapshot_line AS s (warehouse, sku, as_of, on_hand, held)"
            " SELECT warehouse, sku, CAST(:as_of AS timestamptz), on_hand, held"
            " FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[]),"
            "  CAST(:on_hand AS int[]), CAST(:held AS int[]))"
            "  AS n (sku, warehouse, on_hand, held)"
            " ON CONFLICT (warehouse, sku) DO UPDATE SET as_of = excluded.as_of,"
            " on_hand = excluded.on_hand, held = excluded.held"
            " WHERE (s.as_of, s.on_hand, s.held)"
            "  IS DISTINCT FROM (excluded.as_of, excluded.on_hand, excluded.held)"
        ),
        levels.columns_of(places)
        | {
            "as_of": as_of,
            "on_hand": [applied[place].on_hand for place in places],
            "held": [applied[place].held for place in places],
        },
    )


async def _heard_snapshot(
    session: AsyncSession, snapshot: Snapshot, *, unknown: Sequence[str]
) -> None:
    error = f"unknown SKU {', '.join(unknown[:10])}" if unknown else None
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO feed_source AS f (warehouse, last_snapshot_as_of, last_complete_as_of,"
            " last_event_at, last_heard_at, last_error)"
            " VALUES (:warehouse, CAST(:as_of AS timestamptz),"
            "  CASE WHEN :complete THEN CAST(:as_of AS timestamptz) END,"
            "  CAST(:as_of AS timestamptz), now(), :error)"
            " ON CONFLICT (warehouse) DO UPDATE SET"
            " last_snapshot_as_of = greatest(f.last_snapshot_as_of, excluded.last_snapshot_as_of),"
            " last_complete_as_of = greatest(f.last_complete_as_of, excluded.last_complete_as_of),"
            " last_event_at = greatest(f.last_event_at, excluded.last_event_at),"
            " last_heard_at = now(), last_error = excluded.last_error"
        ),
        {
            "warehouse": snapshot.warehouse,
            "as_of": snapshot.as_of,
            "complete": snapshot.complete,
            "error": error,
        },
    )


async def heard_deltas(session: AsyncSession, warehouse: str, *, latest: datetime) -> None:
    """Keep how far a warehouse's deltas were heard."""
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO feed_source AS f (warehouse, last_event_at, last_heard_at)"
            " VALUES (:warehouse, CAST(:latest AS timestamptz), now())"
            " ON CONFLICT (warehouse) DO UPDATE SET"
            " last_event_at = greatest(f.last_event_at, excluded.last_event_at),"
            " last_heard_at = now()"
        ),
        {"warehouse": warehouse, "latest": latest},
    )
