"""Take over what a warehouse system reports: single changes, and counts as of a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import feed, ledger, levels
from inventory.feed import Snapshot
from inventory.ledger import BelowZero, Bucket, Movement, MovementType
from inventory.projection import Count
from kit import inbox, outbox
from kit.db import transaction
from kit.inbox import Letter
from operations.errors import CannotApply

DELTA: Final = "inventory.delta"
SNAPSHOT: Final = "inventory.snapshot"

# Why a letter waits for an earlier one that has not been heard yet.
AHEAD: Final = "ahead of its cause"
_NAMED_SKUS: Final = 100


async def apply(session: AsyncSession, letter: Letter) -> None:
    """Apply an `inventory.delta` or `inventory.snapshot` in the caller's transaction.

    Raises:
        CannotApply: it names unknown products only, or would leave fewer than no units.
    """
    _, _, warehouse = letter.source.partition(":")
    if letter.kind == DELTA:
        changed = await _apply_deltas(session, letter, warehouse)
    elif letter.kind == SNAPSHOT:
        changed = await _apply_snapshot(session, letter, warehouse)
    else:
        raise CannotApply(f"a stock feed says nothing like {letter.kind}")
    if changed:
        # One fact a message: a count of a hundred thousand lines wakes the flow once.
        body = {"warehouse": warehouse, "skus": changed[:_NAMED_SKUS], "sku_count": len(changed)}
        fact = outbox.Fact(topic="stock.changed", key=letter.source, body=body)
        await outbox.emit(session, [fact])


async def _apply_deltas(session: AsyncSession, letter: Letter, warehouse: str) -> list[str]:
    """Book changes under the warehouse's own ids; all of them or none."""
    deltas: Sequence[dict[str, Any]] = letter.body["deltas"]
    skus = {delta["sku"] for delta in deltas}
    unknown = sorted(skus - await levels.known_skus(session, skus))
    if unknown:
        # A change that is not booked is lost for good, so the whole message waits for a person.
        raise CannotApply(f"unknown SKU {', '.join(unknown[:10])}")
    movements = [_movement(delta, letter, warehouse) for delta in deltas]
    try:
        booked = await ledger.book(session, movements)
    except BelowZero as early:
        raise CannotApply(f"{AHEAD}: {early}") from early
    latest = max(movement.occurred_at for movement in movements)
    await feed.heard_deltas(session, warehouse, latest=latest)
    return sorted(skus) if booked else []


def _movement(delta: dict[str, Any], letter: Letter, warehouse: str) -> Movement:
    return Movement(
        sku=delta["sku"],
        warehouse=warehouse,
        bucket=Bucket(delta["bucket"]),
        qty_delta=delta["units"],
        kind=MovementType.ADJUST,
        reference=letter.external_id,
        key=f"delta:{warehouse}:{delta['id']}",
        actor=letter.source,
        reason=delta["reason"],
        occurred_at=datetime.fromisoformat(delta["occurred_at"]),
    )


async def _apply_snapshot(session: AsyncSession, letter: Letter, warehouse: str) -> list[str]:
    """Take a count over; what is no product of ours does not stop the rest."""
    lines: Sequence[dict[str, Any]] = letter.body["lines"]
    snapshot = Snapshot(
        warehouse=warehouse,
        as_of=datetime.fromisoformat(letter.body["as_of"]),
        complete=letter.body["complete"],
        counts={line["sku"]: Count(on_hand=line["on_hand"], held=line["held"]) for line in lines},
        reference=letter.external_id,
    )
    outcome = await feed.take_over(session, snapshot)
    if lines and len(outcome.unknown) == len(snapshot.counts):
        raise CannotApply(f"unknown SKU {', '.join(outcome.unknown[:10])}")
    return [*outcome.changed, *outcome.impossible]


async def replay_early(limit: int = 100) -> int:
    """Hand parked messages that were ahead of their cause to the clerk again; return how many.

    What they waited for may have been heard since; if not, they are parked again.
    """
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT id FROM inbox_message WHERE state = 'parked' AND kind = :kind"
                " AND starts_with(reason, :why) ORDER BY id LIMIT :limit"
            ),
            {"kind": DELTA, "why": AHEAD, "limit": limit},
        )
        return sum([await inbox.replay(session, row.id) for row in rows.all()])
