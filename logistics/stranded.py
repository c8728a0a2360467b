"""Units that must come to one warehouse, because what lies around cannot be put together there.

Stock that is spread over warehouses covers an order in sum and ships it from nowhere: a group that
leaves whole, and an order in any case, is served from one place. Purchasing by SKU would subtract
that stock and buy nothing, for ever; these numbers say what it has to buy all the same.
"""

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from logistics.network import Network, read_network
from logistics.placing import (
    GroupWant,
    Reason,
    Want,
    fair_order,
    least_missing,
    place_fairly,
)
from logistics.shelves import Shelves
from logistics.sources import read_sources


def missing_by_place(
    groups: Iterable[GroupWant], *, network: Network, shelves: Shelves
) -> dict[tuple[str, str], int]:
    """Return by (sku, warehouse) what has to arrive for groups that nothing can serve today.

    Groups that can be served are, in fair order. Each of the others then waits where it lacks
    least, and what is there counts for it and for nobody after it.
    """
    kept = list(groups)
    placement = place_fairly(
        kept, network=network, shelves=shelves, capacity=dict.fromkeys(network.places, 10**9)
    )
    waiting = {u.group.group_id for u in placement.unserved if u.reason is Reason.SHORT}
    missing: Counter[tuple[str, str]] = Counter()
    for group in fair_order(group for group in kept if group.group_id in waiting):
        bundles = [group.wants] if group.whole else [(want,) for want in group.wants]
        for wants in bundles:
            found = least_missing(group, wants, network=network, shelves=shelves)
            if found is None:
                continue
            units = sum(want.units for want in wants)
            missing[group.sku, found.warehouse] += found.units
            shelves.use_up(found.warehouse, group.sku, units=units - found.units)
    return {place: units for place, units in missing.items() if units > 0}


async def stranded(session: AsyncSession) -> dict[tuple[str, str], int]:
    """Return by (sku, warehouse) the least units that have to arrive there for waiting orders.

    For purchasing, this is a floor and not an addition: buy for a (sku, warehouse) the larger of
    this number and of what the sums of the SKU say is needed there. Free stock and open promises
    (sent purchase orders) of that warehouse are taken off already; what is ordered but not yet
    sent is not, so the caller takes that off. Groups that are only waiting for room at a dock, and
    those that no warehouse delivers to, are not in it.
    """
    network = await read_network(session)
    groups = await _waiting_groups(session)
    sources = await read_sources(session, {group.sku for group in groups})
    return missing_by_place(groups, network=network, shelves=Shelves(sources))


async def anchored(session: AsyncSession) -> dict[UUID, frozenset[str]]:
    """Return where the covered part of whole groups waits for the rest of them.

    A group that leaves whole and has members without goods (a short receipt, a broken unit) is
    completed in that warehouse, so what it lacks is bought for that one and no other.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "WITH waiting AS MATERIALIZED (SELECT DISTINCT g.id"
            "  FROM buyer_order o JOIN buying_group g ON g.id = o.group_id"
            "  WHERE o.state IN ('confirmed', 'won') AND o.claim_units > 0"
            "  AND g.warehouse_policy = 'whole' AND g.state IN ('succeeded', 'drawn'))"
            " SELECT m.group_id, array_agg(DISTINCT c.warehouse) AS warehouses"
            " FROM waiting JOIN buyer_order m ON m.group_id = waiting.id"
            " JOIN (SELECT order_id, warehouse FROM reservation WHERE state = 'live'"
            "  UNION ALL SELECT order_id, warehouse FROM peg WHERE state = 'live') AS c"
            "  ON c.order_id = m.id GROUP BY m.group_id"
        )
    )
    return {row.group_id: frozenset(row.warehouses) for row in rows}


async def _waiting_groups(session: AsyncSession) -> list[GroupWant]:
    """Return the uncovered orders of completed groups; a whole group stays where its rest is."""
    connection = await session.connection()
    rows = (
        await connection.execute(
            text(
                "SELECT o.id, o.group_id, o.sku, o.units, o.province, o.city, p.weight_grams,"
                "  g.warehouse_policy = 'whole' AS whole,"
                "  coalesce(g.closed_at, o.confirmed_at) AS completed_at,"
                "  coalesce(g.ship_by, o.confirmed_at) AS ship_by"
                " FROM buyer_order o JOIN buying_group g ON g.id = o.group_id"
                " JOIN product p ON p.sku = o.sku"
                " WHERE o.state IN ('confirmed', 'won') AND o.claim_units > 0"
                " AND g.state IN ('succeeded', 'drawn') ORDER BY o.id"
            )
        )
    ).all()
    wants: dict[UUID, list[Want]] = {}
    for row in rows:
        wants.setdefault(row.group_id, []).append(
            Want(order_id=row.id, units=row.units, province=row.province, city=row.city)
        )
    heads = {row.group_id: row for row in rows}
    anchors = await anchored(session)
    return [
        GroupWant(
            group_id=group_id,
            sku=row.sku,
            unit_grams=row.weight_grams,
            whole=row.whole,
            completed_at=row.completed_at,
            ship_by=row.ship_by,
            wants=tuple(wants[group_id]),
            only=anchors.get(group_id),
        )
        for group_id, row in heads.items()
    ]
