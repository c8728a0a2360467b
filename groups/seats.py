"""Locks, reads, releases and writes for a batch of seats; each one statement for all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from groups.seat_facts import (
    Ask,
    Budget,
    CampaignFacts,
    Facts,
    GroupFacts,
    Holding,
    Kept,
    KeyName,
    Released,
    Seat,
)
from groups.seat_statements import LOCK, READ, RELEASE, WRITE
from groups.states import CampaignState, GroupState, Mode
from kit.errors import LostRace

# Seats given up at once for the sake of one batch, in its own groups and in others of the SKU.
_RELEASE_AT_MOST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A journal line of an order."""

    id: UUID
    order_id: UUID
    group_id: UUID
    kind: str
    detail: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A message for the outbox; the body is JSON."""

    id: UUID
    topic: str
    key: str
    body: str


@dataclass(slots=True)
class Sheet:
    """Everything a batch writes at once."""

    now: datetime
    kept: list[tuple[KeyName, Kept]] = field(default_factory=list)
    seats: list[tuple[Ask, Seat]] = field(default_factory=list)
    journal: list[Line] = field(default_factory=list)
    outbox: list[Note] = field(default_factory=list)


async def _run(session: AsyncSession, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    # The driver's own parameters: the compiler of text() would cost as much as the statement.
    connection = await session.connection()
    return [tuple(row) for row in await connection.exec_driver_sql(statement, values)]


async def lock(
    session: AsyncSession, *, group_ids: Sequence[UUID], campaign_ids: Sequence[UUID]
) -> tuple[dict[str, Budget], dict[UUID, GroupFacts], dict[UUID, CampaignFacts]]:
    """Lock the budgets, then the groups, and return them with their campaigns as they are now.

    Args:
        group_ids: ascending, as rows are locked.
    """
    budgets: dict[str, Budget] = {}
    groups: dict[UUID, GroupFacts] = {}
    campaigns: dict[UUID, CampaignFacts] = {}
    for row in await _run(session, LOCK, list(group_ids), list(campaign_ids)):
        kind, row_id, campaign_id, sku, mode, state, a, b, c, d, e, f, g, h, i, deadline = row
        if kind == "budget":
            budgets[sku] = Budget(budget_units=a, claimed_units=b, cap_seats=c, taken_seats=d)
        elif kind == "group":
            groups[row_id] = GroupFacts(
                campaign_id=campaign_id,
                sku=sku,
                mode=Mode(mode),
                state=GroupState(state),
                capacity=a,
                min_size=b,
                price_fen=c,
                units_per_seat=d,
                per_user_limit=e,
                seat_ttl_seconds=f,
                held_seats=g,
                paid_seats=h,
                progress=i,
                deadline_at=deadline,
            )
        else:
            campaigns[row_id] = CampaignFacts(
                sku=sku,
                mode=Mode(mode),
                state=CampaignState(state),
                capacity=a,
                min_size=b,
                price_fen=c,
                units_per_seat=d,
                per_user_limit=e,
                seat_ttl_seconds=f,
                window_seconds=g,
                version=h,
            )
    return budgets, groups, campaigns


async def read(
    session: AsyncSession,
    asks: Sequence[Ask],
    *,
    budgets: Mapping[str, Budget],
    groups: Mapping[UUID, GroupFacts],
    campaigns: Mapping[UUID, CampaignFacts],
) -> Facts:
    """Return the facts of a batch; call it under the locks, in a statement of its own."""
    places = [_campaign_of(ask, groups) for ask in asks]
    rows = await _run(
        session,
        READ,
        [ask.key[0] for ask in asks],
        [ask.key[1] for ask in asks],
        [ask.key[2] for ask in asks],
        [ask.user_id for ask in asks],
        places,
    )
    holdings: dict[tuple[UUID, UUID], Holding] = {}
    kept: dict[KeyName, Kept] = {}
    for _, ordinal, body_hash, status, answer, in_groups, quantity in rows:
        if ordinal is None:
            continue
        ask, campaign_id = asks[ordinal - 1], places[ordinal - 1]
        if status is not None:
            kept[ask.key] = Kept(fingerprint=body_hash, status=status, answer=answer)
        if quantity is not None and campaign_id is not None:
            holdings[ask.user_id, campaign_id] = Holding(
                quantity=quantity, groups=frozenset(in_groups)
            )
    return Facts(
        now=rows[0][0],
        budgets=budgets,
        groups=groups,
        campaigns=campaigns,
        holdings=holdings,
        kept=kept,
    )


def _campaign_of(ask: Ask, groups: Mapping[UUID, GroupFacts]) -> UUID | None:
    if ask.group_id is None:
        return ask.campaign_id
    group = groups.get(ask.group_id)
    return None if group is None else group.campaign_id


async def release_expired(
    session: AsyncSession, *, group_ids: Sequence[UUID], skus: Sequence[str]
) -> list[Released]:
    """Give up unpaid seats whose time has passed, in locked groups and in others of the SKUs.

    Args:
        group_ids: locked and joinable.
    """
    rows = await _run(session, RELEASE, list(group_ids), list(skus), _RELEASE_AT_MOST)
    return [
        Released(
            order_id=row[0],
            user_id=row[1],
            group_id=row[2],
            campaign_id=row[3],
            sku=row[4],
            quantity=row[5],
            claim_units=row[6],
            group_state=GroupState(row[7]),
            deadline_at=row[8],
            opened=row[9],
        )
        for row in rows
    ]


async def write(session: AsyncSession, sheet: Sheet) -> None:
    """Write everything the batch decided.

    Raises:
        LostRace: a budget or group was not as it was read, which its lock forbids.
    """
    seats = sheet.seats
    opened = [(ask, seat) for ask, seat in seats if seat.opened]
    joined: dict[UUID, int] = {}
    leaders: dict[UUID, UUID] = {}
    claims: dict[str, list[int]] = {}
    for ask, seat in seats:
        if not seat.opened:
            joined[seat.group_id] = joined.get(seat.group_id, 0) + 1
            if seat.leads:
                leaders[seat.group_id] = ask.user_id
        claim = claims.setdefault(seat.sku, [0, 0])
        claim[0] += seat.units
        claim[1] += 1
    row = (
        await _run(
            session,
            WRITE,
            *_columns([(*name, k.fingerprint, k.status, k.answer) for name, k in sheet.kept], 6),
            *_columns([_order_row(ask, seat) for ask, seat in seats], 12),
            *_columns([_line_row(line) for line in sheet.journal], 5),
            [note.id for note in sheet.outbox],
            [note.topic for note in sheet.outbox],
            *_columns([_group_row(ask, seat) for ask, seat in opened], 6),
            sheet.now,
            [note.key for note in sheet.outbox],
            [note.body for note in sheet.outbox],
            list(joined),
            list(joined.values()),
            [leaders.get(group_id) for group_id in joined],
            list(claims),
            [claim[0] for claim in claims.values()],
            [claim[1] for claim in claims.values()],
        )
    )[0]
    if list(row) != [len(joined), len(claims)]:
        raise LostRace("a seat's group or budget changed under its lock")


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * width


def _line_row(line: Line) -> tuple[Any, ...]:
    return (line.id, line.order_id, line.group_id, line.kind, line.detail)


def _order_row(ask: Ask, seat: Seat) -> tuple[Any, ...]:
    return (
        seat.order_id,
        seat.group_id,
        seat.campaign_id,
        ask.user_id,
        seat.sku,
        seat.quantity,
        seat.units,
        seat.price_fen,
        ask.province,
        ask.city,
        ask.address,
        seat.reserved_until,
    )


def _group_row(ask: Ask, seat: Seat) -> tuple[Any, ...]:
    return (
        seat.group_id,
        seat.campaign_id,
        seat.version,
        seat.sku,
        ask.user_id,
        seat.deadline_at,
    )
