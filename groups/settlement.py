"""Groups end, and members leave them: set-based, under locks that the caller has taken.

Whoever calls `fail` or lets paid or held seats go holds the budgets of the SKUs first, then the
groups (`lock`), as the order of locks says.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import lifecycle, orders
from groups.lifecycle import GroupView, Member
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
    return {
        row.id: LockedGroup(
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
        for row in rows
    }


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


async def leave(
    session: AsyncSession, moved: Sequence[Moved], groups: Mapping[UUID, LockedGroup]
) -> None:
    """Count members out of running groups, hand their leaders' places over, end empty groups.

    Args:
        moved: orders that were reserved or paid and are not any more.
        groups: their groups, locked.
    """
    held: Counter[UUID] = Counter()
    paid: Counter[UUID] = Counter()
    for order in moved:
        (held if order.was is OrderState.RESERVED else paid)[order.group_id] += 1
    touched = sorted({order.group_id for order in moved})
    if not touched:
        return
    connection = await session.connection()
    rest: defaultdict[UUID, list[Member]] = defaultdict(list)
    for row in await connection.execute(
        text(
            "SELECT group_id, user_id, state FROM buyer_order"
            " WHERE group_id = ANY(CAST(:ids AS uuid[])) AND state IN ('reserved','paid')"
            " ORDER BY group_id, state = 'reserved', paid_at, id"
        ),
        {"ids": touched},
    ):
        rest[row.group_id].append(Member(user_id=row.user_id, state=OrderState(row.state)))
    after = {
        group_id: lifecycle.depart(
            groups[group_id].view.state, leader_id=groups[group_id].leader_id, rest=rest[group_id]
        )
        for group_id in touched
    }
    await connection.execute(
        text(
            "UPDATE buying_group g SET state = a.state, leader_id = a.leader_id,"
            " held_seats = g.held_seats - a.held, paid_seats = g.paid_seats - a.paid,"
            " progress = g.progress + 1,"
            " closed_at = CASE WHEN a.cancelled THEN kit_now() ELSE g.closed_at END,"
            " due_at = CASE WHEN a.cancelled THEN NULL ELSE g.due_at END"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:leaders AS uuid[]),"
            "  CAST(:held AS integer[]), CAST(:paid AS integer[]), CAST(:cancelled AS boolean[]))"
            "  AS a (id, state, leader_id, held, paid, cancelled) WHERE g.id = a.id"
        ),
        {
            "ids": touched,
            "states": [after[group_id].state.value for group_id in touched],
            "leaders": [after[group_id].leader_id for group_id in touched],
            "held": [held[group_id] for group_id in touched],
            "paid": [paid[group_id] for group_id in touched],
            "cancelled": [after[group_id].cancelled for group_id in touched],
        },
    )
    opened = [group_id for group_id in touched if after[group_id].opened]
    if opened:
        await _start_windows(session, opened)
    await outbox.emit(
        session,
        [
            *(_fact("group.opened", groups[group_id]) for group_id in opened),
            *(
                _fact("group.cancelled", groups[group_id])
                for group_id in touched
                if after[group_id].cancelled
            ),
        ],
    )


async def _start_windows(session: AsyncSession, group_ids: Sequence[UUID]) -> None:
    """Let the windows of groups that open by a hand-over begin now."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE buying_group g SET deadline_at = w.until, due_at = w.until FROM ("
            " SELECT i.id, kit_now() + v.window_seconds * interval '1 second' AS until"
            " FROM buying_group i JOIN campaign_version v"
            " ON v.campaign_id = i.campaign_id AND v.version = i.version"
            " WHERE i.id = ANY(CAST(:ids AS uuid[]))) w WHERE g.id = w.id"
        ),
        {"ids": list(group_ids)},
    )


async def finish(session: AsyncSession, groups: Sequence[LockedGroup]) -> None:
    """Finish groups whose last paid seat has just flipped them: confirm, price, tell.

    Differences to the price paid up front are queued as refunds, exact to the fen.

    Args:
        groups: with the counts they succeeded with in `view`.
    """
    connection = await session.connection()
    ids = [group.id for group in groups]
    members = (
        await connection.execute(
            text(
                "SELECT o.id, o.group_id, o.quantity, o.amount_fen, l.id AS line_id"
                " FROM buyer_order o LEFT JOIN payment_line l"
                " ON l.order_id = o.id AND l.state = 'captured'"
                " WHERE o.group_id = ANY(CAST(:ids AS uuid[])) AND o.state = 'paid' ORDER BY o.id"
            ),
            {"ids": ids},
        )
    ).all()
    await orders.confirm(session, [row.id for row in members])
    prices = await _price(session, groups)
    owed = [
        Owed(line_id=row.line_id, kind=RefundKind.DIFFERENCE, amount_fen=difference)
        for row in members
        if row.line_id is not None
        and row.group_id in prices
        and (
            difference := lifecycle.difference_fen(
                paid_fen=row.amount_fen,
                final_price_fen=prices[row.group_id],
                quantity=row.quantity,
            )
        )
    ]
    await refunds.queue(
        session, owed, reason=TIER_DIFFERENCE, occurred_at=max(group.now for group in groups)
    )
    await outbox.emit(
        session,
        [
            _fact(
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
            *(_fact("group.failed", group, paid_seats=group.view.paid_seats) for group in failed),
            *(_fact("group.cancelled", group) for group in cancelled),
        ],
    )
    if succeeded:
        await finish(session, succeeded)


def _released(order: Moved) -> outbox.Fact:
    return outbox.Fact(
        topic="order.released",
        key=str(order.group_id),
        body={"order_id": str(order.order_id), "group_id": str(order.group_id), "sku": order.sku},
    )


async def tell_released(session: AsyncSession, moved: Sequence[Moved]) -> None:
    """Tell of seats that were released."""
    await outbox.emit(session, [_released(order) for order in moved])


def _fact(topic: str, group: LockedGroup, **more: Any) -> outbox.Fact:
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
