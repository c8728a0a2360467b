"""What becomes of a group when money arrives, a member leaves or its time is over: pure rules.

`held_seats` and `paid_seats` count live seats while a group runs. At success they are frozen (a
later after-sale refund never undoes it); a failed or cancelled group holds none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from groups.states import (
    GroupEvent,
    GroupState,
    LatePayment,
    Mode,
    OrderState,
    advance_group,
)

RUNNING: Final = frozenset({GroupState.DRAFT, GroupState.OPEN, GroupState.CLOSING})
# No new seats once a group is closing.
SEATABLE: Final = frozenset({GroupState.DRAFT, GroupState.OPEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """What the rules need to know of a group, read under its lock."""

    state: GroupState
    mode: Mode
    capacity: int
    min_size: int
    held_seats: int
    paid_seats: int
    late_payment: LatePayment
    past_deadline: bool

    @property
    def live_seats(self) -> int:
        return self.held_seats + self.paid_seats

    @property
    def threshold(self) -> int:
        """Paid seats that are enough at the deadline; only tiered groups may be smaller."""
        return self.min_size if self.mode is Mode.TIERED else self.capacity


class Landing(StrEnum):
    """Where captured money belongs."""

    SEAT = "seat"  # it pays the seat that was held for it
    REOPEN = "reopen"  # the seat was released; it may take one again if the budget allows
    ORPHAN = "orphan"  # no seat: it goes back


def land(order: OrderState, group: GroupView) -> Landing:
    """Return where money for an order in this state goes.

    A seat held past its time is still held: only a release ends the right to pay. Money for an
    order that is paid already, or on its way back, is a second payment and has no seat.
    """
    if order is OrderState.RESERVED and group.state in RUNNING:
        return Landing.SEAT
    reopens = (
        order is OrderState.RELEASED
        and group.late_payment is LatePayment.REOPEN_IF_ROOM
        and group.state in SEATABLE
        and not group.past_deadline
        and group.live_seats < group.capacity
    )
    return Landing.REOPEN if reopens else Landing.ORPHAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A group after one more paid seat."""

    state: GroupState
    held_seats: int
    paid_seats: int
    opened: bool
    succeeded: bool


def count_payment(group: GroupView, *, landing: Landing, leads: bool) -> Counted:
    """Return the group after a seat was paid; the last seat of its capacity completes it.

    Args:
        landing: SEAT turns a held seat into a paid one, REOPEN adds one.
        leads: the payer is the leader, or becomes it because the leader's seat is gone.
    """
    held_seats = group.held_seats - (1 if landing is Landing.SEAT else 0)
    paid_seats = group.paid_seats + 1
    if paid_seats >= group.capacity:
        state = advance_group(group.state, GroupEvent.FILLED)
    elif group.state is GroupState.DRAFT and leads:
        state = advance_group(group.state, GroupEvent.LEADER_PAID)
    else:
        state = group.state
    return Counted(
        state=state,
        held_seats=held_seats,
        paid_seats=paid_seats,
        opened=group.state is GroupState.DRAFT and state in {GroupState.OPEN, GroupState.SUCCEEDED},
        succeeded=state is GroupState.SUCCEEDED,
    )


class Verdict(StrEnum):
    """What to do with a group whose time may be over."""

    WAIT = "wait"
    CLOSE = "close"  # take no new seats and ask the provider
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"  # a draft that nobody is left in


def judge(group: GroupView, *, in_flight: int, grace_over: bool) -> Verdict:
    """Return what becomes of a running group.

    Args:
        in_flight: held seats whose payment the provider has not settled yet.
        grace_over: the provider had its time; whatever arrives later is late money.
    """
    if not group.past_deadline:
        return Verdict.WAIT
    if group.state is GroupState.DRAFT and group.live_seats == 0:
        return Verdict.CANCEL
    if in_flight and not grace_over:
        return Verdict.WAIT if group.state is GroupState.CLOSING else Verdict.CLOSE
    return Verdict.SUCCEED if group.paid_seats >= group.threshold else Verdict.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A live seat of a running group."""

    user_id: UUID
    state: OrderState  # reserved or paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Departed:
    """A group after one or more members left it."""

    state: GroupState
    leader_id: UUID
    opened: bool
    cancelled: bool


def depart(state: GroupState, *, leader_id: UUID, rest: Sequence[Member]) -> Departed:
    """Return the group after members left.

    The leader's place goes to the earliest paid member, else to the earliest who may still pay;
    the deadline stays. A group that nobody is left in is cancelled (a closing one fails by
    itself). A draft whose new leader has paid is open.

    Args:
        rest: members who stay, paid ones first, each kind in the order they came.
    """
    if not rest:
        cancelled = state in SEATABLE
        after = advance_group(state, GroupEvent.ABANDONED) if cancelled else state
        return Departed(state=after, leader_id=leader_id, opened=False, cancelled=cancelled)
    stays = next((member for member in rest if member.user_id == leader_id), None)
    leader = stays or rest[0]
    opened = state is GroupState.DRAFT and leader.state is OrderState.PAID
    return Departed(
        state=advance_group(state, GroupEvent.LEADER_PAID) if opened else state,
        leader_id=leader.user_id,
        opened=opened,
        cancelled=False,
    )


def price_reached(price_fen: int, tiers: Sequence[Mapping[str, int]], *, members: int) -> int:
    """Return what each member pays per quantity in the end.

    Args:
        price_fen: the price paid up front, which no tier exceeds.
        tiers: ladder of {"members", "price_fen"}; order does not matter.

    >>> ladder = [{"members": 3, "price_fen": 900}, {"members": 5, "price_fen": 800}]
    >>> [price_reached(1000, ladder, members=n) for n in (2, 3, 4, 5, 9)]
    [1000, 900, 900, 800, 800]
    """
    reached = [tier["price_fen"] for tier in tiers if tier["members"] <= members]
    return min([price_fen, *reached])


def difference_fen(*, paid_fen: int, final_price_fen: int, quantity: int) -> int:
    """Return what goes back to a member when the final price is known, exact to the fen.

    >>> difference_fen(paid_fen=3000, final_price_fen=899, quantity=3)
    303
    """
    return max(paid_fen - final_price_fen * quantity, 0)
