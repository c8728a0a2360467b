"""Members leave running groups: counted out, their leader's place handed over, empty ones ended."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import lifecycle
from groups.lifecycle import Member
from groups.orders import Moved
from groups.settlement import LockedGroup, fact
from groups.states import OrderState
from kit import outbox


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
            *(fact("group.opened", groups[group_id]) for group_id in opened),
            *(
                fact("group.cancelled", groups[group_id])
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
