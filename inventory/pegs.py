"""Pegs: inbound units of a purchase order line that belong to one order before they arrive.

Locks are taken in the order budget, stock level, promise. A caller that locked stock or a
purchase order already, as a receipt does, calls `budgets.lock` before that if a peg may dissolve.
A peg changes only under the lock of its promise, so it resolves once.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets, levels, reservations
from inventory.budgets import Shift
from inventory.pegging import Pegged, PegWant, Promise, beyond, grant, reached
from inventory.projection import Place
from inventory.reservations import Held
from inventory.tables import Peg, PegState
from kit.ids import new_id

__all__ = ["PegWant", "dissolve", "free", "peg", "turn"]


async def peg(session: AsyncSession, wants: Sequence[PegWant]) -> set[UUID]:
    """Peg for those orders whose units are free on their line, in the order given.

    An order that holds a live reservation or peg is passed over. For each order returned the
    budget and its claims fall by its units, so the caller sets the order's `claim_units` to 0 in
    the same transaction; the order stays confirmed.
    """
    if not wants:
        return set()
    line_ids = {want.line_id for want in wants}
    await budgets.lock(session, await _skus(session, line_ids))
    promises = await _lock_promises(session, line_ids)
    done = await reservations.covered(session, [want.order_id for want in wants])
    granted = grant([want for want in wants if want.order_id not in done], promises)
    if not granted:
        return set()
    places = [promises[want.line_id].place for want in granted]
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO peg (id, order_id, line_id, sku, warehouse, units)"
            " SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:orders AS uuid[]),"
            "  CAST(:lines AS uuid[]), CAST(:skus AS text[]), CAST(:warehouses AS text[]),"
            "  CAST(:units AS int[]))"
        ),
        levels.columns_of(places)
        | {
            "ids": [new_id() for _ in granted],
            "orders": [want.order_id for want in granted],
            "lines": [want.line_id for want in granted],
            "units": [want.units for want in granted],
        },
    )
    await _move_pegged(session, ((want.line_id, want.units) for want in granted))
    await _move_budgets(
        session,
        [
            Shift(sku=place.sku, budget_units=-want.units, claimed_units=-want.units)
            for want, place in zip(granted, places, strict=True)
        ],
    )
    return {want.order_id for want in granted}


async def turn(session: AsyncSession, line_id: UUID, *, good_units: int) -> list[UUID]:
    """Turn pegs of a received line into reservations, oldest order first; return the orders.

    The receipt is booked before. Budget and claims stay as they are. As many turn as `good_units`
    and what is free in the warehouse reach; what the receipt leaves beyond the units still to
    come, the caller dissolves.
    """
    place = await _place(session, line_id)
    if place is None or good_units <= 0:
        return []
    level = (await levels.lock(session, [place]))[place]
    await _lock_promises(session, [line_id])
    pegs = await _live(session, line_id=line_id)
    turned = reached(pegs, units=min(good_units, level.free))
    await _end(session, turned, PegState.RESERVED)
    await reservations.write_live(
        session,
        [Held(order_id=peg.order_id, place=peg.place, units=peg.units) for peg in turned],
    )
    return [peg.order_id for peg in turned]


async def dissolve(
    session: AsyncSession,
    *,
    line_id: UUID | None = None,
    order_ids: Collection[UUID] | None = None,
    units_left: int | None = None,
) -> dict[UUID, int]:
    """Take pegs back from orders that live on; return each order's units.

    The units return to budget and claims, so the caller sets the order's `claim_units` to them.

    Args:
        line_id: only pegs of this line.
        order_ids: only pegs of these orders.
        units_left: with `line_id`, keep the oldest orders' pegs that fit; None takes all.
    """
    seen = await _locked(session, line_id=line_id, order_ids=order_ids)
    gone = seen if units_left is None else beyond(seen, units_left=units_left)
    await _end(session, gone, PegState.DISSOLVED)
    await _move_budgets(
        session,
        [Shift(sku=peg.place.sku, budget_units=peg.units, claimed_units=peg.units) for peg in gone],
    )
    return {peg.order_id: peg.units for peg in gone}


async def free(session: AsyncSession, order_ids: Collection[UUID]) -> dict[UUID, int]:
    """Take pegs back from orders that died; return their units.

    The units return to the budget; the order's claim was spent when it was pegged. Its seat is
    given back with `budgets.give_back`.
    """
    gone = await _locked(session, line_id=None, order_ids=order_ids)
    await _end(session, gone, PegState.DISSOLVED)
    await _move_budgets(session, [Shift(sku=peg.place.sku, budget_units=peg.units) for peg in gone])
    return {peg.order_id: peg.units for peg in gone}


async def _locked(
    session: AsyncSession, *, line_id: UUID | None, order_ids: Collection[UUID] | None
) -> list[Pegged]:
    """Return live pegs, read under the locks of their budgets and promises."""
    seen = await _live(session, line_id=line_id, order_ids=order_ids)
    if not seen:
        return []
    await budgets.lock(session, {peg.place.sku for peg in seen})
    await _lock_promises(session, {peg.line_id for peg in seen})
    lines = {peg.line_id for peg in seen}
    again = await _live(session, line_id=line_id, order_ids=order_ids)
    return [peg for peg in again if peg.line_id in lines]


async def _live(
    session: AsyncSession,
    *,
    line_id: UUID | None = None,
    order_ids: Collection[UUID] | None = None,
) -> list[Pegged]:
    if line_id is None and order_ids is None:
        raise ValueError("say which pegs: of a line, of orders, or both")
    wanted = (
        select(
            col(Peg.order_id), col(Peg.line_id), col(Peg.sku), col(Peg.warehouse), col(Peg.units)
        )
        .where(text("state = 'live'"))  # as the partial indexes say it
        .order_by(col(Peg.order_id))
    )
    if line_id is not None:
        wanted = wanted.where(col(Peg.line_id) == line_id)
    if order_ids is not None:
        wanted = wanted.where(col(Peg.order_id).in_(order_ids))
    rows = await (await session.connection()).execute(wanted)
    return [
        Pegged(
            order_id=row.order_id,
            line_id=row.line_id,
            place=Place(row.sku, row.warehouse),
            units=row.units,
        )
        for row in rows
    ]


async def _end(session: AsyncSession, gone: Sequence[Pegged], state: PegState) -> None:
    """Resolve pegs of locked promises and give their units back to the lines."""
    if not gone:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE peg SET state = :state, resolved_at = kit_now() WHERE state = 'live'"
            " AND order_id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"state": state.value, "ids": [peg.order_id for peg in gone]},
    )
    await _move_pegged(session, ((peg.line_id, -peg.units) for peg in gone))


async def _move_pegged(session: AsyncSession, moves: Iterable[tuple[UUID, int]]) -> None:
    units: Counter[UUID] = Counter()
    for line_id, moved in moves:
        units[line_id] += moved
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE supply_promise p SET pegged_units = p.pegged_units + n.units,"
            " state = CASE WHEN p.units > 0 OR p.pegged_units + n.units > 0"
            "  THEN 'open' ELSE 'closed' END"
            " FROM unnest(CAST(:lines AS uuid[]), CAST(:units AS int[])) AS n (line_id, units)"
            " WHERE p.line_id = n.line_id"
        ),
        {"lines": list(units), "units": list(units.values())},
    )


async def _move_budgets(session: AsyncSession, shifts: Sequence[Shift]) -> None:
    """Move the budgets, and ask for a recompute: a late line's units were never in the budget."""
    await budgets.move(session, shifts)
    await budgets.mark_dirty(session, {shift.sku for shift in shifts})


async def _skus(session: AsyncSession, line_ids: Collection[UUID]) -> set[str]:
    connection = await session.connection()
    rows = await connection.execute(
        text("SELECT sku FROM supply_promise WHERE line_id = ANY(CAST(:lines AS uuid[]))"),
        {"lines": list(line_ids)},
    )
    return {row.sku for row in rows}


async def _place(session: AsyncSession, line_id: UUID) -> Place | None:
    connection = await session.connection()
    row = (
        await connection.execute(
            text("SELECT sku, warehouse FROM supply_promise WHERE line_id = :line_id"),
            {"line_id": line_id},
        )
    ).one_or_none()
    return None if row is None else Place(row.sku, row.warehouse)


async def _lock_promises(session: AsyncSession, line_ids: Collection[UUID]) -> dict[UUID, Promise]:
    connection = await session.connection()
    lines = {"lines": list(line_ids)}
    await connection.execute(
        text(
            "SELECT 1 FROM supply_promise WHERE line_id = ANY(CAST(:lines AS uuid[]))"
            " ORDER BY line_id FOR UPDATE"
        ),
        lines,
    )
    rows = await connection.execute(
        text(
            "SELECT line_id, sku, warehouse, units, pegged_units, state FROM supply_promise"
            " WHERE line_id = ANY(CAST(:lines AS uuid[]))"
        ),
        lines,
    )
    return {
        row.line_id: Promise(
            line_id=row.line_id,
            place=Place(row.sku, row.warehouse),
            units=row.units,
            pegged_units=row.pegged_units,
            open=row.state == "open",
        )
        for row in rows
    }
