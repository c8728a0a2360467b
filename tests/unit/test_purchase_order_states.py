from itertools import product

import pytest

from suppliers.states import (
    PURCHASE_ORDER_TRANSITIONS,
    IllegalTransition,
    PurchaseOrderEvent,
    PurchaseOrderState,
    advance,
)

S, E = PurchaseOrderState, PurchaseOrderEvent


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_every_pair_moves_by_the_table_or_is_refused(
    state: PurchaseOrderState, event: PurchaseOrderEvent
) -> None:
    if (state, event) in PURCHASE_ORDER_TRANSITIONS:
        assert advance(state, event) is PURCHASE_ORDER_TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition):
            advance(state, event)


@pytest.mark.parametrize("state", [S.REJECTED, S.CANCELLED, S.CLOSED])
def test_what_is_over_answers_to_nothing(state: PurchaseOrderState) -> None:
    assert not [event for event in E if (state, event) in PURCHASE_ORDER_TRANSITIONS]


def test_nothing_is_sent_before_it_is_approved() -> None:
    senders = {state for state, event in PURCHASE_ORDER_TRANSITIONS if event is E.SEND}

    assert senders == {S.APPROVED}


def test_goods_are_taken_in_from_every_state_in_which_the_supplier_has_the_order() -> None:
    receivers = {state for state, event in PURCHASE_ORDER_TRANSITIONS if event is E.RECEIVE_ALL}

    assert receivers == {
        S.SENT,
        S.ACKNOWLEDGED,
        S.PARTIALLY_ACCEPTED,
        S.CHANGE_PROPOSED,
        S.IN_TRANSIT,
        S.PARTIALLY_RECEIVED,
        S.RECEIVED,
    }
