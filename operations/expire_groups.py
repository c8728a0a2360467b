"""Time ends seats and groups: unpaid seats are released, groups are judged at their deadline.

A group past its deadline with payments under way closes first: the provider is asked about each
and told to close what is unpaid, outside any transaction, and the group is judged when all are
known or the grace is over.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import departures, lifecycle, orders, settlement
from groups.lifecycle import Verdict
from groups.settlement import LockedGroup
from groups.states import GroupEvent, GroupState, advance_group
from inventory import budgets
from kit.db import repeat_on_deadlock, transaction
from kit.settings import settings
from operations.poll_payments import Resolved, resolve_all

SEAT_EXPIRED: Final = "expired"
_ASK_AGAIN_SECONDS: Final = 30
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryReport:
    """What one sweep found and did."""

    seats_released: int
    groups: dict[str, int] = field(default_factory=dict)  # by verdict


async def sweep() -> ExpiryReport:
    """Release and settle until nothing is due."""
    released = 0
    while found := await release_expired(limit=_CHUNK):
        released += found
    verdicts: Counter[str] = Counter()
    while settled := await _settle_due(_CHUNK):
        verdicts.update(settled)
    return ExpiryReport(seats_released=released, groups=dict(verdicts))


# --- seats ----------------------------------------------------------------------------


async def release_expired(limit: int = 500) -> int:
    """Release seats that were not paid in time; return how many were due.

    Seats of groups past their deadline are left to `settle_due`, which asks the provider first.
    """
    return await repeat_on_deadlock(lambda: _release_expired(limit))


async def _release_expired(limit: int) -> int:
    async with transaction(long=True) as session:
        connection = await session.connection()
        due = (
            await connection.execute(
                text(
                    "SELECT o.id, o.sku, o.group_id FROM buyer_order o"
                    " JOIN buying_group g ON g.id = o.group_id WHERE o.state = 'reserved'"
                    " AND o.reserved_until <= kit_now() AND g.state IN ('draft','open')"
                    " AND g.deadline_at > kit_now() ORDER BY o.reserved_until LIMIT :limit"
                ),
                {"limit": limit},
            )
        ).all()
        if not due:
            return 0
        await budgets.lock(session, {row.sku for row in due})
        groups = await settlement.lock(session, {row.group_id for row in due})
        running = {group.id for group in groups.values() if group.view.state in lifecycle.SEATABLE}
        released = await orders.release(
            session, [row.id for row in due if row.group_id in running], SEAT_EXPIRED
        )
        await settlement.give_back(session, released)
        await settlement.tell_released(session, released)
        await departures.leave(session, released, groups)
        return len(due)


# --- groups ---------------------------------------------------------------------------


async def settle_due(limit: int = 200) -> int:
    """Judge groups whose deadline, or next question to the provider, is due; return how many."""
    return (await _settle_due(limit)).total()


async def _settle_due(limit: int) -> Counter[str]:
    verdicts = await repeat_on_deadlock(lambda: _judge_due(limit))
    async with transaction() as session:
        closing = await _claim_closing(session, limit)
    if closing:
        await _ask_provider(closing)
        verdicts += await repeat_on_deadlock(lambda: _judge_groups(closing))
    return verdicts


async def _judge_due(limit: int) -> Counter[str]:
    async with transaction(long=True) as session:
        connection = await session.connection()
        due = await connection.execute(
            text(
                "SELECT id, sku FROM buying_group WHERE due_at <= kit_now()"
                " AND state IN ('draft','open') ORDER BY due_at LIMIT :limit"
            ),
            {"limit": limit},
        )
        rows = due.all()
        return await _judge(session, [row.id for row in rows], {row.sku for row in rows})


async def _judge_groups(group_ids: Sequence[UUID]) -> Counter[str]:
    async with transaction(long=True) as session:
        connection = await session.connection()
        rows = await connection.execute(
            text("SELECT DISTINCT sku FROM buying_group WHERE id = ANY(CAST(:ids AS uuid[]))"),
            {"ids": list(group_ids)},
        )
        return await _judge(session, group_ids, {row.sku for row in rows})


async def _judge(session: AsyncSession, group_ids: Sequence[UUID], skus: set[str]) -> Counter[str]:
    """Judge groups under their locks and do what the verdicts say."""
    verdicts: Counter[str] = Counter()
    if not group_ids:
        return verdicts
    await budgets.lock(session, skus)
    groups = await settlement.lock(session, group_ids)
    running = [group for group in groups.values() if group.view.state in lifecycle.RUNNING]
    in_flight = await _in_flight(session, [group.id for group in running])
    judged: defaultdict[Verdict, list[LockedGroup]] = defaultdict(list)
    for group in running:
        over = (group.now - group.deadline_at).total_seconds()
        verdict = lifecycle.judge(
            group.view,
            in_flight=in_flight[group.id],
            grace_over=over >= settings().closing_grace_seconds,
        )
        judged[verdict].append(group)
        verdicts[verdict.value] += 1
    await _close(session, judged[Verdict.CLOSE])
    await _wait(session, judged[Verdict.WAIT])
    await settlement.end(
        session,
        succeeded=judged[Verdict.SUCCEED],
        failed=judged[Verdict.FAIL],
        cancelled=judged[Verdict.CANCEL],
    )
    return verdicts


async def _in_flight(session: AsyncSession, group_ids: Sequence[UUID]) -> Counter[UUID]:
    """Return how many held seats of each group have a payment under way."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT o.group_id, count(*) AS seats FROM buyer_order o"
            " JOIN payment_line l ON l.order_id = o.id AND l.state = 'pending'"
            " WHERE o.group_id = ANY(CAST(:ids AS uuid[])) AND o.state = 'reserved'"
            " GROUP BY o.group_id"
        ),
        {"ids": list(group_ids)},
    )
    return Counter({row.group_id: row.seats for row in rows})


async def _close(session: AsyncSession, groups: Sequence[LockedGroup]) -> None:
    """Take no new seats; the provider is asked at once."""
    if not groups:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE buying_group g SET state = c.state, due_at = kit_now(),"
            " progress = g.progress + 1"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[])) AS c (id, state)"
            " WHERE g.id = c.id"
        ),
        {
            "ids": [group.id for group in groups],
            "states": [
                advance_group(group.view.state, GroupEvent.DEADLINE).value for group in groups
            ],
        },
    )


async def _wait(session: AsyncSession, groups: Sequence[LockedGroup]) -> None:
    """Put off groups that are looked at before their time: a draft whose window began anew."""
    early = [group.id for group in groups if group.view.state is not GroupState.CLOSING]
    if not early:
        return
    connection = await session.connection()
    await connection.execute(
        text("UPDATE buying_group SET due_at = deadline_at WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": early},
    )


async def _claim_closing(session: AsyncSession, limit: int) -> list[UUID]:
    """Take closing groups whose payments are to be asked about; another clerk finds them later."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE buying_group SET due_at = kit_now() + :pause * interval '1 second'"
            " WHERE id IN (SELECT id FROM buying_group WHERE state = 'closing'"
            "  AND due_at <= kit_now() ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)"
            " RETURNING id"
        ),
        {"pause": _ASK_AGAIN_SECONDS, "limit": limit},
    )
    return sorted(row.id for row in rows)


async def _ask_provider(group_ids: Sequence[UUID]) -> Counter[Resolved]:
    """Resolve every payment under way for held seats of the groups, and close the unpaid."""
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text(
                "SELECT DISTINCT l.payment_id FROM buyer_order o"
                " JOIN payment_line l ON l.order_id = o.id AND l.state = 'pending'"
                " WHERE o.group_id = ANY(CAST(:ids AS uuid[])) AND o.state = 'reserved'"
            ),
            {"ids": list(group_ids)},
        )
        payment_ids = [row.payment_id for row in rows]
    return Counter(await resolve_all(payment_ids, close=True))
