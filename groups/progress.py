"""How far groups are: what members see, and how likely forming groups are to complete."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import GroupState, Mode

# A group that has just opened says nothing yet: as if it had been joined once in this long.
PRIOR_SECONDS: Final = 3_600
_SHOWN_MEMBERS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTier:
    """The next step of a ladder."""

    members: int
    price_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMember:
    """A member as the others see them."""

    name: str  # masked
    leader: bool
    paid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A group as its page shows it; `version` rises with every visible change."""

    group_id: UUID
    campaign_id: UUID
    sku: str
    state: GroupState
    paid: int
    held: int
    capacity: int
    min_size: int
    price_fen: int
    final_price_fen: int | None
    next_tier: NextTier | None
    deadline_at: datetime
    seconds_left: int
    members: tuple[SeenMember, ...]
    version: int


async def read_progress(session: AsyncSession, group_id: UUID) -> Progress | None:
    """Return a group's progress, or None when there is no such group; one statement."""
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "SELECT g.id, g.campaign_id, g.sku, g.state, g.paid_seats, g.held_seats,"
                " g.capacity, g.min_size, g.price_fen, g.final_price_fen, g.mode, g.deadline_at,"
                " g.progress, extract(epoch FROM g.deadline_at - kit_now()) AS seconds_left,"
                " CASE WHEN g.mode = 'tiered' THEN (SELECT v.tiers FROM campaign_version v"
                "  WHERE v.campaign_id = g.campaign_id AND v.version = g.version) END AS tiers,"
                " (SELECT coalesce(jsonb_agg(jsonb_build_array(u.openid, o.user_id = g.leader_id,"
                "   o.state <> 'reserved') ORDER BY o.id), '[]') FROM (SELECT * FROM buyer_order"
                "   WHERE group_id = g.id AND state IN ('reserved','paid','confirmed','won',"
                "   'allocated','shipped','delivered') ORDER BY id LIMIT :shown) o"
                "   JOIN buyer u ON u.id = o.user_id) AS members"
                " FROM buying_group g WHERE g.id = :id"
            ),
            {"id": group_id, "shown": _SHOWN_MEMBERS},
        )
    ).one_or_none()
    if row is None:
        return None
    return Progress(
        group_id=row.id,
        campaign_id=row.campaign_id,
        sku=row.sku,
        state=GroupState(row.state),
        paid=row.paid_seats,
        held=row.held_seats,
        capacity=row.capacity,
        min_size=row.min_size,
        price_fen=row.price_fen,
        final_price_fen=row.final_price_fen,
        next_tier=next_tier(row.tiers or (), members=row.paid_seats)
        if Mode(row.mode) is Mode.TIERED
        else None,
        deadline_at=row.deadline_at,
        seconds_left=max(int(row.seconds_left), 0),
        members=tuple(
            SeenMember(name=masked(openid), leader=leader, paid=paid)
            for openid, leader, paid in row.members
        ),
        version=row.progress,
    )


def masked(name: str) -> str:
    """Return a name that its bearer recognises and nobody else.

    >>> masked("liming"), masked("li"), masked("")
    ('l***g', 'l***', '***')
    """
    if not name:
        return "***"
    return f"{name[0]}***{name[-1]}" if len(name) > 2 else f"{name[0]}***"  # noqa: PLR2004 - two letters


def next_tier(tiers: Sequence[dict[str, int]], *, members: int) -> NextTier | None:
    """Return the first step of the ladder that `members` do not reach.

    >>> next_tier([{"members": 5, "price_fen": 800}, {"members": 3, "price_fen": 900}], members=3)
    NextTier(members=5, price_fen=800)
    """
    ahead = [tier for tier in tiers if tier["members"] > members]
    if not ahead:
        return None
    nearest = min(ahead, key=lambda tier: tier["members"])
    return NextTier(members=nearest["members"], price_fen=nearest["price_fen"])


def completion_probability(
    *, taken_seats: int, needed_seats: int, age_seconds: float, left_seconds: float
) -> float:
    """Return how likely a forming group is to find its missing members in time.

    Members are taken to come evenly (a Poisson process) at the rate seen since the group opened;
    the first member is the one who opened it and says nothing of the rate. `PRIOR_SECONDS` and
    one join are added so that a young group is neither certain nor hopeless.

    >>> completion_probability(taken_seats=3, needed_seats=3, age_seconds=60, left_seconds=60)
    1.0
    >>> round(completion_probability(
    ...     taken_seats=2, needed_seats=3, age_seconds=3600, left_seconds=3600), 3)
    0.632
    """
    missing = needed_seats - taken_seats
    if missing <= 0:
        return 1.0
    if left_seconds <= 0:
        return 0.0
    joins = max(taken_seats - 1, 0) + 1
    expected = joins / (max(age_seconds, 0.0) + PRIOR_SECONDS) * left_seconds
    term = math.exp(-expected)
    fewer = 0.0
    for count in range(missing):
        fewer += term
        term *= expected / (count + 1)
    return min(max(1.0 - fewer, 0.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormingDemand:
    """Units that members of one forming group hold claims on, and how likely they are needed."""

    sku: str
    units: int
    probability: float


async def forming(session: AsyncSession) -> list[FormingDemand]:
    """Return the live claims of every group that is still forming."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT g.sku, sum(o.claim_units) AS units, g.mode, g.capacity, g.min_size,"
            " g.held_seats + g.paid_seats AS taken,"
            " extract(epoch FROM kit_now() - g.opened_at) AS age,"
            " extract(epoch FROM g.deadline_at - kit_now()) AS time_left"
            " FROM buying_group g JOIN buyer_order o ON o.group_id = g.id"
            " WHERE g.state IN ('draft','open','closing') AND o.state IN ('reserved','paid')"
            " GROUP BY g.id HAVING sum(o.claim_units) > 0 ORDER BY g.id"
        )
    )
    return [
        FormingDemand(
            sku=row.sku,
            units=row.units,
            probability=completion_probability(
                taken_seats=row.taken,
                needed_seats=row.min_size if row.mode == Mode.TIERED else row.capacity,
                age_seconds=float(row.age),
                left_seconds=float(row.time_left),
            ),
        )
        for row in rows
    ]
