"""Let waves leave: lock at the cut-off, buy labels, tell the warehouse; each step can be repeated.

What is known is committed before anything depends on it. A run that dies leaves locked waves and
labels `unknown`; the next one looks those up by shipment id, and the wave by wave id, so a label
is bought once and a manifest counts once.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit import outbox, wakeups
from kit.db import transaction
from kit.errors import CaravanError
from kit.leases import lease
from kit.outgoing import AnswerLost, Outgoing, Partner, PartnerRefused, PartnerUnavailable
from logistics import gateway, labels, shipments, waves
from logistics.departures import bound_together
from logistics.gateway import CARRIER, WAREHOUSE, Label, LabelVoided, ManifestLine
from logistics.labels import Refused, Wanted
from logistics.waves import WaveRow
from operations.companies import NoEndpoint, endpoint, open_line
from operations.open_waves import Movable, open_waves, read_movable

LABELS_AT_ONCE: Final = 16
LABELS_A_COMMIT: Final = 200
_RETRY_SECONDS: Final = 20.0  # wall
_VOIDS_A_RUN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveLine:
    """A wave in the report."""

    wave_id: UUID
    warehouse: str
    carrier: str
    cut_off_at: datetime
    number: int
    parcels: int
    outcome: str  # manifested | waiting | emptied


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipReport:
    """What a run did, ready to be shown."""

    waves_opened: int
    waves_locked: int
    waves_manifested: int
    parcels_manifested: int
    labels_bought: int
    labels_found: int
    labels_refused: int
    labels_unknown: int
    labels_voided: int
    put_back: int
    too_large: tuple[UUID, ...]
    lines: tuple[WaveLine, ...]
    problems: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Tally:
    waves_opened: int = 0
    waves_locked: int = 0
    parcels_manifested: int = 0
    labels_bought: int = 0
    labels_found: int = 0
    labels_refused: int = 0
    labels_voided: int = 0
    put_back: int = 0
    too_large: tuple[UUID, ...] = ()
    unknown: set[UUID] = field(default_factory=set)
    lines: list[WaveLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unfinished: bool = False

    def report(self) -> ShipReport:
        return ShipReport(
            waves_opened=self.waves_opened,
            waves_locked=self.waves_locked,
            waves_manifested=sum(line.outcome == "manifested" for line in self.lines),
            parcels_manifested=self.parcels_manifested,
            labels_bought=self.labels_bought,
            labels_found=self.labels_found,
            labels_refused=self.labels_refused,
            labels_unknown=len(self.unknown),
            labels_voided=self.labels_voided,
            put_back=self.put_back,
            too_large=self.too_large,
            lines=tuple(self.lines),
            problems=tuple(self.problems),
        )


async def ship_waves() -> ShipReport:
    """Open waves for what is ready, and let leave what is due; safe to run twice at once.

    A partner that does not answer leaves its waves locked and does not hold up others. What is
    left undone wakes `ship` again.
    """
    tally = _Tally()
    async with open_line() as outgoing:
        async with transaction(long=True) as session:
            opened = await open_waves(session)
        tally.waves_opened, tally.too_large = opened.waves_opened, opened.too_large
        async with transaction() as session:
            warehouses = await waves.due_warehouses(session)
        await asyncio.gather(
            *(_ship_from(outgoing, warehouse, tally=tally) for warehouse in warehouses)
        )
        await _void_left_over(outgoing, tally=tally)
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


async def _ship_from(outgoing: Outgoing, warehouse: str, *, tally: _Tally) -> None:
    asked: dict[str, UUID] = {}  # by carrier: the last shipment this run asked a label for
    fresh: set[UUID] = set()  # waves whose manifest cannot have been sent before this run
    more = True
    while more:
        # Taken anew for every portion, so that a lease is short and a dead holder soon forgotten.
        async with lease(f"ship:{warehouse}") as mine:
            if not mine:
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
    tally: _Tally,
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
            _buy_labels(
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


async def _lock(session: AsyncSession, warehouse: str, *, tally: _Tally) -> set[UUID]:
    """Close the waves whose cut-off has come; what is not whole any more stays behind."""
    await waves.guard_docks(session, [warehouse])
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


# --- labels ---------------------------------------------------------------------------


async def _buy_labels(
    outgoing: Outgoing,
    carrier: str,
    *,
    wave_ids: Sequence[UUID],
    asked: dict[str, UUID],
    tally: _Tally,
) -> bool:
    """Ask for the next labels of a carrier and keep the answers; False when none are left."""
    try:
        partner = await endpoint(CARRIER, carrier)
    except NoEndpoint as error:
        tally.problems.append(str(error))
        return False
    async with transaction() as session:
        wanted = await labels.claim(
            session,
            carrier=carrier,
            wave_ids=wave_ids,
            after=asked.get(carrier),
            limit=LABELS_A_COMMIT,
        )
    if not wanted:
        return False
    places = asyncio.Semaphore(LABELS_AT_ONCE)
    answers = await asyncio.gather(
        *(_ask(outgoing, partner, each, places=places, tally=tally) for each in wanted)
    )
    bought = [answer for answer in answers if isinstance(answer, Label)]
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    async with transaction() as session:
        await labels.record(session, bought=bought, refused=refused)
    known = {label.shipment_id for label in bought} | {no.shipment_id for no in refused}
    tally.unknown |= {each.ticket.shipment_id for each in wanted} - known
    tally.labels_refused += len(refused)
    tally.problems += [f"{carrier}: {answer.reason}" for answer in refused]
    asked[carrier] = wanted[-1].ticket.shipment_id
    return True


async def _ask(
    outgoing: Outgoing,
    carrier: Partner,
    wanted: Wanted,
    *,
    places: asyncio.Semaphore,
    tally: _Tally,
) -> Label | Refused | None:
    """Return the label, or the carrier's no, or None when it cannot be known now."""
    shipment_id = wanted.ticket.shipment_id
    async with places:
        try:
            if not wanted.asked:
                try:
                    label = await gateway.buy_label(outgoing, carrier, wanted.ticket)
                except AnswerLost:
                    pass  # it may be bought: look before asking again
                else:
                    tally.labels_bought += 1
                    return label
            found = await gateway.find_label(outgoing, carrier, shipment_id)
            if found is not None:
                tally.labels_found += 1
                return found
            label = await gateway.buy_label(outgoing, carrier, wanted.ticket)
        except (AnswerLost, PartnerUnavailable):
            return None
        except (PartnerRefused, LabelVoided) as no:
            return Refused(shipment_id=shipment_id, reason=str(no))
        tally.labels_bought += 1
        return label


# --- manifests ------------------------------------------------------------------------


async def _settle_sent(
    outgoing: Outgoing,
    warehouse: str,
    under_way: Iterable[WaveRow],
    *,
    fresh: Collection[UUID],
    tally: _Tally,
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
            tally.lines.append(_line(wave, outcome="waiting"))
            continue
        if heard:
            await _note_manifested(wave, tally=tally)
        else:
            waiting.append(wave)
    return waiting


async def _settle(
    session: AsyncSession, warehouse: str, wave_ids: Sequence[UUID], *, tally: _Tally
) -> None:
    """Take out of locked waves what cannot leave: no label, no goods, or a member without them.

    Parcels that belong together are taken out together and keep the labels they have. They come
    back in a late wave of this cut-off; those that a carrier refused wait for another day.
    """
    await waves.guard_docks(session, [warehouse])
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
    await waves.reopen_empty(session, wave_ids)
    tally.put_back += len(staying)
    tally.unfinished |= len(staying) > len(refused)


def _may_leave(row: Movable) -> bool:
    return row.locked and row.labelled and row.parcel.ready_at is not None


async def _manifest(outgoing: Outgoing, wave: WaveRow, *, tally: _Tally) -> None:
    async with transaction() as session:
        lines = await _manifest_lines(session, wave.id)
    if not lines:
        tally.lines.append(_line(wave, outcome="emptied"))
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
        tally.lines.append(_line(wave, outcome="waiting"))
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


async def _note_manifested(wave: WaveRow, *, tally: _Tally) -> None:
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
    tally.lines.append(_line(wave, outcome="manifested", parcels=parcels))


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


def _line(wave: WaveRow, *, outcome: str, parcels: int | None = None) -> WaveLine:
    return WaveLine(
        wave_id=wave.id,
        warehouse=wave.warehouse,
        carrier=wave.carrier,
        cut_off_at=wave.cut_off_at,
        number=wave.number,
        parcels=wave.parcels if parcels is None else parcels,
        outcome=outcome,
    )


async def _void_left_over(outgoing: Outgoing, *, tally: _Tally) -> None:
    """Give back the labels of parcels that were cancelled after theirs was bought."""
    async with transaction() as session:
        left_over = await labels.superfluous(session, limit=_VOIDS_A_RUN)
    done: list[UUID] = []
    for shipment_id, carrier, label_id in left_over:
        try:
            partner = await endpoint(CARRIER, carrier)
            known = label_id
            if known is None:
                found = await gateway.find_label(outgoing, partner, shipment_id)
                known = None if found is None else found.label_id
            if known is not None:
                await gateway.void_label(outgoing, partner, known)
            done.append(shipment_id)
        except LabelVoided:
            done.append(shipment_id)
        except (AnswerLost, CaravanError) as error:
            tally.problems.append(f"label of {shipment_id}: {error}")
    async with transaction() as session:
        await labels.set_voided(session, done)
    tally.labels_voided += len(done)
