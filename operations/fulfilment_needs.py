"""What a planning run reads: orders to cover, goods that are free, room at the docks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import WarehousePolicy
from logistics.network import Network
from logistics.placing import GroupWant, Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A live order of a completed group that has not shipped.

    Args:
        covered_in: the warehouse where stock or inbound belongs to it; None when nothing does.
        movable: no parcel of it is in a locked wave.
    """

    order_id: UUID
    units: int
    province: str
    city: str
    address_key: str
    covered_in: str | None
    movable: bool

    @property
    def want(self) -> Want:
        return Want(
            order_id=self.order_id,
            units=self.units,
            province=self.province,
            city=self.city,
            address_key=self.address_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedGroup:
    """A group that succeeded, with its members that have not shipped."""

    group_id: UUID
    sku: str
    unit_grams: int
    whole: bool
    completed_at: datetime
    ship_by: datetime
    seen_before: bool
    members: tuple[Member, ...]

    @property
    def uncovered(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.covered_in is None)

    @property
    def covered(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.covered_in is not None)

    @property
    def movable(self) -> bool:
        return all(member.movable for member in self.members)

    def rest(self) -> GroupWant:
        """Return what is uncovered; a whole group's rest joins the part that has a warehouse."""
        anchors = frozenset(m.covered_in for m in self.covered if m.covered_in is not None)
        return self._want(self.uncovered, only=anchors if self.whole and anchors else None)

    def anew(self) -> GroupWant:
        """Return all of it, to be planned as if nothing were covered."""
        return self._want(self.members, only=None)

    def _want(self, members: Sequence[Member], *, only: frozenset[str] | None) -> GroupWant:
        return GroupWant(
            group_id=self.group_id,
            sku=self.sku,
            unit_grams=self.unit_grams,
            whole=self.whole,
            completed_at=self.completed_at,
            ship_by=self.ship_by,
            wants=tuple(member.want for member in members),
            only=only,
        )


async def read_groups(
    session: AsyncSession, group_ids: Collection[UUID]
) -> dict[UUID, CompletedGroup]:
    """Return these groups with their members, in the order in which they were complete."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT o.id, o.group_id, o.units, o.province, o.city,"
            "  o.user_id::text || md5(o.address::text) AS address_key, g.sku, p.weight_grams,"
            "  g.warehouse_policy, coalesce(g.closed_at, o.confirmed_at) AS completed_at,"
            "  coalesce(g.ship_by, g.closed_at, o.confirmed_at) AS ship_by,"
            "  g.planned_at IS NOT NULL AS seen_before,"
            "  coalesce(r.warehouse, peg.warehouse) AS covered_in,"
            "  NOT EXISTS (SELECT FROM shipment_order so JOIN shipment s ON s.id = so.shipment_id"
            "   WHERE so.order_id = o.id AND s.state NOT IN ('planned', 'cancelled')) AS movable"
            " FROM buyer_order o JOIN buying_group g ON g.id = o.group_id"
            " JOIN product p ON p.sku = g.sku"
            " LEFT JOIN reservation r ON r.order_id = o.id AND r.state = 'live'"
            " LEFT JOIN peg ON peg.order_id = o.id AND peg.state = 'live'"
            " WHERE o.group_id = ANY(CAST(:groups AS uuid[]))"
            " AND o.state IN ('confirmed', 'won', 'allocated')"
            " AND g.state IN ('succeeded', 'drawn')"
            # Before its draw a lottery's claims are the group's: its orders want nothing yet.
            " AND (o.state <> 'confirmed' OR o.claim_units > 0 OR peg.id IS NOT NULL)"
            " ORDER BY g.closed_at, g.id, o.id"
        ),
        {"groups": list(group_ids)},
    )
    members: dict[UUID, list[Member]] = {}
    found: dict[UUID, CompletedGroup] = {}
    kept = rows.all()
    for row in kept:
        members.setdefault(row.group_id, []).append(
            Member(
                order_id=row.id,
                units=row.units,
                province=row.province,
                city=row.city,
                address_key=row.address_key,
                covered_in=row.covered_in,
                movable=row.movable,
            )
        )
    for row in kept:
        if row.group_id not in found:
            found[row.group_id] = CompletedGroup(
                group_id=row.group_id,
                sku=row.sku,
                unit_grams=row.weight_grams,
                whole=row.warehouse_policy == WarehousePolicy.WHOLE,
                completed_at=row.completed_at,
                ship_by=row.ship_by,
                seen_before=row.seen_before,
                members=tuple(members[row.group_id]),
            )
    return found


async def groups_in_held_warehouses(session: AsyncSession) -> list[UUID]:
    """Return groups with movable parcels in a warehouse that operations put on hold."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT so.group_id FROM shipment s JOIN warehouse w ON w.code = s.warehouse"
            " JOIN shipment_order so ON so.shipment_id = s.id"
            " WHERE s.state = 'planned' AND w.on_hold ORDER BY so.group_id"
        )
    )
    return [row.group_id for row in rows]


async def read_capacity(
    session: AsyncSession, network: Network, groups: Iterable[CompletedGroup], *, now: datetime
) -> dict[str, int]:
    """Return the parcels each warehouse can still take before the last of these groups is due.

    Every cut-off until then has room for a day's parcels, at least the next one counts; what is
    planned and has not left is taken off.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT warehouse, count(*) AS parcels FROM shipment"
            " WHERE state = 'planned' GROUP BY warehouse"
        )
    )
    planned: Mapping[str, int] = {row.warehouse: row.parcels for row in rows}
    until = max((group.ship_by for group in groups), default=now)
    return {
        code: place.daily_parcels * max(place.cut_off.count(after=now, until=until), 1)
        - planned.get(code, 0)
        for code, place in network.places.items()
    }
