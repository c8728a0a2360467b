"""Reservations: units in one warehouse that belong to one order until they ship or dissolve.

Every function locks budgets first and stock levels second, as the lock order has it; a caller
that also locks orders calls `budgets.lock` before it does. A reservation changes only under the
lock of its level, so it resolves once.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets, discrepancies, ledger, levels
from inventory.budgets import Shift
from inventory.projection import Level, Movement, Place
from inventory.states import Bucket, MovementType
from kit.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Units of one warehouse for one order, whose claim they will replace."""

    order_id: UUID
    sku: str
    warehouse: str
    units: int

    @property
    def place(self) -> Place:
        return Place(self.sku, self.warehouse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A reservation that was live when it was read."""

    order_id: UUID
    place: Place
    units: int


class _Resolution(StrEnum):
    SHIPPED = "shipped"
    DISSOLVED = "dissolved"


def grant(wants: Sequence[Want], levels: Mapping[Place, Level]) -> list[Want]:
    """Return the wants whose units are free, in the order given, at most one of an order.

    A shortage leaves nothing free.

    >>> from uuid import UUID
    >>> tea = Place("tea", "east")
    >>> wants = [Want(order_id=UUID(int=n), sku="tea", warehouse="east", units=u)
    ...          for n, u in ((1, 2), (2, 3), (3, 1))]
    >>> [want.order_id.int for want in grant(wants, {tea: Level(on_hand=4, held=1)})]
    [1, 3]
    """
    left = dict(levels)
    granted: dict[UUID, Want] = {}
    for want in wants:
        level = left[want.place]
        if want.order_id not in granted and want.units <= level.free:
            left[want.place] = replace(level, reserved=level.reserved + want.units)
            granted[want.order_id] = want
    return list(granted.values())


async def reserve(session: AsyncSession, wants: Sequence[Want]) -> set[UUID]:
    """Reserve for those orders whose units are free, in the order given; return their ids.

    An order that holds a live reservation or peg is passed over. For each order returned the
    budget and its claims fall by its units, so the caller sets the order's `claim_units` to 0 and
    its state to allocated in the same transaction.
    """
    if not wants:
        return set()
    await budgets.lock(session, {want.sku for want in wants})
    locked = await levels.lock(session, {want.place for want in wants})
    done = await covered(session, [want.order_id for want in wants])
    granted = grant([want for want in wants if want.order_id not in done], locked)
    await write_live(
        session,
        [Held(order_id=want.order_id, place=want.place, units=want.units) for want in granted],
    )
    await budgets.move(
        session,
        [
            Shift(sku=want.sku, budget_units=-want.units, claimed_units=-want.units)
            for want in granted
        ],
    )
    return {want.order_id for want in granted}


async def write_live(session: AsyncSession, made: Sequence[Held]) -> None:
    """Write reservations of locked levels, and what they take from them."""
    if not made:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO reservation (id, order_id, sku, warehouse, units)"
            " SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:orders AS uuid[]),"
            "  CAST(:skus AS text[]), CAST(:warehouses AS text[]), CAST(:units AS int[]))"
        ),
        levels.columns_of([row.place for row in made])
        | {
            "ids": [new_id() for _ in made],
            "orders": [row.order_id for row in made],
            "units": [row.units for row in made],
        },
    )
    await levels.move_reserved(session, _by_place(made))


async def live(session: AsyncSession, order_ids: Collection[UUID]) -> list[Held]:
    """Return the live reservations of these orders."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT order_id, sku, warehouse, units FROM reservation"
            " WHERE order_id = ANY(CAST(:ids AS uuid[])) AND state = 'live' ORDER BY order_id"
        ),
        {"ids": list(order_ids)},
    )
    return [
        Held(order_id=row.order_id, place=Place(row.sku, row.warehouse), units=row.units)
        for row in rows
    ]


async def dissolve(session: AsyncSession, order_ids: Collection[UUID]) -> dict[UUID, int]:
    """Take reservations back from orders that live on; return each order's units.

    The units return to budget and claims, so the caller sets the order's `claim_units` to them
    and its state to confirmed. Orders without a live reservation are left out.
    """
    gone = await _resolve(session, order_ids, _Resolution.DISSOLVED)
    await budgets.move(
        session,
        [Shift(sku=row.place.sku, budget_units=row.units, claimed_units=row.units) for row in gone],
    )
    return {row.order_id: row.units for row in gone}


async def free(session: AsyncSession, order_ids: Collection[UUID]) -> dict[UUID, int]:
    """Take reservations back from orders that died before they shipped; return their units.

    The units return to the budget; the order's claim was spent when it was reserved. Its seat is
    given back with `budgets.give_back`.
    """
    gone = await _resolve(session, order_ids, _Resolution.DISSOLVED)
    await budgets.move(session, [Shift(sku=row.place.sku, budget_units=row.units) for row in gone])
    return {row.order_id: row.units for row in gone}


async def ship(
    session: AsyncSession,
    order_ids: Collection[UUID],
    *,
    reference: str,
    actor: str,
    occurred_at: datetime,
) -> list[UUID]:
    """Let reserved units leave: reserved and on_hand fall, the budget stays; return who shipped.

    Orders without a live reservation, such as those that shipped already, are left out.

    Args:
        reference: what they left with, such as the wave.

    Raises:
        BelowZero: the ledger knows of fewer units than left; nothing is changed.
    """
    gone = await _resolve(session, order_ids, _Resolution.SHIPPED)
    await ledger.book(
        session,
        [
            Movement(
                sku=row.place.sku,
                warehouse=row.place.warehouse,
                bucket=Bucket.AVAILABLE,
                qty_delta=-row.units,
                kind=MovementType.SHIP,
                reference=reference,
                key=f"ship:{row.order_id}",
                actor=actor,
                reason="",
                occurred_at=occurred_at,
            )
            for row in gone
        ],
    )
    return [row.order_id for row in gone]


async def _resolve(
    session: AsyncSession, order_ids: Collection[UUID], resolution: _Resolution
) -> list[Held]:
    """End live reservations and give their units back to the levels."""
    seen = await live(session, order_ids)
    if not seen:
        return []
    if resolution is _Resolution.DISSOLVED:
        await budgets.lock(session, {row.place.sku for row in seen})
    await levels.lock(session, {row.place for row in seen})
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "UPDATE reservation SET state = :state, resolved_at = kit_now()"
            " WHERE order_id = ANY(CAST(:ids AS uuid[])) AND state = 'live'"
            " AND (sku, warehouse) IN"
            "  (SELECT * FROM unnest(CAST(:skus AS text[]), CAST(:warehouses AS text[])))"
            " RETURNING order_id, sku, warehouse, units"
        ),
        levels.columns_of(sorted({row.place for row in seen}))
        | {"ids": [row.order_id for row in seen], "state": resolution.value},
    )
    gone = sorted(
        (
            Held(order_id=row.order_id, place=Place(row.sku, row.warehouse), units=row.units)
            for row in rows
        ),
        key=lambda held: held.order_id,
    )
    await levels.move_reserved(session, {place: -units for place, units in _by_place(gone).items()})
    if resolution is _Resolution.DISSOLVED:  # shipping ends with a movement, which settles them
        await discrepancies.settle_shortages(session, sorted({row.place for row in gone}))
    return gone


def _by_place(rows: Sequence[Held]) -> Counter[Place]:
    units: Counter[Place] = Counter()
    for row in rows:
        units[row.place] += row.units
    return units


async def covered(session: AsyncSession, order_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the orders that hold a live reservation or peg."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT order_id FROM reservation WHERE order_id = ANY(CAST(:ids AS uuid[]))"
            " AND state = 'live' UNION SELECT order_id FROM peg"
            " WHERE order_id = ANY(CAST(:ids AS uuid[])) AND state = 'live'"
        ),
        {"ids": list(order_ids)},
    )
    return {row.order_id for row in rows}
