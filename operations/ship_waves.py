"""Let waves leave: lock at the cut-off, buy labels, tell the warehouse; each step can be repeated.

What is known is committed before anything depends on it. A run that dies leaves locked waves and
labels `unknown`; the next one looks those up by shipment id, and the wave by wave id, so a label
is bought once and a manifest counts once.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit import outbox, wakeups
from kit.db import transaction
from kit.errors import CaravanError
from kit.leases import lease
from kit.outgoing import AnswerLost, Outgoing, Partner, PartnerUnavailable
from logistics import gateway, labels, shipments, waves
from logistics.departures import bound_together
from logistics.gateway import WAREHOUSE, ManifestLine
from logistics.waves import WaveRow
from operations.buy_labels import buy_labels, void_left_over
from operations.companies import endpoint, open_line
from operations.open_waves import Movable, open_waves, read_movable
from operations.ship_report import ShipReport, Tally, line_of

_RETRY_SECONDS: Final = 10.0  # wall


async def ship_waves() -> ShipReport:
    """Open waves for what is ready, and let leave what is due; safe to run twice at once.

    A partner that does not answer leaves its waves locked and does not hold up others. What is
    left undone wakes `ship` again.
    """
    tally = Tally()
    async with open_line() as outgoing:
        async with transaction(long=True) as session:
            opened = await open_waves(session)
        tally.waves_opened, tally.too_large = opened.waves_opened, opened.too_large
        async with transaction() as session:
            warehouses = await waves.due_warehouses(session)
        await asyncio.gather(
            *(_ship_from(outgoing, warehouse, tally=tally) for warehouse in warehouses)
        )
        await void_left_over(outgoing, tally=tally)
    async with transaction() as session:
        if tally.unfinished:
            await wakeups.wake(session, "ship", reason="parcels wait", delay_seconds=_RETRY_SECONDS)
        if tally.waves_locked:
            # Another day's places are free for groups that waited for one.
            await wakeups.wake(session, "fulfil", reason="waves left")
    return tally.report()


async def next_cut_off(session: AsyncSession) -> datetime | None:
    """Return when `ship_waves` has work next (it may be past); None when nothing waits."""
    return await waves.next_cut_off(session)


async def _ship_from(outgoing: Outgoing, warehouse: str, *, tally: Tally) -> None:
    asked: dict[str, UUID] = {}  # by carrier: the last shipment this run asked a label for
    fresh: set[UUID] = set()  # waves whose manifest cannot have been sent before this run
    more = True
    while more:
        # Taken anew for every portion, so that a lease is short and a dead holder soon forgotten.
        async with lease(f"ship:{warehouse}") as mine:
            if not mine:
                # Its holder may have died at it.
                tally.unfinished = True
                return
            try:
                more = await _portion(outgoing, warehouse, asked=asked, fresh=fresh, tally=tally)
            except CaravanError as error:
                tally.problems.append(f"{warehouse}: {error}")
                tally.unfinished = True
                return


async def _portion(
    outgoing: Outgoing,
    warehouse: str,
    *,
    asked: dict[str, UUID],
    fresh: set[UUID],
    tally: Tally,
) -> bool:
    """Lock what is due and buy a portion of labels; when none is left, tell the warehouse.

    Returns whether there are more labels to buy.
    """
    async with transaction(long=True) as session:
        fresh |= await _lock(session, warehouse, tally=tally)
        under_way = await waves.locked_waves(session, warehouse)
        carriers = await labels.carriers_wanted(session, [wave.id for wave in under_way])
    portions = await asyncio.gather(
        *(
            buy_labels(
                outgoing,
                carrier,
                wave_ids=[wave.id for wave in under_way],
                asked=asked,
                tally=tally,
            )
            for carrier in carriers
        )
    )
    if any(portions):
        return True
    waiting = await _settle_sent(outgoing, warehouse, under_way, fresh=fresh, tally=tally)
    async with transaction(long=True) as session:
        await _settle(session, warehouse, [wave.id for wave in waiting], tally=tally)
    for wave in waiting:
        await _manifest(outgoing, wave, tally=tally)
    return False


async def _lock(session: AsyncSession, warehouse: str, *, tally: Tally) -> set[UUID]:
    """Close the waves whose cut-off has come; what is not whole any more stays behind."""
    await waves.guard_docks(session, [warehouse], patient=True)
    if await _on_hold(session, warehouse):
        return set()
    due = {wave.id for wave in await waves.lock_due(session, warehouse)}
    if not due:
        return set()
    await shipments.drop_unbacked(session)
    movable = {
        row.parcel.shipment_id: row for row in await read_movable(session, warehouse=warehouse)
    }
    staying = [
        each.shipment_id
        for bound in bound_together(row.parcel for row in movable.values())
        if not all(
            each.ready_at is not None and movable[each.shipment_id].wave_id in due for each in bound
        )
        for each in bound
        if movable[each.shipment_id].wave_id in due
    ]
    await shipments.put_back(session, staying)
    tally.put_back += len(staying)
    tally.unfinished |= bool(staying)
    await waves.set_locked(session, due)
    tally.waves_locked += len(due)
    return due


async def _on_hold(session: AsyncSession, warehouse: str) -> bool:
    connection = await session.connection()
    held = await connection.execute(
        text("SELECT on_hold FROM warehouse WHERE code = :code"), {"code": warehouse}
    )
    return bool(held.scalar_one())


async def _settle_sent(
    outgoing: Outgoing,
    warehouse: str,
    under_way: Iterable[WaveRow],
    *,
    fresh: Collection[UUID],
    tally: Tally,
) -> list[WaveRow]:
    """Note waves that an earlier run's manifest reached; return those that it did not reach.

    It is asked before anything is taken out of a wave: a list that the warehouse has does not
    change any more. A wave that cannot be asked about now stays as it is.
    """
    waiting: list[WaveRow] = []
    partner: Partner | None = None
    for wave in under_way:
        if wave.id in fresh:
            waiting.append(wave)
            continue
        partner = partner or await endpoint(WAREHOUSE, warehouse)
        try:
            heard = await gateway.is_manifested(outgoing, partner, wave.id)
        except PartnerUnavailable as error:
            tally.problems.append(str(error))
            tally.unfinished = True
            tally.lines.append(line_of(wave, outcome="waiting"))
            continue
        if heard:
            await _note_manifested(wave, tally=tally)
        else:
            waiting.append(wave)
    return waiting


async def _settle(
    session: AsyncSession, warehouse: str, wave_ids: Sequence[UUID], *, tally: Tally
) -> None:
    """Take out of locked waves what cannot leave: no label, no goods, or a member without them.

    Parcels that belong together are taken out together and keep the labels they have. They come
    back in a late wave of this cut-off; those that a carrier refused wait for another day.
    """
    await waves.guard_docks(session, [warehouse], patient=True)
    await shipments.drop_unbacked(session, wave_ids=wave_ids)
    rows = {
        row.parcel.shipment_id: row
        for row in await read_movable(session, warehouse=warehouse, wave_ids=wave_ids)
    }
    failing = [
        bound
        for bound in bound_together(row.parcel for row in rows.values())
        if any(rows[each.shipment_id].locked for each in bound)
        and not all(_may_leave(rows[each.shipment_id]) for each in bound)
    ]
    staying = [each.shipment_id for bound in failing for each in bound]
    refused = [
        each.shipment_id
        for bound in failing
        if any(rows[other.shipment_id].refused for other in bound)
        for each in bound
    ]
    await shipments.put_back(session, staying, another_day=refused)
    await waves.cancel_empty(session, wave_ids)
    tally.put_back += len(staying)
    tally.unfinished |= len(staying) > len(refused)


def _may_leave(row: Movable) -> bool:
    return row.locked and row.labelled and row.parcel.ready_at is not None


async def _manifest(outgoing: Outgoing, wave: WaveRow, *, tally: Tally) -> None:
    async with transaction() as session:
        lines = await _manifest_lines(session, wave.id)
    if not lines:
        tally.lines.append(line_of(wave, outcome="emptied"))
        return
    try:
        partner = await endpoint(WAREHOUSE, wave.warehouse)
        try:
            await gateway.send_manifest(
                outgoing,
                partner,
                wave_id=wave.id,
                carrier=wave.carrier,
                cut_off_at=wave.cut_off_at,
                lines=lines,
            )
        except AnswerLost:
            if not await gateway.is_manifested(outgoing, partner, wave.id):
                raise
    except CaravanError as error:
        tally.problems.append(f"wave {wave.id}: {error}")
        tally.unfinished = True
        tally.lines.append(line_of(wave, outcome="waiting"))
        return
    await _note_manifested(wave, tally=tally)


async def _manifest_lines(session: AsyncSession, wave_id: UUID) -> list[ManifestLine]:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT s.id, s.tracking_no, so.sku, sum(so.units) AS units FROM shipment s"
            " JOIN shipment_order so ON so.shipment_id = s.id WHERE s.wave_id = :wave"
            " AND s.state = 'locked' GROUP BY s.id, so.sku ORDER BY s.id, so.sku"
        ),
        {"wave": wave_id},
    )
    picked: dict[tuple[UUID, str], list[tuple[str, int]]] = {}
    for row in rows:
        picked.setdefault((row.id, row.tracking_no), []).append((row.sku, int(row.units)))
    return [
        ManifestLine(shipment_id=shipment_id, tracking_no=tracking_no, lines=tuple(lines))
        for (shipment_id, tracking_no), lines in picked.items()
    ]


async def _note_manifested(wave: WaveRow, *, tally: Tally) -> None:
    async with transaction() as session:
        if not await waves.set_manifested(session, wave.id):
            return
        await waves.recount(session, wave_ids=[wave.id])
        parcels = await _parcels(session, wave.id)
        await outbox.emit(
            session,
            [
                outbox.Fact(
                    topic="wave.manifested",
                    key=str(wave.id),
                    body={**_told(wave), "parcels": parcels},
                )
            ],
        )
    tally.parcels_manifested += parcels
    tally.lines.append(line_of(wave, outcome="manifested", parcels=parcels))


async def _parcels(session: AsyncSession, wave_id: UUID) -> int:
    connection = await session.connection()
    found = await connection.execute(
        text("SELECT parcels FROM wave WHERE id = :id"), {"id": wave_id}
    )
    return int(found.scalar_one())


def _told(wave: WaveRow) -> Mapping[str, str | int]:
    return {
        "wave_id": str(wave.id),
        "warehouse": wave.warehouse,
        "carrier": wave.carrier,
        "cut_off_at": wave.cut_off_at.isoformat(),
        "number": wave.number,
    }
