"""Seat budgets: the hot rows that joins claim against, computed from stock and supply.

Joins only move `claimed_units` and `taken_seats`; everything that changes what may be promised
marks the SKU, and `recompute` works `budget_units` out again in a transaction of its own.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budget_facts
from inventory.formula import Budget, seat_budget
from kit import outbox
from kit.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Claims and seats that orders of one SKU hold."""

    sku: str
    claim_units: int
    seats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """By how much a budget moves."""

    sku: str
    budget_units: int = 0
    claimed_units: int = 0
    taken_seats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is on sale of a SKU, as groups say."""

    sku: str
    ship_by_seconds: int | None
    cap_seats: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """A budget worked out again."""

    sku: str
    before_units: int
    budget: Budget
    claimed_units: int
    cap_seats: int | None
    taken_seats: int

    @property
    def changed(self) -> bool:
        return self.before_units != self.budget.units

    @property
    def ran_out(self) -> bool:
        """Supply, not joins, has just left no unit to claim."""
        return self.budget.units <= self.claimed_units < self.before_units


async def ensure(session: AsyncSession, skus: Collection[str]) -> None:
    """Make the budgets that are missing among products `skus`, and mark those dirty."""
    connection = await session.connection()
    made = await connection.execute(
        text(
            "INSERT INTO seat_budget (sku) SELECT p.sku FROM product p"
            " WHERE p.sku = ANY(CAST(:skus AS text[]))"
            " AND NOT EXISTS (SELECT FROM seat_budget b WHERE b.sku = p.sku)"
            " ORDER BY p.sku ON CONFLICT DO NOTHING RETURNING sku"
        ),
        {"skus": list(skus)},
    )
    await mark_dirty(session, [row.sku for row in made])


async def lock(session: AsyncSession, skus: Iterable[str]) -> None:
    """Lock budgets in order; decide in the next statement.

    They come first in the lock order: whoever will move a budget later in its transaction (by
    reserving, pegging, or dissolving either) calls this before it locks orders or stock.
    """
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM seat_budget WHERE sku = ANY(CAST(:skus AS text[]))"
            " ORDER BY sku FOR UPDATE"
        ),
        {"skus": sorted(set(skus))},
    )


async def mark_dirty(session: AsyncSession, skus: Collection[str]) -> None:
    """Ask for a recompute of the budgets of `skus`; takes no lock that anybody waits for."""
    if not skus:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO budget_mark (sku, mark)"
            " SELECT * FROM unnest(CAST(:skus AS text[]), CAST(:marks AS uuid[]))"
        ),
        {"skus": list(skus), "marks": [new_id() for _ in skus]},
    )


async def dirty_skus(session: AsyncSession, limit: int = 200) -> list[str]:
    """Return SKUs that are marked, oldest mark first, or whose budget changes with time."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT sku FROM (SELECT sku, min(marked_at) AS since FROM budget_mark GROUP BY sku"
            " UNION ALL SELECT sku, now() FROM seat_budget WHERE recompute_at <= kit_now()) due"
            " GROUP BY sku ORDER BY min(since) LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [row.sku for row in rows]


async def set_terms(session: AsyncSession, terms: Sequence[Terms]) -> int:
    """Write what is on sale into existing budgets; return how many changed, marked dirty."""
    columns = {
        "skus": [term.sku for term in terms],
        "ship_by": [term.ship_by_seconds for term in terms],
        "caps": [term.cap_seats for term in terms],
    }
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM unnest(CAST(:skus AS text[]), CAST(:ship_by AS int[]),"
            "  CAST(:caps AS int[])) AS n (sku, ship_by_seconds, cap_seats)"
            " JOIN seat_budget b USING (sku) WHERE (b.ship_by_seconds, b.cap_seats)"
            "  IS DISTINCT FROM (n.ship_by_seconds, n.cap_seats)"
            " ORDER BY b.sku FOR UPDATE OF b"
        ),
        columns,
    )
    changed = await connection.execute(
        text(
            "UPDATE seat_budget b SET ship_by_seconds = n.ship_by_seconds,"
            " cap_seats = n.cap_seats FROM unnest(CAST(:skus AS text[]),"
            "  CAST(:ship_by AS int[]), CAST(:caps AS int[]))"
            "  AS n (sku, ship_by_seconds, cap_seats)"
            " WHERE b.sku = n.sku AND (b.ship_by_seconds, b.cap_seats)"
            "  IS DISTINCT FROM (n.ship_by_seconds, n.cap_seats) RETURNING b.sku"
        ),
        columns,
    )
    skus = [row.sku for row in changed]
    await mark_dirty(session, skus)
    return len(skus)


async def recompute(session: AsyncSession, skus: Collection[str]) -> int:
    """Work the budgets of `skus` out again; return how many changed."""
    return sum(row.changed for row in await recompute_rows(session, skus))


async def recompute_rows(session: AsyncSession, skus: Collection[str]) -> list[Recomputed]:
    """Work budgets out again, all in the same few statements, and say what came of it.

    The rows are locked first and the facts read in a later statement, so that what a join or a
    reservation did meanwhile is seen. Marks are taken before the facts are read: a change that
    commits later leaves its mark for the next time.
    """
    await ensure(session, skus)
    await lock(session, skus)
    connection = await session.connection()
    await connection.execute(
        text("DELETE FROM budget_mark WHERE sku = ANY(CAST(:skus AS text[]))"),
        {"skus": sorted(set(skus))},
    )
    done = [
        Recomputed(
            sku=standing.facts.sku,
            before_units=standing.budget_units,
            budget=seat_budget(standing.facts, now=standing.now),
            claimed_units=standing.facts.claimed_units,
            cap_seats=standing.cap_seats,
            taken_seats=standing.taken_seats,
        )
        for standing in await budget_facts.read(session, skus)
    ]
    await _keep(session, done)
    await outbox.emit(session, [_low(row) for row in done if row.ran_out])
    return done


async def _keep(session: AsyncSession, done: Sequence[Recomputed]) -> None:
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE seat_budget b SET budget_units = n.budget_units,"
            " recompute_at = n.recompute_at, computed_at = kit_now(), parts = n.parts::jsonb"
            " FROM unnest(CAST(:skus AS text[]), CAST(:units AS int[]),"
            "  CAST(:recompute_at AS timestamptz[]), CAST(:parts AS text[]))"
            "  AS n (sku, budget_units, recompute_at, parts) WHERE b.sku = n.sku"
        ),
        {
            "skus": [row.sku for row in done],
            "units": [row.budget.units for row in done],
            "recompute_at": [row.budget.recompute_at for row in done],
            "parts": [json.dumps(row.budget.parts) for row in done],
        },
    )


def _low(row: Recomputed) -> outbox.Fact:
    body = {
        "sku": row.sku,
        "budget_units": row.budget.units,
        "claimed_units": row.claimed_units,
        "cap_seats": row.cap_seats,
        "taken_seats": row.taken_seats,
    }
    return outbox.Fact(topic="seat_cap.low", key=row.sku, body=body)


async def give_back(session: AsyncSession, rows: Sequence[GiveBack]) -> None:
    """Take the claims and seats of orders that died out of the budgets, locking them in order."""
    await move(
        session,
        [
            Shift(sku=row.sku, claimed_units=-row.claim_units, taken_seats=-row.seats)
            for row in rows
        ],
    )


async def take(session: AsyncSession, row: GiveBack) -> bool:
    """Claim units and seats if there is room; False leaves the budget as it was.

    The check and the change are one UPDATE, so two payers cannot both pass the check.
    """
    connection = await session.connection()
    taken = await connection.execute(
        text(
            "UPDATE seat_budget SET claimed_units = claimed_units + :units,"
            " taken_seats = taken_seats + :seats WHERE sku = :sku"
            " AND claimed_units + :units <= budget_units"
            " AND (cap_seats IS NULL OR taken_seats + :seats <= cap_seats)"
        ),
        {"sku": row.sku, "units": row.claim_units, "seats": row.seats},
    )
    return taken.rowcount == 1


async def move(session: AsyncSession, shifts: Sequence[Shift]) -> None:
    """Add up the shifts a SKU and move the budgets by them, locking them in order."""
    sums: dict[str, list[int]] = {}
    for shift in shifts:
        total = sums.setdefault(shift.sku, [0, 0, 0])
        total[0] += shift.budget_units
        total[1] += shift.claimed_units
        total[2] += shift.taken_seats
    skus = sorted(sku for sku, total in sums.items() if any(total))
    if not skus:
        return
    await lock(session, skus)
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE seat_budget b SET budget_units = b.budget_units + n.budget,"
            " claimed_units = b.claimed_units + n.claimed, taken_seats = b.taken_seats + n.taken"
            " FROM unnest(CAST(:skus AS text[]), CAST(:budget AS int[]),"
            "  CAST(:claimed AS int[]), CAST(:taken AS int[]))"
            "  AS n (sku, budget, claimed, taken) WHERE b.sku = n.sku"
        ),
        {
            "skus": skus,
            "budget": [sums[sku][0] for sku in skus],
            "claimed": [sums[sku][1] for sku in skus],
            "taken": [sums[sku][2] for sku in skus],
        },
    )
