"""Give ready parcels a wave: who leaves when is settled before the cut-off comes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.clock import business_now
from logistics import shipments, waves
from logistics.departures import Departing, Dock, bound_together, plan_departures
from logistics.network import Network, read_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Movable:
    """A parcel no warehouse has heard of, and the wave it is in."""

    parcel: Departing
    wave_id: UUID | None
    locked: bool
    labelled: bool
    refused: bool  # the carrier said no to its label


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenReport:
    """What was opened; `too_large` are parcels that no day of their warehouse can take."""

    waves_opened: int = 0
    parcels: int = 0
    too_large: tuple[UUID, ...] = ()


async def open_waves(session: AsyncSession) -> OpenReport:
    """Put every parcel whose goods are there into the open wave of its cut-off.

    A parcel leaves with the first cut-off at or after its goods were all there that has room for
    it, earlier completed groups first. A group that leaves whole is one matter: all of its
    parcels get one instant, or none does while a member still waits.
    """
    network = await read_network(session)
    open_places = {code for code, place in network.places.items() if not place.on_hold}
    await waves.guard_docks(session, open_places, patient=True)
    await shipments.drop_unbacked(session)
    now = await business_now(session)
    movable = [row for row in await read_movable(session) if row.parcel.warehouse in open_places]
    wave_of = {row.parcel.shipment_id: row.wave_id for row in movable}
    # A set that is partly in a wave got a new parcel since: it is given a departure anew.
    anew = [
        each
        for bound in bound_together(row.parcel for row in movable)
        if any(wave_of[each.shipment_id] is None for each in bound)
        for each in bound
    ]
    await shipments.put_back(
        session, [each.shipment_id for each in anew if wave_of[each.shipment_id] is not None]
    )
    docks = docks_of(network)
    oldest = min((dock.cut_off.last(now) for dock in docks.values()), default=now)
    departures = plan_departures(
        anew,
        docks=docks,
        taken=await waves.parcels_by_cut_off(session, open_places, since=oldest),
        now=now,
    )
    opened = await waves.board(session, departures.slots)
    return OpenReport(
        waves_opened=opened,
        parcels=sum(len(parcels) for parcels in departures.slots.values()),
        too_large=tuple(departures.too_large),
    )


def docks_of(network: Network) -> dict[str, Dock]:
    """Return what each warehouse can send, and when."""
    return {
        code: Dock(cut_off=place.cut_off, daily_parcels=place.daily_parcels)
        for code, place in network.places.items()
    }


async def read_movable(
    session: AsyncSession, *, warehouse: str | None = None, wave_ids: Collection[UUID] = ()
) -> Sequence[Movable]:
    """Return planned parcels, and those locked in these waves, with what decides their departure.

    A parcel is ready when each of its orders holds a reservation in its warehouse; under the
    policy `whole`, when no live member of the group waits any more either.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "WITH waiting AS (SELECT DISTINCT o.group_id FROM buyer_order o"
            "  WHERE o.state IN ('reserved', 'paid', 'confirmed', 'won') AND o.group_id IN"
            "  (SELECT so.group_id FROM shipment_order so JOIN shipment s ON s.id = so.shipment_id"
            "   WHERE s.state = 'planned' OR s.wave_id = ANY(CAST(:waves AS uuid[]))))"
            " SELECT s.id, s.state = 'locked' AS locked, s.label_error IS NOT NULL AS refused,"
            "  s.label_state = 'purchased' AS labelled, s.wave_id,"
            "  s.warehouse, s.carrier, s.not_before,"
            "  array_agg(DISTINCT g.id) FILTER (WHERE g.warehouse_policy = 'whole') AS ties,"
            "  min(coalesce(g.closed_at, g.opened_at)) AS completed_at,"
            "  max(r.created_at) AS ready_at,"
            "  bool_and(o.state = 'allocated' AND r.id IS NOT NULL"
            "   AND (g.warehouse_policy <> 'whole' OR waiting.group_id IS NULL)) AS ready"
            " FROM shipment s JOIN shipment_order so ON so.shipment_id = s.id"
            " JOIN buyer_order o ON o.id = so.order_id"
            " JOIN buying_group g ON g.id = so.group_id"
            " LEFT JOIN waiting ON waiting.group_id = g.id"
            " LEFT JOIN reservation r ON r.order_id = o.id AND r.state = 'live'"
            "  AND r.warehouse = s.warehouse"
            " WHERE (s.state = 'planned' OR (s.state = 'locked'"
            "  AND s.wave_id = ANY(CAST(:waves AS uuid[]))))"
            " AND (CAST(:warehouse AS text) IS NULL OR s.warehouse = CAST(:warehouse AS text))"
            " GROUP BY s.id"
        ),
        {"warehouse": warehouse, "waves": list(wave_ids)},
    )
    return [
        Movable(
            wave_id=row.wave_id,
            locked=row.locked,
            labelled=row.labelled,
            refused=row.refused,
            parcel=Departing(
                shipment_id=row.id,
                warehouse=row.warehouse,
                carrier=row.carrier,
                ties=frozenset(row.ties or ()),
                ready_at=_moment(row.ready_at, ready=row.ready),
                not_before=row.not_before,
                completed_at=row.completed_at,
            ),
        )
        for row in rows
    ]


def _moment(ready_at: datetime | None, *, ready: bool) -> datetime | None:
    return ready_at if ready else None
