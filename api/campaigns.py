"""What can be bought, and which groups wait for members."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.deps import Caller, Database
from api.pages import PAGE, Cursor, Limit, cursor_of, position_of, tagged
from api.schemas import Wire
from groups import campaign_reads
from groups.campaign_reads import GroupSort, JoinableGroup, Offer
from groups.states import CampaignState, GroupState, LatePayment, Mode, WarehousePolicy
from kit.errors import NotFound

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])


class TierShown(Wire):
    members: int
    price_fen: int


class CampaignShown(Wire):
    """A campaign; conditions, refund rule and odds are part of it."""

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
    tiers: list[TierShown]
    winners: int | None = Field(description="lottery: winners of a group, out of `capacity`")
    late_payment_policy: LatePayment
    warehouse_policy: WarehousePolicy
    ship_within_seconds: int
    allow_merge: bool
    terms: str
    seats_left: int


class CampaignPage(Wire):
    campaigns: list[CampaignShown]
    next: str | None


class JoinableShown(Wire):
    """A group that has a seat free."""

    id: UUID
    state: GroupState
    capacity: int
    paid: int
    held: int
    missing: int
    price_fen: int
    deadline_at: datetime
    seconds_left: int


class JoinablePage(Wire):
    groups: list[JoinableShown]
    next: str | None


@router.get("", response_model=CampaignPage, summary="What can be bought")
async def list_campaigns(
    request: Request,
    caller: Caller,
    session: Database,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return active campaigns, oldest first."""
    del caller
    after = None if cursor is None else position_of(cursor, UUID)[0]
    found = await campaign_reads.offers(session, after=after, limit=limit)
    page = CampaignPage(
        campaigns=[_shown(offer) for offer in found],
        next=cursor_of(found[-1].id) if len(found) == limit else None,
    )
    return tagged(request, page)


@router.get("/{campaign_id}", response_model=CampaignShown, summary="One campaign")
async def show_campaign(
    request: Request, caller: Caller, session: Database, campaign_id: UUID
) -> Response:
    """Return a campaign that is or was on sale."""
    del caller
    offer = await campaign_reads.offer(session, campaign_id)
    if offer is None:
        raise NotFound("there is nothing here by that name")
    return tagged(request, _shown(offer))


@router.get("/{campaign_id}/groups", response_model=JoinablePage, summary="Groups to join")
async def list_groups(
    request: Request,
    caller: Caller,
    session: Database,
    campaign_id: UUID,
    sort: Annotated[GroupSort, Query()] = GroupSort.FEWEST_MISSING,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return groups that have a seat free."""
    del caller
    if await campaign_reads.offer(session, campaign_id) is None:
        raise NotFound("there is nothing here by that name")
    after: tuple[int, UUID] | None = None
    if cursor is not None:
        missing, last = position_of(cursor, int, UUID)
        after = (missing, last)
    found = await campaign_reads.joinable_groups(
        session, campaign_id, sort=sort, after=after, limit=limit
    )
    page = JoinablePage(
        groups=[_joinable(group) for group in found],
        next=cursor_of(found[-1].missing, found[-1].id) if len(found) == limit else None,
    )
    return tagged(request, page)


def _shown(offer: Offer) -> CampaignShown:
    return CampaignShown(
        id=offer.id,
        code=offer.code,
        version=offer.version,
        sku=offer.sku,
        product=offer.product,
        title=offer.title,
        state=offer.state,
        mode=offer.mode,
        capacity=offer.capacity,
        min_size=offer.min_size,
        window_seconds=offer.window_seconds,
        seat_ttl_seconds=offer.seat_ttl_seconds,
        per_user_limit=offer.per_user_limit,
        units_per_seat=offer.units_per_seat,
        list_price_fen=offer.list_price_fen,
        price_fen=offer.price_fen,
        tiers=[TierShown(members=t.members, price_fen=t.price_fen) for t in offer.tiers],
        winners=offer.winners,
        late_payment_policy=offer.late_payment_policy,
        warehouse_policy=offer.warehouse_policy,
        ship_within_seconds=offer.ship_within_seconds,
        allow_merge=offer.allow_merge,
        terms=offer.terms,
        seats_left=offer.seats_left,
    )


def _joinable(group: JoinableGroup) -> JoinableShown:
    return JoinableShown(
        id=group.id,
        state=group.state,
        capacity=group.capacity,
        paid=group.paid_seats,
        held=group.held_seats,
        missing=group.missing,
        price_fen=group.price_fen,
        deadline_at=group.deadline_at,
        seconds_left=group.seconds_left,
    )
