"""Make a placement true: reservations, pegs, order states and planned parcels, or none of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders
from inventory import budgets, pegs, reservations
from inventory.pegging import PegWant
from inventory.reservations import Want
from logistics import shipments, waves
from logistics.network import Network
from logistics.parcels import Item, pack
from logistics.placing import Placed
from logistics.shipments import PlannedParcel


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What became true of a placement."""

    groups: frozenset[UUID]
    reserved: int
    pegged: int
    parcels: int


async def cover_groups(
    session: AsyncSession,
    placements: Sequence[Sequence[Placed]],
    *,
    moving: Collection[UUID],
    network: Network,
    now: datetime,
) -> Covered:
    """Cover groups as placed, each wholly or not at all, in the order given.

    Locks come first: budgets, groups, orders. What changed since the plan was made is seen then;
    a group that is not as it was is left to the next run, and so is one whose goods somebody else
    took: what it did get is given back in the same transaction.

    Args:
        moving: groups that give up what covers them now.
    """
    skus = {each.group.sku for placed in placements for each in placed}
    await budgets.lock(session, skus)
    unchanged = await _unchanged(session, placements, moving=moving)
    kept = [placed for placed in placements if placed[0].group.group_id in unchanged]
    leaving = [
        each.want.order_id for placed in kept for each in placed if each.group.group_id in moving
    ]
    if leaving:
        returned = await reservations.dissolve(session, leaving)
        returned |= await pegs.dissolve(session, order_ids=leaving)
        await orders.restore_claims(session, returned)
    got = await _take(session, kept)
    whole = [placed for placed in kept if all(each.want.order_id in got for each in placed)]
    broken = [
        each.want.order_id
        for placed in kept
        if any(each.want.order_id not in got for each in placed)
        for each in placed
        if each.want.order_id in got
    ]
    if broken:
        await reservations.dissolve(session, broken)
        await pegs.dissolve(session, order_ids=broken)
    covered = [each for placed in whole for each in placed]
    from_stock = [each.want.order_id for each in covered if each.from_stock]
    inbound = [each.want.order_id for each in covered if not each.from_stock]
    await orders.mark_allocated(session, from_stock)
    await orders.mark_pegged(session, inbound)
    anew = {each.want.order_id for each in covered} | set(leaving)
    if docks := await shipments.docks_of_planned(session, anew):
        await waves.guard_docks(session, docks)
        await shipments.cancel_planned_of(session, anew)
    planned = parcels_of(whole, network=network, now=now)
    await shipments.plan(session, planned)
    return Covered(
        groups=frozenset(placed[0].group.group_id for placed in whole),
        reserved=len(from_stock),
        pegged=len(inbound),
        parcels=len(planned),
    )


async def _unchanged(
    session: AsyncSession, placements: Sequence[Sequence[Placed]], *, moving: Collection[UUID]
) -> set[UUID]:
    """Lock groups and orders; return the groups whose orders still are what was planned for."""
    group_ids = sorted(placed[0].group.group_id for placed in placements)
    wants = {each.want.order_id: each for placed in placements for each in placed}
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM buying_group WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
        ),
        {"ids": group_ids},
    )
    await connection.execute(
        text(
            "SELECT 1 FROM buyer_order WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
        ),
        {"ids": sorted(wants)},
    )
    rows = await connection.execute(
        text(
            "SELECT o.id, o.state, o.claim_units, o.units, EXISTS (SELECT FROM shipment_order so"
            "  JOIN shipment s ON s.id = so.shipment_id WHERE so.order_id = o.id"
            "  AND s.state NOT IN ('planned', 'cancelled')) AS locked"
            " FROM buyer_order o WHERE o.id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": sorted(wants)},
    )
    changed: set[UUID] = set()
    for row in rows:
        placed = wants[row.id]
        group_id = placed.group.group_id
        if group_id in moving:
            usable = row.state in {"confirmed", "won", "allocated"} and not row.locked
        else:
            usable = row.state in {"confirmed", "won"} and row.claim_units == placed.want.units
        if not usable or row.units != placed.want.units:
            changed.add(group_id)
    return set(group_ids) - changed


async def _take(session: AsyncSession, placements: Iterable[Sequence[Placed]]) -> set[UUID]:
    wanted = [each for placed in placements for each in placed]
    reserved = await reservations.reserve(
        session,
        [
            Want(
                order_id=each.want.order_id,
                sku=each.group.sku,
                warehouse=each.warehouse,
                units=each.want.units,
            )
            for each in wanted
            if each.from_stock
        ],
    )
    pegged = await pegs.peg(
        session,
        [
            PegWant(
                order_id=each.want.order_id,
                line_id=each.draw.source.line_id,
                units=each.want.units,
            )
            for each in wanted
            if each.draw.source.line_id is not None
        ],
    )
    return reserved | pegged


def parcels_of(
    placements: Iterable[Sequence[Placed]], *, network: Network, now: datetime
) -> list[PlannedParcel]:
    """Return the parcels of covered groups.

    Orders of one buyer to one address share parcels when all of their groups' goods are there
    now: a parcel must not wait for somebody else's inbound.
    """
    together: dict[tuple[str, str, str], list[Placed]] = {}
    for placed in placements:
        here = all(each.from_stock for each in placed)
        for each in placed:
            address = each.want.address_key if here else str(each.want.order_id)
            key = (address or str(each.want.order_id), each.warehouse, each.quote.carrier)
            together.setdefault(key, []).append(each)
    parcels: list[PlannedParcel] = []
    for (_, warehouse, carrier), sharing in together.items():
        first = sharing[0]
        parcels += [
            PlannedParcel(
                warehouse=warehouse,
                carrier=carrier,
                province=first.want.province,
                city=first.want.city,
                promised_at=max(expected_at(each, network=network, now=now) for each in sharing),
                items=parcel.items,
            )
            for parcel in pack((_item(each) for each in sharing), max_grams=first.quote.max_grams)
        ]
    return parcels


def _item(placed: Placed) -> Item:
    return Item(
        order_id=placed.want.order_id,
        group_id=placed.group.group_id,
        sku=placed.group.sku,
        units=placed.want.units,
        unit_grams=placed.group.unit_grams,
    )


def leaves_at(placed: Placed, *, network: Network, now: datetime) -> datetime:
    """Return the cut-off at which an order's goods can leave first."""
    ready_at = max(now, placed.draw.source.available_at or now)
    return network.places[placed.warehouse].cut_off.next(ready_at)


def expected_at(placed: Placed, *, network: Network, now: datetime) -> datetime:
    """Return when the buyer can expect the parcel."""
    return leaves_at(placed, network=network, now=now) + timedelta(days=placed.quote.days)
