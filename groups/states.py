"""The states of campaigns, groups and orders, and the tables of their transitions."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kit.errors import Conflict


class CampaignState(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class Mode(StrEnum):
    FIXED = "fixed"
    TIERED = "tiered"
    LOTTERY = "lottery"


class LatePayment(StrEnum):
    REOPEN_IF_ROOM = "reopen_if_room"
    REFUND = "refund"
    NEW_GROUP = "new_group"


class WarehousePolicy(StrEnum):
    WHOLE = "whole"
    SPLIT_OK = "split_ok"


class GroupState(StrEnum):
    DRAFT = "draft"  # the leader's seat is not paid
    OPEN = "open"
    CLOSING = "closing"  # past the deadline, money may be on its way
    SUCCEEDED = "succeeded"
    DRAWN = "drawn"
    FAILED = "failed"
    CANCELLED = "cancelled"


class GroupEvent(StrEnum):
    LEADER_PAID = "leader_paid"
    FILLED = "filled"  # the last paid seat, or enough of them at the deadline
    DEADLINE = "deadline"  # with money possibly on its way
    SHORT = "short"  # too few paid when nothing can come any more
    ABANDONED = "abandoned"  # cancelled by its leader or by operations
    DREW = "drew"


GROUP_TRANSITIONS: Final[Mapping[tuple[GroupState, GroupEvent], GroupState]] = MappingProxyType(
    {
        (GroupState.DRAFT, GroupEvent.LEADER_PAID): GroupState.OPEN,
        (GroupState.DRAFT, GroupEvent.FILLED): GroupState.SUCCEEDED,
        (GroupState.DRAFT, GroupEvent.DEADLINE): GroupState.CLOSING,
        (GroupState.DRAFT, GroupEvent.SHORT): GroupState.FAILED,
        (GroupState.DRAFT, GroupEvent.ABANDONED): GroupState.CANCELLED,
        (GroupState.OPEN, GroupEvent.FILLED): GroupState.SUCCEEDED,
        (GroupState.OPEN, GroupEvent.DEADLINE): GroupState.CLOSING,
        (GroupState.OPEN, GroupEvent.SHORT): GroupState.FAILED,
        (GroupState.OPEN, GroupEvent.ABANDONED): GroupState.CANCELLED,
        (GroupState.CLOSING, GroupEvent.FILLED): GroupState.SUCCEEDED,
        (GroupState.CLOSING, GroupEvent.SHORT): GroupState.FAILED,
        (GroupState.SUCCEEDED, GroupEvent.DREW): GroupState.DRAWN,
    }
)


class OrderState(StrEnum):
    RESERVED = "reserved"
    RELEASED = "released"
    PAID = "paid"
    CONFIRMED = "confirmed"
    WON = "won"
    LOST = "lost"
    ALLOCATED = "allocated"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    REFUND_DUE = "refund_due"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    REFUND_ATTENTION = "refund_attention"


class OrderEvent(StrEnum):
    PAY = "pay"
    RELEASE = "release"
    CONFIRM = "confirm"
    WIN = "win"
    LOSE = "lose"
    ALLOCATE = "allocate"
    REPLAN = "replan"
    SHIP = "ship"
    DELIVER = "deliver"
    OWE_REFUND = "owe_refund"
    START_REFUND = "start_refund"
    SETTLE_REFUND = "settle_refund"
    GIVE_UP_REFUND = "give_up_refund"
    RETRY_REFUND = "retry_refund"


ORDER_TRANSITIONS: Final[Mapping[tuple[OrderState, OrderEvent], OrderState]] = MappingProxyType(
    {
        (OrderState.RESERVED, OrderEvent.PAY): OrderState.PAID,
        (OrderState.RESERVED, OrderEvent.RELEASE): OrderState.RELEASED,
        (OrderState.RELEASED, OrderEvent.PAY): OrderState.PAID,
        (OrderState.PAID, OrderEvent.CONFIRM): OrderState.CONFIRMED,
        (OrderState.CONFIRMED, OrderEvent.WIN): OrderState.WON,
        (OrderState.CONFIRMED, OrderEvent.LOSE): OrderState.LOST,
        (OrderState.CONFIRMED, OrderEvent.ALLOCATE): OrderState.ALLOCATED,
        (OrderState.WON, OrderEvent.ALLOCATE): OrderState.ALLOCATED,
        (OrderState.ALLOCATED, OrderEvent.REPLAN): OrderState.CONFIRMED,
        (OrderState.ALLOCATED, OrderEvent.SHIP): OrderState.SHIPPED,
        (OrderState.SHIPPED, OrderEvent.DELIVER): OrderState.DELIVERED,
        (OrderState.PAID, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.CONFIRMED, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.WON, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.LOST, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.ALLOCATED, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.SHIPPED, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.DELIVERED, OrderEvent.OWE_REFUND): OrderState.REFUND_DUE,
        (OrderState.REFUND_DUE, OrderEvent.START_REFUND): OrderState.REFUNDING,
        (OrderState.REFUNDING, OrderEvent.SETTLE_REFUND): OrderState.REFUNDED,
        (OrderState.REFUNDING, OrderEvent.GIVE_UP_REFUND): OrderState.REFUND_ATTENTION,
        (OrderState.REFUND_ATTENTION, OrderEvent.RETRY_REFUND): OrderState.REFUNDING,
        (OrderState.REFUND_ATTENTION, OrderEvent.SETTLE_REFUND): OrderState.REFUNDED,
    }
)

# A live order holds a seat in its group.
LIVE_ORDER_STATES: Final = frozenset(
    {
        OrderState.RESERVED,
        OrderState.PAID,
        OrderState.CONFIRMED,
        OrderState.WON,
        OrderState.ALLOCATED,
        OrderState.SHIPPED,
        OrderState.DELIVERED,
    }
)
TERMINAL_GROUP_STATES: Final = frozenset(
    {GroupState.SUCCEEDED, GroupState.DRAWN, GroupState.FAILED, GroupState.CANCELLED}
)


class IllegalTransition(Conflict):
    """The state does not answer to the event."""

    code = "illegal_transition"

    def __init__(self, state: StrEnum, event: StrEnum) -> None:
        super().__init__(f"{state.value} does not answer to {event.value}")
        self.state, self.event = state, event


def advance_group(state: GroupState, event: GroupEvent) -> GroupState:
    """Return the state after `event`; raise IllegalTransition when there is no such row."""
    try:
        return GROUP_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def advance_order(state: OrderState, event: OrderEvent) -> OrderState:
    """Return the state after `event`; raise IllegalTransition when there is no such row."""
    try:
        return ORDER_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None
