"""Groups end, and members leave them: set-based, under locks that the caller has taken.

Whoever calls `fail` or lets paid or held seats go holds the budgets of the SKUs first, then the
groups (`lock`), as the order of locks says.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import lifecycle, orders
from groups.lifecycle import GroupView
from groups.orders import Moved
from groups.states import GroupState, LatePayment, Mode, OrderState
from inventory import budgets
from inventory.budgets import GiveBack
from kit import outbox
from payments import attempts, refunds
from payments.refunds import Owed
from payments.tables import RefundKind

DEADLINE: Final = "deadline"
GROUP_FAILED: Final = "group_failed"
TIER_DIFFERENCE: Final = "tier_difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedGroup:
    """A group as it is under its lock."""

    id: UUID
    campaign_id: UUID
    version: int
    sku: str
    price_fen: int
    leader_id: UUID
    deadline_at: datetime
    now: datetime  # business time of the lock
    view: GroupView


async def lock(session: AsyncSession, group_ids: Iterable[UUID]) -> dict[UUID, LockedGroup]:
    """Lock groups in ascending order and return them as they are now."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT id, campaign_id, version, sku, price_fen, leader_id, deadline_at,"
            " kit_now() AS now, deadline_at <= kit_now() AS past_deadline, state, mode, capacity,"
            " min_size, held_seats, paid_seats, late_payment_policy FROM buying_group"
            " WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE"
        ),
        {"ids": list(set(group_ids))},
    )
    return {row.id: locked_group(row) for row in rows}


def locked_group(row: Row[Any]) -> LockedGroup:
    """Return the group in a row that carries its columns and business time, under its lock."""
    return LockedGroup(
        id=row.id,
        campaign_id=row.campaign_id,
        version=row.version,
        sku=row.sku,
        price_fen=row.price_fen,
        leader_id=row.leader_id,
        deadline_at=row.deadline_at,
        now=row.now,
        view=GroupView(
            state=GroupState(row.state),
            mode=Mode(row.mode),
            capacity=row.capacity,
            min_size=row.min_size,
            held_seats=row.held_seats,
            paid_seats=row.paid_seats,
            late_payment=LatePayment(row.late_payment_policy),
            past_deadline=row.past_deadline,
        ),
    )


async def give_back(session: AsyncSession, moved: Sequence[Moved]) -> None:
    """Give the claims and seats of orders that died unshipped back to their budgets."""
    claims: Counter[str] = Counter()
    seats: Counter[str] = Counter()
    for order in moved:
        if order.unshipped:
            claims[order.sku] += order.claim_units
            seats[order.sku] += 1
    await budgets.give_back(
        session,
        [GiveBack(sku=sku, claim_units=claims[sku], seats=seats[sku]) for sku in sorted(seats)],
    )


async def finish(session: AsyncSession, groups: Sequence[LockedGroup]) -> None:
    """Finish groups whose last paid seat has just flipped them: confirm, price, tell.

    Differences to the price paid up front are queued as refunds, exact to the fen.

    Args:
        groups: with the counts they succeeded with in `view`.
    """
    await orders.confirm_members(
        session,
        [group.id for group in groups],
        members=sum(group.view.paid_seats for group in groups),
    )
    prices = await _price(session, groups)
    await _owe_differences(session, prices, now=max(group.now for group in groups))
    await outbox.emit(
        session,
        [
            fact(
                "group.succeeded",
                group,
                paid_seats=group.view.paid_seats,
                final_price_fen=prices.get(group.id, group.price_fen),
            )
            for group in groups
        ],
    )


async def _price(session: AsyncSession, groups: Sequence[LockedGroup]) -> dict[UUID, int]:
    """Write and return the final price of the tiered groups among `groups`."""
    tiered = {group.id: group for group in groups if group.view.mode is Mode.TIERED}
    if not tiered:
        return {}
    connection = await session.connection()
    ladders = await connection.execute(
        text(
            "SELECT g.id, v.tiers FROM buying_group g JOIN campaign_version v"
            " ON v.campaign_id = g.campaign_id AND v.version = g.version"
            " WHERE g.id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": list(tiered)},
    )
    prices = {
        row.id: lifecycle.price_reached(
            tiered[row.id].price_fen, row.tiers, members=tiered[row.id].view.paid_seats
        )
        for row in ladders
    }
    await connection.execute(
        text(
            "UPDATE buying_group g SET final_price_fen = p.price_fen"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:prices AS integer[])) AS p (id, price_fen)"
            " WHERE g.id = p.id"
        ),
        {"ids": list(prices), "prices": list(prices.values())},
    )
    return prices


async def end(
    session: AsyncSession,
    *,
    succeeded: Sequence[LockedGroup] = (),
    failed: Sequence[LockedGroup] = (),
    cancelled: Sequence[LockedGroup] = (),
) -> None:
    """End groups at their deadline; budgets and groups are locked.

    Seats still held are released. Members of a group that did not succeed are owed everything
    they paid. The groups' counts: frozen at success, zero otherwise.
    """
    over = {
        **dict.fromkeys((group.id for group in succeeded), GroupState.SUCCEEDED),
        **dict.fromkeys((group.id for group in failed), GroupState.FAILED),
        **dict.fromkeys((group.id for group in cancelled), GroupState.CANCELLED),
    }
    if not over:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE buying_group g SET state = e.state, held_seats = 0,"
            " paid_seats = CASE WHEN e.state = 'succeeded' THEN g.paid_seats ELSE 0 END,"
            " ship_by = CASE WHEN e.state = 'succeeded'"
            "  THEN kit_now() + g.ship_within_seconds * interval '1 second' END,"
            " closed_at = kit_now(), due_at = NULL, progress = g.progress + 1"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[])) AS e (id, state)"
            " WHERE g.id = e.id"
        ),
        {"ids": list(over), "states": [state.value for state in over.values()]},
    )
    seats = (
        await connection.execute(
            text(
                "SELECT id, group_id, state FROM buyer_order"
                " WHERE group_id = ANY(CAST(:ids AS uuid[])) AND state IN ('reserved','paid')"
            ),
            {"ids": list(over)},
        )
    ).all()
    unpaid = [row.id for row in seats if row.state == OrderState.RESERVED]
    owed = [
        row.id
        for row in seats
        if row.state == OrderState.PAID and over[row.group_id] is not GroupState.SUCCEEDED
    ]
    released = await orders.release(session, unpaid, DEADLINE)
    owing = await orders.owe_refund(session, owed, GROUP_FAILED)
    await give_back(session, [*released, *owing])
    # Nobody shall pay into a group that is over.
    await attempts.hurry(session, unpaid)
    await refunds.queue_orders(
        session,
        [order.order_id for order in owing],
        reason=GROUP_FAILED,
        occurred_at=max(group.now for group in (*succeeded, *failed, *cancelled)),
    )
    await outbox.emit(
        session,
        [
            *(_released(order) for order in released),
            *(fact("group.failed", group, paid_seats=group.view.paid_seats) for group in failed),
            *(fact("group.cancelled", group) for group in cancelled),
        ],
    )
    if succeeded:
        await finish(session, succeeded)


async def _owe_differences(
    session: AsyncSession, prices: Mapping[UUID, int], *, now: datetime
) -> None:
    """Queue what members of tiered groups paid above the final price."""
    if not prices:
        return
    connection = await session.connection()
    members = await connection.execute(
        text(
            "SELECT o.group_id, o.quantity, o.amount_fen, l.id AS line_id FROM buyer_order o"
            " JOIN payment_line l ON l.order_id = o.id AND l.state = 'captured'"
            " WHERE o.group_id = ANY(CAST(:ids AS uuid[])) AND o.state = 'confirmed' ORDER BY o.id"
        ),
        {"ids": list(prices)},
    )
    owed = [
        Owed(line_id=row.line_id, kind=RefundKind.DIFFERENCE, amount_fen=difference)
        for row in members
        if (
            difference := lifecycle.difference_fen(
                paid_fen=row.amount_fen,
                final_price_fen=prices[row.group_id],
                quantity=row.quantity,
            )
        )
    ]
    await refunds.queue(session, owed, reason=TIER_DIFFERENCE, occurred_at=now)


def _released(order: Moved) -> outbox.Fact:
    return outbox.Fact(
        topic="order.released",
        key=str(order.group_id),
        body={"order_id": str(order.order_id), "group_id": str(order.group_id), "sku": order.sku},
    )


async def tell_released(session: AsyncSession, moved: Sequence[Moved]) -> None:
    """Tell of seats that were released."""
    await outbox.emit(session, [_released(order) for order in moved])


def fact(topic: str, group: LockedGroup, **more: Any) -> outbox.Fact:
    """Return a fact about a group, ordered among the group's."""
    return outbox.Fact(
        topic=topic,
        key=str(group.id),
        body={
            "group_id": str(group.id),
            "campaign_id": str(group.campaign_id),
            "sku": group.sku,
            **more,
        },
    )
