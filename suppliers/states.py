"""The life of a purchase order as a table; an event without a row is parked, never an error."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kit.errors import Conflict


class PurchaseOrderState(StrEnum):
    DRAFT = "draft"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    PARTIALLY_ACCEPTED = "partially_accepted"
    CHANGE_PROPOSED = "change_proposed"
    REJECTED = "rejected"
    IN_TRANSIT = "in_transit"
    PARTIALLY_RECEIVED = "partially_received"
    RECEIVED = "received"
    CLOSED = "closed"
    ON_HOLD = "on_hold"
    CANCEL_REQUESTED = "cancel_requested"
    CANCELLED = "cancelled"


class PurchaseOrderEvent(StrEnum):
    ASK_APPROVAL = "ask_approval"
    APPROVE = "approve"
    REFUSE = "refuse"  # by a person here
    SEND = "send"
    ACCEPT = "accept"
    ACCEPT_PART = "accept_part"
    PROPOSE = "propose"
    REJECT = "reject"  # by the supplier
    DESPATCH = "despatch"
    RECEIVE_PART = "receive_part"
    RECEIVE_ALL = "receive_all"
    CLOSE = "close"
    HOLD = "hold"
    RESUME = "resume"
    ASK_CANCEL = "ask_cancel"
    CANCEL = "cancel"


_S = PurchaseOrderState
_E = PurchaseOrderEvent
_ANSWERED = (_S.ACKNOWLEDGED, _S.PARTIALLY_ACCEPTED)
_MOVING = (*_ANSWERED, _S.IN_TRANSIT, _S.PARTIALLY_RECEIVED)

PURCHASE_ORDER_TRANSITIONS: Final[
    Mapping[tuple[PurchaseOrderState, PurchaseOrderEvent], PurchaseOrderState]
] = MappingProxyType(
    {
        (_S.DRAFT, _E.ASK_APPROVAL): _S.PENDING_APPROVAL,
        (_S.DRAFT, _E.APPROVE): _S.APPROVED,
        (_S.PENDING_APPROVAL, _E.APPROVE): _S.APPROVED,
        (_S.PENDING_APPROVAL, _E.REFUSE): _S.CANCELLED,
        (_S.APPROVED, _E.SEND): _S.SENT,
        (_S.APPROVED, _E.REJECT): _S.REJECTED,
        (_S.APPROVED, _E.HOLD): _S.ON_HOLD,
        (_S.ON_HOLD, _E.RESUME): _S.APPROVED,
        (_S.ON_HOLD, _E.CANCEL): _S.CANCELLED,
        (_S.SENT, _E.ACCEPT): _S.ACKNOWLEDGED,
        (_S.SENT, _E.ACCEPT_PART): _S.PARTIALLY_ACCEPTED,
        (_S.SENT, _E.PROPOSE): _S.CHANGE_PROPOSED,
        (_S.SENT, _E.REJECT): _S.REJECTED,
        (_S.SENT, _E.ASK_CANCEL): _S.CANCEL_REQUESTED,
        # Partners' messages overtake one another: goods may come before the answer.
        (_S.SENT, _E.DESPATCH): _S.IN_TRANSIT,
        (_S.SENT, _E.RECEIVE_PART): _S.PARTIALLY_RECEIVED,
        (_S.SENT, _E.RECEIVE_ALL): _S.RECEIVED,
        (_S.CHANGE_PROPOSED, _E.ACCEPT): _S.ACKNOWLEDGED,
        (_S.CHANGE_PROPOSED, _E.ACCEPT_PART): _S.PARTIALLY_ACCEPTED,
        (_S.CHANGE_PROPOSED, _E.PROPOSE): _S.CHANGE_PROPOSED,
        (_S.CHANGE_PROPOSED, _E.REJECT): _S.REJECTED,
        (_S.CHANGE_PROPOSED, _E.ASK_CANCEL): _S.CANCEL_REQUESTED,
        (_S.CANCEL_REQUESTED, _E.CANCEL): _S.CANCELLED,
        (_S.CANCEL_REQUESTED, _E.ACCEPT): _S.ACKNOWLEDGED,
        (_S.CANCEL_REQUESTED, _E.REJECT): _S.REJECTED,
        (_S.CANCEL_REQUESTED, _E.DESPATCH): _S.IN_TRANSIT,
        **{(state, _E.ASK_CANCEL): _S.CANCEL_REQUESTED for state in _ANSWERED},
        **{(state, _E.PROPOSE): _S.CHANGE_PROPOSED for state in _ANSWERED},
        **{(state, _E.DESPATCH): _S.IN_TRANSIT for state in _ANSWERED},
        (_S.IN_TRANSIT, _E.DESPATCH): _S.IN_TRANSIT,
        (_S.PARTIALLY_RECEIVED, _E.DESPATCH): _S.PARTIALLY_RECEIVED,
        **{(state, _E.RECEIVE_PART): _S.PARTIALLY_RECEIVED for state in _MOVING},
        **{(state, _E.RECEIVE_ALL): _S.RECEIVED for state in _MOVING},
        # A supplier that ships on its own proposal: the goods are counted, the proposal stays.
        (_S.CHANGE_PROPOSED, _E.DESPATCH): _S.CHANGE_PROPOSED,
        (_S.CHANGE_PROPOSED, _E.RECEIVE_PART): _S.PARTIALLY_RECEIVED,
        (_S.CHANGE_PROPOSED, _E.RECEIVE_ALL): _S.RECEIVED,
        # The advice, or the rest of the goods, that comes after all was thought to be here.
        (_S.RECEIVED, _E.DESPATCH): _S.RECEIVED,
        (_S.RECEIVED, _E.RECEIVE_ALL): _S.RECEIVED,
        # The acceptance that the goods overtook; the state does not go back.
        **{
            (state, _E.ACCEPT): state
            for state in (_S.IN_TRANSIT, _S.PARTIALLY_RECEIVED, _S.RECEIVED)
        },
        **{
            (state, _E.ACCEPT_PART): state
            for state in (_S.IN_TRANSIT, _S.PARTIALLY_RECEIVED, _S.RECEIVED)
        },
        (_S.PARTIALLY_RECEIVED, _E.CLOSE): _S.CLOSED,
        (_S.RECEIVED, _E.CLOSE): _S.CLOSED,
        (_S.IN_TRANSIT, _E.CLOSE): _S.CLOSED,
    }
)


class IllegalTransition(Conflict):
    """The purchase order's state does not answer to the event."""

    code = "purchase_order.illegal_transition"

    def __init__(self, state: PurchaseOrderState, event: PurchaseOrderEvent) -> None:
        super().__init__(f"a purchase order that is {state.value} does not answer to {event.value}")
        self.state, self.event = state, event


def advance(state: PurchaseOrderState, event: PurchaseOrderEvent) -> PurchaseOrderState:
    """Return the state after `event`; raise IllegalTransition when there is no such row."""
    try:
        return PURCHASE_ORDER_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None
