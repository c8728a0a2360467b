"""Decide where completed groups leave from, and make it true: the act behind the flow `fulfil`.

Planning holds no lock. What is planned is committed in portions that check under their locks that
nothing has changed, so two runs at once, or a refund in between, cost a group one more run and
nothing else.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders
from kit import outbox, wakeups
from kit.clock import business_now
from kit.db import repeat_on_deadlock, sqlstate, transaction
from kit.ids import new_id
from logistics.network import read_network
from logistics.placing import Placed, Reason
from logistics.sources import read_sources
from operations.allocation_choice import Facts, Plan, decide
from operations.allocation_report import (
    AllocationReport,
    Tally,
    contended_line,
    detail,
    late_line,
    report_of,
    uncovered_line,
)
from operations.cover_groups import Covered, cover_groups
from operations.fulfilment_needs import (
    groups_in_held_warehouses,
    read_capacity,
    read_groups,
)
from operations.open_waves import open_waves
from operations.release_shortages import release_shortages

GROUPS_A_PLAN: Final = 3_000
GROUPS_A_COMMIT: Final = 500
_LOCK_NOT_AVAILABLE: Final = "55P03"
_RETRY_SECONDS: Final = 5.0  # wall


async def allocate_groups() -> AllocationReport:
    """Cover the orders of completed groups with stock and inbound, earliest completed first.

    A group is covered wholly or not at all. Where more is reserved than lies there, the groups
    completed last give way first and are planned anew. Groups in warehouses on hold move when
    another one can take them whole. What stays uncovered keeps its claims; when that is news, the
    SKU wakes `replenish`. Running it again finds nothing left to do.
    """
    tally = Tally()
    async with transaction(long=True) as session:
        released = await release_shortages(session)
    async with transaction(long=True) as session:
        waiting = await orders.uncovered(session)
        held = await groups_in_held_warehouses(session)
    group_ids = list(dict.fromkeys([*(order.group_id for order in waiting), *held]))
    contended = False
    for start in range(0, len(group_ids), GROUPS_A_PLAN):
        window = group_ids[start : start + GROUPS_A_PLAN]
        async with transaction(long=True) as session:
            facts = await _read(session, window, held=held)
        tally.groups_seen += len(facts.groups)
        tally.first_seen |= {g.group_id for g in facts.groups.values() if not g.seen_before}
        plan = await asyncio.to_thread(decide, facts)
        tally.statuses.append(plan.status)
        tally.proofs.append(plan.proof)
        contended |= await _commit(facts, plan, tally=tally)
    async with transaction(long=True) as session:
        opened = await open_waves(session)
    report = report_of(tally, released=released, waves_opened=opened.waves_opened)
    async with transaction(long=True) as session:
        await _keep(session, report, group_ids=group_ids, first_seen=tally.first_seen)
        if contended:
            await wakeups.wake(
                session, "fulfil", reason="goods were contended", delay_seconds=_RETRY_SECONDS
            )
    return report


async def _read(session: AsyncSession, group_ids: Sequence[UUID], *, held: Sequence[UUID]) -> Facts:
    network = await read_network(session)
    groups = await read_groups(session, group_ids)
    now = await business_now(session)
    return Facts(
        network=network,
        groups=groups,
        held=frozenset(held) & groups.keys(),
        sources=await read_sources(session, {group.sku for group in groups.values()}),
        capacity=await read_capacity(session, network, groups.values(), now=now),
        now=now,
    )


# --- making it true -------------------------------------------------------------------


async def _commit(facts: Facts, plan: Plan, *, tally: Tally) -> bool:
    """Commit a plan in portions; return whether goods or locks were contended."""
    in_order = sorted(
        plan.placement.placed.values(),
        key=lambda placed: (placed[0].group.completed_at, placed[0].group.group_id),
    )
    contended = False
    for start in range(0, len(in_order), GROUPS_A_COMMIT):
        portion = in_order[start : start + GROUPS_A_COMMIT]
        covered = await _cover(facts, plan, portion)
        kept = [placed for placed in portion if placed[0].group.group_id in covered.groups]
        lost = [placed for placed in portion if placed[0].group.group_id not in covered.groups]
        contended |= bool(lost)
        tally.covered += kept
        tally.moved += len(covered.groups & plan.moving)
        tally.reserved += covered.reserved
        tally.pegged += covered.pegged
        tally.parcels += covered.parcels
        tally.cost_fen += sum(each.quote.price_fen for placed in kept for each in placed)
        tally.nearest_cost_fen += sum(
            plan.nearest_cost_fen[placed[0].group.group_id] for placed in kept
        )
        tally.late += [line for placed in kept if (line := late_line(placed, facts)) is not None]
        tally.uncovered += [contended_line(placed) for placed in lost]
    tally.uncovered += [uncovered_line(unserved) for unserved in plan.placement.unserved]
    return contended


async def _cover(facts: Facts, plan: Plan, portion: Sequence[Sequence[Placed]]) -> Covered:
    async def once() -> Covered:
        async with transaction(long=True) as session:
            return await cover_groups(
                session, portion, moving=plan.moving, network=facts.network, now=facts.now
            )

    try:
        return await repeat_on_deadlock(once)
    except DBAPIError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        # A crowd is joining groups of one of these SKUs; the next run comes soon.
        return Covered(groups=frozenset(), reserved=0, pegged=0, parcels=0)


async def _keep(
    session: AsyncSession,
    report: AllocationReport,
    *,
    group_ids: Sequence[UUID],
    first_seen: set[UUID],
) -> None:
    """Write the plan's row, and ask for goods where the need is new."""
    connection = await session.connection()
    await connection.execute(
        text(
            "WITH seen AS (SELECT id FROM buying_group WHERE id = ANY(CAST(:ids AS uuid[]))"
            "  ORDER BY id FOR UPDATE) UPDATE buying_group g SET planned_at = kit_now()"
            " FROM seen WHERE g.id = seen.id"
        ),
        {"ids": list(group_ids)},
    )
    short: Counter[str] = Counter()
    for line in report.uncovered:
        if line.reason == Reason.SHORT:
            short[line.sku] += line.units
    before = await connection.execute(
        text("SELECT detail -> 'short' FROM fulfilment_plan ORDER BY created_at DESC, id LIMIT 1")
    )
    known: Mapping[str, int] = before.scalar_one_or_none() or {}
    news = {
        line.sku
        for line in report.uncovered
        if line.reason == Reason.SHORT
        and (line.group_id in first_seen or known.get(line.sku) != short[line.sku])
    }
    if not report.groups_covered and not news and dict(known) == dict(short):
        return
    await connection.execute(
        text(
            "INSERT INTO fulfilment_plan (id, status, proof, groups, orders, uncovered_orders,"
            " cost_fen, nearest_cost_fen, detail) VALUES (:id, :status, :proof, :groups, :orders,"
            " :uncovered, :cost, :nearest, CAST(:detail AS jsonb))"
        ),
        {
            "id": new_id(),
            "status": report.status,
            "proof": report.proof,
            "groups": report.groups_seen,
            "orders": report.orders_reserved + report.orders_pegged,
            "uncovered": report.orders_uncovered,
            "cost": report.cost_fen,
            "nearest": report.nearest_cost_fen,
            "detail": json.dumps(detail(report, short)),
        },
    )
    await outbox.emit(
        session,
        [
            outbox.Fact(topic="orders.uncovered", key=sku, body={"sku": sku, "units": short[sku]})
            for sku in sorted(news)
        ],
    )
