"""Orders move by the table of transitions, many at a time, each move with its journal row.

Nothing else writes an order's state, except the two hot statements that fuse it with the rest of
their transaction: admission (which makes orders) and the capture of a payment.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import ORDER_TRANSITIONS, OrderEvent, OrderState
from kit.ids import new_id

# What a move writes besides the state.
_ALSO: Final[Mapping[OrderEvent, str]] = {
    OrderEvent.RELEASE: ", claim_units = 0, closed_reason = CAST(:reason AS text)",
    OrderEvent.CONFIRM: ", confirmed_at = kit_now()",
    OrderEvent.ALLOCATE: ", claim_units = 0",
    OrderEvent.SHIP: ", shipped_at = coalesce(CAST(:at AS timestamptz), kit_now())",
    OrderEvent.DELIVER: ", delivered_at = coalesce(CAST(:at AS timestamptz), kit_now())",
    OrderEvent.OWE_REFUND: ", claim_units = 0, closed_reason = CAST(:reason AS text)",
}

_MOVE: Final = """
WITH seen AS (
    SELECT o.id, o.state AS was, o.claim_units AS claim, w.journal_id
    FROM buyer_order o
    JOIN unnest(CAST(:orders AS uuid[]), CAST(:journal AS uuid[])) AS w (order_id, journal_id)
        ON w.order_id = o.id
    WHERE o.state = ANY(CAST(:states AS text[])) ORDER BY o.id FOR NO KEY UPDATE OF o
), moved AS (
    UPDATE buyer_order o SET state = CAST(:target AS text) /* also */
    FROM seen s WHERE o.id = s.id
    RETURNING o.id, o.group_id, o.user_id, o.sku, o.units, s.was, s.claim, s.journal_id
), told AS (
    INSERT INTO order_journal (id, order_id, group_id, kind, detail)
    SELECT journal_id, id, group_id, CAST(:kind AS text), CAST(:detail AS jsonb) FROM moved
)
SELECT id, group_id, user_id, sku, units, was, claim FROM moved ORDER BY id
"""

# Without knowing the ids: the members of whole groups.
_CONFIRM: Final = """
WITH seen AS (
    SELECT id, group_id FROM buyer_order
    WHERE group_id = ANY(CAST(:groups AS uuid[])) AND state = 'paid' ORDER BY id FOR NO KEY UPDATE
), numbered AS (
    SELECT id, group_id, row_number() OVER (ORDER BY id) AS place FROM seen
), told AS (
    INSERT INTO order_journal (id, order_id, group_id, kind)
    SELECT j.id, n.id, n.group_id, 'confirm' FROM numbered n
    JOIN unnest(CAST(:journal AS uuid[])) WITH ORDINALITY AS j (id, place) USING (place)
)
UPDATE buyer_order o SET state = 'confirmed', confirmed_at = kit_now()
FROM seen WHERE o.id = seen.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """An order that moved, with what it was and held before."""

    order_id: UUID
    group_id: UUID
    user_id: UUID
    sku: str
    units: int
    was: OrderState
    claim_units: int  # before the move

    @property
    def unshipped(self) -> bool:
        """Whether it still held its seat in the product's cap when it moved."""
        return self.was not in {OrderState.SHIPPED, OrderState.DELIVERED}


async def move(
    session: AsyncSession,
    order_ids: Sequence[UUID],
    event: OrderEvent,
    *,
    reason: str | None = None,
    at: datetime | None = None,
) -> list[Moved]:
    """Move the orders that answer to `event`, in one statement; the others stay as they are.

    The rows are locked in ascending order, after whatever else the caller holds.
    """
    if not order_ids:
        return []
    moves = {before: after for (before, seen), after in ORDER_TRANSITIONS.items() if seen is event}
    (target,) = set(moves.values())
    also = _ALSO.get(event, "")
    detail: dict[str, Any] = {} if reason is None else {"reason": reason}
    given: dict[str, Any] = {
        "orders": list(order_ids),
        "journal": [new_id() for _ in order_ids],
        "states": [state.value for state in moves],
        "target": target.value,
        "kind": event.value,
        "detail": json.dumps(detail),
    }
    if ":reason" in also:
        given["reason"] = reason
    if ":at" in also:
        given["at"] = at
    connection = await session.connection()
    rows = await connection.execute(
        text(_MOVE.replace("/* also */", also)),
        given,
    )
    return [
        Moved(
            order_id=row.id,
            group_id=row.group_id,
            user_id=row.user_id,
            sku=row.sku,
            units=row.units,
            was=OrderState(row.was),
            claim_units=row.claim,
        )
        for row in rows
    ]


async def release(session: AsyncSession, order_ids: Sequence[UUID], reason: str) -> list[Moved]:
    """Take unpaid seats back; the caller gives the claims and seats back to the budget."""
    return await move(session, order_ids, OrderEvent.RELEASE, reason=reason)


async def confirm_members(session: AsyncSession, group_ids: Sequence[UUID], *, members: int) -> int:
    """Confirm every paid order of groups that succeeded; return how many.

    Args:
        members: paid seats of all the groups together.
    """
    connection = await session.connection()
    confirmed = await connection.execute(
        text(_CONFIRM),
        {"groups": list(group_ids), "journal": [new_id() for _ in range(members)]},
    )
    return confirmed.rowcount


async def owe_refund(session: AsyncSession, order_ids: Sequence[UUID], reason: str) -> list[Moved]:
    """Mark orders whose money is to go back.

    Only the state moves here: `operations.cancel_order.refund_orders` is the whole act.
    """
    return await move(session, order_ids, OrderEvent.OWE_REFUND, reason=reason)


async def mark_allocated(session: AsyncSession, order_ids: Sequence[UUID]) -> set[UUID]:
    """Mark orders whose units are reserved; their claims are gone with the reservation."""
    return {moved.order_id for moved in await move(session, order_ids, OrderEvent.ALLOCATE)}


async def mark_pegged(session: AsyncSession, order_ids: Sequence[UUID]) -> None:
    """Drop the claims of orders that inbound units belong to now; they stay confirmed."""
    if not order_ids:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "WITH pegged AS (SELECT id FROM buyer_order WHERE id = ANY(CAST(:orders AS uuid[]))"
            "  AND state IN ('confirmed','won') ORDER BY id FOR UPDATE)"
            " UPDATE buyer_order o SET claim_units = 0 FROM pegged WHERE o.id = pegged.id"
        ),
        {"orders": list(order_ids)},
    )


async def restore_claims(session: AsyncSession, units: Mapping[UUID, int]) -> set[UUID]:
    """Give claims back to live orders whose reservation or peg dissolved; they are uncovered again.

    Args:
        units: claimed units by order.
    """
    if not units:
        return set()
    await move(session, list(units), OrderEvent.REPLAN)
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "WITH restored AS (SELECT o.id, c.units FROM buyer_order o"
            "  JOIN unnest(CAST(:orders AS uuid[]), CAST(:units AS integer[])) AS c (id, units)"
            "  USING (id) WHERE o.state IN ('confirmed','won') ORDER BY o.id FOR UPDATE OF o)"
            " UPDATE buyer_order o SET claim_units = r.units FROM restored r WHERE o.id = r.id"
            " RETURNING o.id"
        ),
        {"orders": list(units), "units": list(units.values())},
    )
    return {row.id for row in rows}


async def mark_shipped(session: AsyncSession, order_ids: Sequence[UUID], at: datetime) -> set[UUID]:
    """Mark orders whose parcel left at `at`, business time."""
    return {moved.order_id for moved in await move(session, order_ids, OrderEvent.SHIP, at=at)}


async def mark_delivered(
    session: AsyncSession, order_ids: Sequence[UUID], at: datetime
) -> set[UUID]:
    """Mark orders whose parcel arrived at `at`, business time."""
    return {moved.order_id for moved in await move(session, order_ids, OrderEvent.DELIVER, at=at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UncoveredOrder:
    """A confirmed order that no stock and no inbound unit belongs to yet."""

    order_id: UUID
    group_id: UUID
    campaign_id: UUID
    user_id: UUID
    sku: str
    units: int
    province: str
    city: str
    confirmed_at: datetime
    ship_by: datetime
    warehouse_policy: str
    closed_at: datetime  # when its group succeeded


async def uncovered(
    session: AsyncSession, *, skus: Sequence[str] | None = None, limit: int | None = None
) -> list[UncoveredOrder]:
    """Return uncovered orders, those of the earliest completed group first."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT o.id AS order_id, o.group_id, o.campaign_id, o.user_id, o.sku, o.units,"
            " o.province, o.city, o.confirmed_at, g.ship_by, g.warehouse_policy, g.closed_at"
            " FROM buyer_order o JOIN buying_group g ON g.id = o.group_id"
            " WHERE o.state IN ('confirmed','won') AND o.claim_units > 0"
            " AND (CAST(:skus AS text[]) IS NULL OR o.sku = ANY(CAST(:skus AS text[])))"
            " ORDER BY g.closed_at, g.id, o.id LIMIT CAST(:limit AS bigint)"
        ),
        {"skus": None if skus is None else list(skus), "limit": limit},
    )
    return [UncoveredOrder(**row._mapping) for row in rows]  # noqa: SLF001 - public, see its docs
