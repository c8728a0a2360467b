"""What can be bought, and which groups may be joined; keyset pages, one statement each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.states import CampaignState, GroupState, LatePayment, Mode, WarehousePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One step of a ladder: from so many members on, everybody pays this."""

    members: int
    price_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A campaign with the terms of its current version, as buyers see it."""

    id: UUID
    code: str
    version: int
    sku: str
    product: str
    title: str
    state: CampaignState
    mode: Mode
    capacity: int
    min_size: int
    window_seconds: int
    seat_ttl_seconds: int
    per_user_limit: int
    units_per_seat: int
    list_price_fen: int
    price_fen: int
    tiers: tuple[Tier, ...]
    winners: int | None
    late_payment_policy: LatePayment
    warehouse_policy: WarehousePolicy
    ship_within_seconds: int
    allow_merge: bool
    terms: str
    seats_left: int


class GroupSort(StrEnum):
    FEWEST_MISSING = "fewest_missing"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinableGroup:
    """A group that has a seat free."""

    id: UUID
    state: GroupState
    capacity: int
    paid_seats: int
    held_seats: int
    missing: int
    price_fen: int
    deadline_at: datetime
    seconds_left: int


# Seats are whole: 5 free units at 2 a seat are 2 seats; a cap may be lower than what is taken.
_OFFER: Final = """
SELECT c.id, c.code, c.version, c.sku, p.name AS product, c.state, v.title, v.mode, v.capacity,
    v.min_size, v.window_seconds, v.seat_ttl_seconds, v.per_user_limit, v.units_per_seat,
    v.list_price_fen, v.price_fen, v.tiers, v.winners, v.late_payment_policy,
    v.warehouse_policy, v.ship_within_seconds, v.allow_merge, v.terms,
    greatest(0, least((coalesce(b.budget_units, 0) - coalesce(b.claimed_units, 0))
        / v.units_per_seat, b.cap_seats - b.taken_seats)) AS seats_left
FROM campaign AS c
JOIN campaign_version AS v ON v.campaign_id = c.id AND v.version = c.version
JOIN product AS p ON p.sku = c.sku
LEFT JOIN seat_budget AS b ON b.sku = c.sku
"""


_JOINABLE_GROUPS: Final = """
SELECT * FROM (SELECT id, state, capacity, paid_seats, held_seats, price_fen, deadline_at,
        capacity - paid_seats - held_seats AS missing,
        CAST(extract(epoch FROM deadline_at - kit_now()) AS integer) AS seconds_left
    FROM buying_group WHERE campaign_id = :campaign AND state IN ('draft', 'open')
    AND deadline_at > kit_now() AND paid_seats + held_seats < capacity) AS g
WHERE CAST(:last AS uuid) IS NULL OR
"""
_JOINABLE: Final = {
    GroupSort.FEWEST_MISSING: _JOINABLE_GROUPS
    + "(missing, id) > (CAST(:missing AS integer), CAST(:last AS uuid))"
    " ORDER BY missing, id LIMIT :limit",
    GroupSort.NEWEST: _JOINABLE_GROUPS
    + "(id < CAST(:last AS uuid) AND CAST(:missing AS integer) IS NOT NULL)"
    " ORDER BY id DESC LIMIT :limit",
}


async def offers(
    session: AsyncSession, *, after: UUID | None = None, limit: int = 50
) -> list[Offer]:
    """Return active campaigns in the order they were made."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            f"{_OFFER} WHERE c.state = 'active'"
            " AND (CAST(:after AS uuid) IS NULL OR c.id > CAST(:after AS uuid))"
            " ORDER BY c.id LIMIT :limit"
        ),
        {"after": after, "limit": limit},
    )
    return [_offer(row) for row in rows]


async def offer(session: AsyncSession, campaign_id: UUID) -> Offer | None:
    """Return a campaign that is or was on sale, or None."""
    connection = await session.connection()
    row = (
        await connection.execute(
            text(f"{_OFFER} WHERE c.id = :id AND c.state <> 'draft'"), {"id": campaign_id}
        )
    ).one_or_none()
    return None if row is None else _offer(row)


def _offer(row: Row[Any]) -> Offer:
    return Offer(
        id=row.id,
        code=row.code,
        version=row.version,
        sku=row.sku,
        product=row.product,
        title=row.title,
        state=CampaignState(row.state),
        mode=Mode(row.mode),
        capacity=row.capacity,
        min_size=row.min_size,
        window_seconds=row.window_seconds,
        seat_ttl_seconds=row.seat_ttl_seconds,
        per_user_limit=row.per_user_limit,
        units_per_seat=row.units_per_seat,
        list_price_fen=row.list_price_fen,
        price_fen=row.price_fen,
        tiers=_tiers(row.tiers),
        winners=row.winners,
        late_payment_policy=LatePayment(row.late_payment_policy),
        warehouse_policy=WarehousePolicy(row.warehouse_policy),
        ship_within_seconds=row.ship_within_seconds,
        allow_merge=row.allow_merge,
        terms=row.terms,
        seats_left=row.seats_left,
    )


def _tiers(kept: Sequence[dict[str, int]]) -> tuple[Tier, ...]:
    steps = (Tier(members=tier["members"], price_fen=tier["price_fen"]) for tier in kept)
    return tuple(sorted(steps, key=lambda tier: tier.members))


async def joinable_groups(
    session: AsyncSession,
    campaign_id: UUID,
    *,
    sort: GroupSort,
    after: tuple[int, UUID] | None = None,
    limit: int = 50,
) -> list[JoinableGroup]:
    """Return groups of a campaign that have a seat free.

    Args:
        after: (missing, id) of the last group of the page before; `newest` looks at the id only.
    """
    missing, last = after if after is not None else (None, None)
    connection = await session.connection()
    rows = await connection.execute(
        text(_JOINABLE[sort]),
        {"campaign": campaign_id, "missing": missing, "last": last, "limit": limit},
    )
    return [
        JoinableGroup(
            id=row.id,
            state=GroupState(row.state),
            capacity=row.capacity,
            paid_seats=row.paid_seats,
            held_seats=row.held_seats,
            missing=row.missing,
            price_fen=row.price_fen,
            deadline_at=row.deadline_at,
            seconds_left=row.seconds_left,
        )
        for row in rows
    ]
