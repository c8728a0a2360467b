"""Tells inventory what is still to come of a purchase order, and uncovers whom that fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.orders import restore_claims
from inventory import pegs, promises
from inventory.promises import PromiseRow
from kit.outbox import Fact
from suppliers import despatches
from suppliers.expectations import arrival
from suppliers.orders import SupplyOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class PeggedOrder:
    """A buyer's order that waits for goods of a line."""

    order_id: UUID
    units: int
    group_id: UUID
    completed_at: datetime
    whole: bool


def first_to_lose(waiting: Sequence[PeggedOrder], *, units_left: int) -> list[UUID]:
    """Return the orders that lose their goods so that the others fit into `units_left`.

    The group that completed last loses first; a group that leaves whole loses all it has on the
    line, of another one only as many orders as it takes, the latest first.
    """
    pegged = sum(order.units for order in waiting)
    lost: list[UUID] = []
    latest_first = sorted(
        waiting, key=lambda o: (o.completed_at, o.group_id, o.order_id), reverse=True
    )
    for _, members in groupby(latest_first, key=lambda order: order.group_id):
        if pegged <= units_left:
            break
        for order in members:
            if pegged <= units_left and not order.whole:
                break
            pegged -= order.units
            lost.append(order.order_id)
    return lost


async def show_inbound(session: AsyncSession, order: SupplyOrder) -> list[Fact]:
    """Write what is still to come of each line; return the facts to be told.

    Pegs that no longer fit dissolve, and their orders hold claims again.
    """
    advised = await despatches.expected(session, order.id)
    rows = [
        PromiseRow(
            line_id=line.id,
            sku=line.sku,
            warehouse=line.warehouse,
            units=line.units.coming_units,
            promised_at=arrival(line, advised=advised),
        )
        for line in order.lines
    ]
    over = await promises.put(session, rows)
    facts = []
    for row in rows:
        if row.line_id in over:
            facts += await _uncover(session, row)
    return facts


async def _uncover(session: AsyncSession, row: PromiseRow) -> list[Fact]:
    waiting = (await _waiting(session, [row.line_id]))[row.line_id]
    lost = first_to_lose(waiting, units_left=row.units)
    units = await pegs.dissolve(session, line_id=row.line_id, order_ids=lost)
    restored = await restore_claims(session, units)
    return [
        Fact(
            topic="orders.uncovered",
            key=row.sku,
            body={"sku": row.sku, "order_ids": sorted(map(str, restored))},
        )
    ]


async def _waiting(
    session: AsyncSession, line_ids: Sequence[UUID]
) -> Mapping[UUID, list[PeggedOrder]]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT p.line_id, p.order_id, p.units, g.id AS group_id,"
            " coalesce(g.closed_at, g.opened_at) AS completed_at,"
            " g.warehouse_policy = 'whole' AS whole"
            " FROM peg p JOIN buyer_order o ON o.id = p.order_id"
            " JOIN buying_group g ON g.id = o.group_id"
            " WHERE p.line_id = ANY(CAST(:lines AS uuid[])) AND p.state = 'live'"
        ),
        {"lines": list(line_ids)},
    )
    found: dict[UUID, list[PeggedOrder]] = {line_id: [] for line_id in line_ids}
    for row in rows:
        found[row.line_id].append(
            PeggedOrder(
                order_id=row.order_id,
                units=row.units,
                group_id=row.group_id,
                completed_at=row.completed_at,
                whole=row.whole,
            )
        )
    return found
