"""Decides a batch of requests for seats exactly as if they had come one after another.

Facts in, answers out: no clock, no database. The facts were read under the locks of every budget
and group they name, so what is decided here is true when it is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from groups.seat_facts import (
    Ask,
    Budget,
    Decision,
    Facts,
    Fault,
    GroupFacts,
    Holding,
    KeyName,
    Reason,
    Refused,
    Released,
    Repeated,
    RepeatedInBatch,
    Seat,
)
from groups.states import CampaignState, GroupState, Mode

# A seat whose time to pay has passed is given up before somebody is refused for one of these.
ROOM: Final = frozenset({Reason.GROUP_FULL, Reason.SEAT_CAP, Reason.OUT_OF_STOCK})
_JOINABLE: Final = frozenset({GroupState.DRAFT, GroupState.OPEN})


@dataclass(slots=True)
class _Room:
    """Counts of one budget that move while the batch is decided."""

    free_units: int
    free_seats: int | None  # None: no cap

    def refusal(self, *, units: int) -> Reason | None:
        if self.free_seats is not None and self.free_seats < 1:
            return Reason.SEAT_CAP
        return Reason.OUT_OF_STOCK if self.free_units < units else None

    def take(self, *, units: int) -> None:
        self.free_units -= units
        if self.free_seats is not None:
            self.free_seats -= 1


@dataclass(slots=True)
class _Members:
    """Counts of one group that move while the batch is decided."""

    held_seats: int
    progress: int


_NOTHING: Final = Holding(quantity=0, groups=frozenset())
_NO_ROOM: Final = Budget(budget_units=0, claimed_units=0, cap_seats=None, taken_seats=0)


class _Books:
    """The facts, and what earlier requests of the batch changed in them."""

    def __init__(self, facts: Facts, make_id: Callable[[], UUID]) -> None:
        self.facts = facts
        self.make_id = make_id
        self.members = {
            group_id: _Members(held_seats=group.held_seats, progress=group.progress)
            for group_id, group in facts.groups.items()
        }
        self.rooms: dict[str, _Room] = {}
        self.holdings = dict(facts.holdings)
        self.answered: dict[KeyName, tuple[bytes, int]] = {}

    def room(self, sku: str) -> _Room:
        room = self.rooms.get(sku)
        if room is None:
            budget = self.facts.budgets.get(sku, _NO_ROOM)
            cap = budget.cap_seats
            room = self.rooms[sku] = _Room(
                free_units=budget.budget_units - budget.claimed_units,
                free_seats=None if cap is None else cap - budget.taken_seats,
            )
        return room

    def decide(self, ask: Ask, index: int) -> Decision:
        earlier = self.answered.get(ask.key)
        if earlier is not None:
            same = earlier[0] == ask.fingerprint
            return RepeatedInBatch(earlier[1]) if same else Fault.KEY_REUSED
        kept = self.facts.kept.get(ask.key)
        if kept is not None:
            return Repeated(kept) if kept.fingerprint == ask.fingerprint else Fault.KEY_REUSED
        decision = self._open(ask) if ask.group_id is None else self._join(ask, ask.group_id)
        if not isinstance(decision, Fault):
            self.answered[ask.key] = (ask.fingerprint, index)
        return decision

    def _join(self, ask: Ask, group_id: UUID) -> Decision:
        group = self.facts.groups.get(group_id)
        if group is None:
            return Fault.UNKNOWN
        owner = (ask.user_id, group.campaign_id)
        holding = self.holdings.get(owner, _NOTHING)
        members = self.members[group_id]
        units = ask.quantity * group.units_per_seat
        reason = self._join_refusal(ask, group_id, group, holding, members, units)
        if reason is not None:
            return Refused(reason)
        self.room(group.sku).take(units=units)
        self._hold(owner, holding, group_id, ask.quantity)
        empty = members.held_seats + group.paid_seats == 0
        members.held_seats += 1
        members.progress += 1
        return Seat(
            order_id=self.make_id(),
            group_id=group_id,
            opened=False,
            leads=empty,
            campaign_id=group.campaign_id,
            version=None,
            sku=group.sku,
            mode=group.mode,
            quantity=ask.quantity,
            units=units,
            price_fen=group.price_fen,
            reserved_until=self.facts.now + timedelta(seconds=group.seat_ttl_seconds),
            state=group.state,
            capacity=group.capacity,
            min_size=group.min_size,
            held_seats=members.held_seats,
            paid_seats=group.paid_seats,
            progress=members.progress,
            deadline_at=group.deadline_at,
        )

    def _join_refusal(
        self,
        ask: Ask,
        group_id: UUID,
        group: GroupFacts,
        holding: Holding,
        members: _Members,
        units: int,
    ) -> Reason | None:
        if group_id in holding.groups:
            return Reason.ALREADY_MEMBER
        if not joinable(group, now=self.facts.now):
            return Reason.GROUP_CLOSED
        campaign = self.facts.campaigns.get(group.campaign_id)
        if campaign is not None and campaign.state is CampaignState.PAUSED:
            return Reason.CAMPAIGN_PAUSED
        if _over_limit(ask, holding, limit=group.per_user_limit, mode=group.mode):
            return Reason.USER_LIMIT
        if members.held_seats + group.paid_seats >= group.capacity:
            return Reason.GROUP_FULL
        return self.room(group.sku).refusal(units=units)

    def _open(self, ask: Ask) -> Decision:
        if ask.campaign_id is None:
            return Fault.UNKNOWN
        campaign = self.facts.campaigns.get(ask.campaign_id)
        if campaign is None or campaign.state is CampaignState.DRAFT:
            return Fault.UNKNOWN
        owner = (ask.user_id, ask.campaign_id)
        holding = self.holdings.get(owner, _NOTHING)
        units = ask.quantity * campaign.units_per_seat
        reason: Reason | None
        if campaign.state is not CampaignState.ACTIVE:
            reason = Reason.CAMPAIGN_PAUSED
        elif _over_limit(ask, holding, limit=campaign.per_user_limit, mode=campaign.mode):
            reason = Reason.USER_LIMIT
        else:
            reason = self.room(campaign.sku).refusal(units=units)
        if reason is not None:
            return Refused(reason)
        self.room(campaign.sku).take(units=units)
        group_id = self.make_id()
        self._hold(owner, holding, group_id, ask.quantity)
        return Seat(
            order_id=self.make_id(),
            group_id=group_id,
            opened=True,
            leads=True,
            campaign_id=ask.campaign_id,
            version=campaign.version,
            sku=campaign.sku,
            mode=campaign.mode,
            quantity=ask.quantity,
            units=units,
            price_fen=campaign.price_fen,
            reserved_until=self.facts.now + timedelta(seconds=campaign.seat_ttl_seconds),
            state=GroupState.DRAFT,
            capacity=campaign.capacity,
            min_size=campaign.min_size,
            held_seats=1,
            paid_seats=0,
            progress=1,
            deadline_at=self.facts.now + timedelta(seconds=campaign.window_seconds),
        )

    def _hold(
        self, owner: tuple[UUID, UUID], holding: Holding, group_id: UUID, quantity: int
    ) -> None:
        self.holdings[owner] = Holding(
            quantity=holding.quantity + quantity, groups=holding.groups | {group_id}
        )


def _over_limit(ask: Ask, holding: Holding, *, limit: int, mode: Mode) -> bool:
    if mode is Mode.LOTTERY and ask.quantity > 1:
        return True
    return holding.quantity + ask.quantity > limit


def decide(asks: Sequence[Ask], facts: Facts, *, make_id: Callable[[], UUID]) -> list[Decision]:
    """Return one decision for each request, each made after those before it took effect."""
    books = _Books(facts, make_id)
    return [books.decide(ask, index) for index, ask in enumerate(asks)]


def joinable(group: GroupFacts, *, now: datetime) -> bool:
    """Return whether the group takes members at all; it may be full."""
    return group.state in _JOINABLE and now < group.deadline_at


def wants_room(decisions: Sequence[Decision]) -> bool:
    """Return whether somebody would be refused for what an unpaid, expired seat may free."""
    return any(isinstance(decision, Refused) and decision.reason in ROOM for decision in decisions)


def without(facts: Facts, released: Sequence[Released]) -> Facts:
    """Return the facts after held seats were given up."""
    groups, budgets = dict(facts.groups), dict(facts.budgets)
    holdings = dict(facts.holdings)
    for seat in released:
        budget = budgets.get(seat.sku)
        if budget is not None:
            budgets[seat.sku] = replace(
                budget,
                claimed_units=budget.claimed_units - seat.claim_units,
                taken_seats=budget.taken_seats - 1,
            )
        group = groups.get(seat.group_id)
        if group is not None:
            groups[seat.group_id] = replace(
                group,
                held_seats=group.held_seats - 1,
                progress=group.progress + 1,
                state=seat.group_state,
                deadline_at=seat.deadline_at,
            )
        owner = (seat.user_id, seat.campaign_id)
        holding = holdings.get(owner)
        if holding is not None and seat.group_id in holding.groups:
            holdings[owner] = Holding(
                quantity=holding.quantity - seat.quantity,
                groups=holding.groups - {seat.group_id},
            )
    return replace(facts, groups=groups, budgets=budgets, holdings=holdings)
