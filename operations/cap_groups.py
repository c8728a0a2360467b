"""Keep the seat budgets true: what is on sale, what supply can do, what may be promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets
from inventory.budgets import Recomputed, Terms
from kit.db import repeat_on_deadlock, transaction
from suppliers import capability

# Joins on a SKU wait while its budget is computed: a few hundred take some milliseconds.
_AT_ONCE: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class CapRow:
    """A SKU whose budget changed, or that has no unit left to promise, and why."""

    sku: str
    before_units: int
    budget_units: int
    claimed_units: int
    cap_seats: int | None
    taken_seats: int
    parts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapReport:
    """What a round over all SKUs came to."""

    skus: int
    terms_changed: int
    budgets_changed: int
    short_skus: int
    """Budgets below what is claimed: no new seats, and nobody is cancelled."""
    rows: Sequence[CapRow]


async def cap_groups() -> CapReport:
    """Work out every SKU's terms, capability and seat budget again.

    Safe to run twice and beside anything else: budgets are computed under their locks, some
    hundred at a time, from what stands in the tables then.
    """
    async with transaction(long=True) as session:
        skus = await _skus(session)
        await budgets.ensure(session, skus)
        terms = await terms_on_sale(session, skus)
        terms_changed = await budgets.set_terms(session, terms)
    async with transaction(long=True) as session:
        await capability.refresh(session)
    done: list[Recomputed] = []
    for part in _parts(skus):
        done += await repeat_on_deadlock(partial(_recompute, part))
    return CapReport(
        skus=len(done),
        terms_changed=terms_changed,
        budgets_changed=sum(row.changed for row in done),
        short_skus=sum(row.budget.units < row.claimed_units for row in done),
        rows=[
            CapRow(
                sku=row.sku,
                before_units=row.before_units,
                budget_units=row.budget.units,
                claimed_units=row.claimed_units,
                cap_seats=row.cap_seats,
                taken_seats=row.taken_seats,
                parts=row.budget.parts,
            )
            for row in done
            if row.changed or row.budget.units <= row.claimed_units
        ],
    )


async def recompute_dirty(limit: int = 200) -> int:
    """Recompute budgets whose stock or supply changed, or whose time has come; return how many."""
    async with transaction() as session:
        skus = await budgets.dirty_skus(session, limit)
    if not skus:
        return 0
    return len(await repeat_on_deadlock(partial(_recompute, skus)))


async def terms_on_sale(session: AsyncSession, skus: Sequence[str]) -> list[Terms]:
    """Return what is on sale of each SKU.

    A seat can be taken in active campaigns, and in groups still open on the terms of an older
    version or of a campaign that ended since; the shortest promise of all these counts. The
    participant cap is the lowest of the current versions: lowering it touches no seat given, and
    raising it counts for running groups too.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "WITH running AS (SELECT campaign_id, min(ship_within_seconds) AS ship_by"
            "  FROM buying_group WHERE state IN ('draft','open') GROUP BY campaign_id)"
            " SELECT c.sku, min(v.seat_cap) AS cap, min(least(r.ship_by,"
            "  CASE WHEN c.state = 'active' THEN v.ship_within_seconds END)) AS ship_by"
            " FROM campaign c"
            " JOIN campaign_version v ON v.campaign_id = c.id AND v.version = c.version"
            " LEFT JOIN running r ON r.campaign_id = c.id"
            " WHERE c.state = 'active' OR r.campaign_id IS NOT NULL GROUP BY c.sku"
        )
    )
    on_sale = {row.sku: (row.ship_by, row.cap) for row in rows}
    nothing = (None, None)
    return [
        Terms(sku=sku, ship_by_seconds=ship_by, cap_seats=cap)
        for sku, (ship_by, cap) in ((sku, on_sale.get(sku, nothing)) for sku in skus)
    ]


async def _recompute(skus: Sequence[str]) -> list[Recomputed]:
    async with transaction(long=True) as session:
        return await budgets.recompute_rows(session, skus)


async def _skus(session: AsyncSession) -> list[str]:
    connection = await session.connection()
    rows = await connection.exec_driver_sql("SELECT sku FROM product ORDER BY sku")
    return [row.sku for row in rows]


def _parts(skus: Sequence[str]) -> list[Sequence[str]]:
    return [skus[start : start + _AT_ONCE] for start in range(0, len(skus), _AT_ONCE)]
