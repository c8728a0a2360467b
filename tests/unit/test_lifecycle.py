"""What becomes of groups, over the whole space of small ones."""

from itertools import product
from uuid import UUID

import pytest

from groups.lifecycle import (
    RUNNING,
    SEATABLE,
    GroupView,
    Landing,
    Member,
    Verdict,
    count_payment,
    depart,
    difference_fen,
    judge,
    land,
    price_reached,
)
from groups.states import (
    GROUP_TRANSITIONS,
    GroupEvent,
    GroupState,
    LatePayment,
    Mode,
    OrderState,
)

CAPACITIES = (2, 3)
ANN, BOB, CAT = (UUID(int=n) for n in (1, 2, 3))


def view(
    state: GroupState = GroupState.OPEN,
    *,
    mode: Mode = Mode.FIXED,
    capacity: int = 3,
    min_size: int = 2,
    held: int = 1,
    paid: int = 1,
    late: LatePayment = LatePayment.REOPEN_IF_ROOM,
    past_deadline: bool = False,
) -> GroupView:
    return GroupView(
        state=state,
        mode=mode,
        capacity=capacity,
        min_size=min_size,
        held_seats=held,
        paid_seats=paid,
        late_payment=late,
        past_deadline=past_deadline,
    )


def groups() -> list[GroupView]:
    """Return every running group of up to three seats."""
    return [
        view(state, mode=mode, capacity=capacity, held=held, paid=paid, past_deadline=past)
        for state, mode, capacity, past in product(sorted(RUNNING), Mode, CAPACITIES, (False, True))
        for held, paid in product(range(4), range(4))
        if held + paid <= capacity and paid < capacity
    ]


@pytest.mark.parametrize("order", list(OrderState))
def test_money_sits_only_where_a_seat_is_held_or_may_be_taken_again(order: OrderState) -> None:
    for state, late, past, held in product(GroupState, LatePayment, (False, True), (1, 2)):
        group = view(state, late=late, past_deadline=past, held=held)

        landing = land(order, group)

        if order is OrderState.RESERVED and state in RUNNING:
            assert landing is Landing.SEAT
        elif (
            order is OrderState.RELEASED
            and late is LatePayment.REOPEN_IF_ROOM
            and state in SEATABLE
            and not past
            and held == 1
        ):
            assert landing is Landing.REOPEN
        else:
            assert landing is Landing.ORPHAN


def test_a_paid_seat_never_overfills_and_the_last_one_succeeds() -> None:
    checked = 0
    for group, landing, leads in product(groups(), (Landing.SEAT, Landing.REOPEN), (False, True)):
        if landing is Landing.SEAT and not group.held_seats:
            continue
        if landing is Landing.REOPEN and group.live_seats >= group.capacity:
            continue
        after = count_payment(group, landing=landing, leads=leads)

        live = after.held_seats + after.paid_seats
        assert after.paid_seats == group.paid_seats + 1
        assert live == group.live_seats + (landing is Landing.REOPEN)
        assert live <= group.capacity
        assert after.succeeded == (after.paid_seats == group.capacity)
        assert (after.state is GroupState.SUCCEEDED) == after.succeeded
        if group.state is GroupState.DRAFT and not after.succeeded:
            assert (after.state is GroupState.OPEN) == leads == after.opened
        checked += 1
    assert checked > 100


def test_no_group_outlives_its_deadline_and_grace() -> None:
    for group, in_flight, grace_over in product(groups(), (0, 1), (False, True)):
        verdict = judge(group, in_flight=in_flight, grace_over=grace_over)

        enough = group.paid_seats >= (
            group.min_size if group.mode is Mode.TIERED else group.capacity
        )
        if not group.past_deadline:
            assert verdict is Verdict.WAIT
        elif group.state is GroupState.DRAFT and not group.live_seats:
            assert verdict is Verdict.CANCEL
        elif in_flight and not grace_over:
            assert verdict is (Verdict.WAIT if group.state is GroupState.CLOSING else Verdict.CLOSE)
        else:
            assert verdict is (Verdict.SUCCEED if enough else Verdict.FAIL)


def test_every_verdict_is_a_move_that_the_table_knows() -> None:
    events = {
        Verdict.CLOSE: GroupEvent.DEADLINE,
        Verdict.SUCCEED: GroupEvent.FILLED,
        Verdict.FAIL: GroupEvent.SHORT,
        Verdict.CANCEL: GroupEvent.ABANDONED,
    }
    for group, in_flight, grace_over in product(groups(), (0, 1), (False, True)):
        verdict = judge(group, in_flight=in_flight, grace_over=grace_over)
        if verdict is not Verdict.WAIT:
            assert (group.state, events[verdict]) in GROUP_TRANSITIONS


@pytest.mark.parametrize("state", sorted(RUNNING))
@pytest.mark.parametrize("leader", [ANN, BOB, CAT])
@pytest.mark.parametrize(
    "rest",
    [
        (),
        ((BOB, OrderState.PAID),),
        ((BOB, OrderState.RESERVED),),
        ((BOB, OrderState.PAID), (CAT, OrderState.RESERVED)),
        ((CAT, OrderState.PAID), (BOB, OrderState.PAID)),
    ],
)
def test_the_leaders_place_goes_to_the_first_who_stays(
    state: GroupState, leader: UUID, rest: tuple[tuple[UUID, OrderState], ...]
) -> None:
    members = [Member(user_id=user_id, state=order) for user_id, order in rest]

    after = depart(state, leader_id=leader, rest=members)

    if not members:
        assert after.cancelled == (state in SEATABLE)
        assert after.state is (GroupState.CANCELLED if after.cancelled else state)
        return
    stays = {member.user_id: member.state for member in members}
    assert after.leader_id == (leader if leader in stays else members[0].user_id)
    assert not after.cancelled
    opens = state is GroupState.DRAFT and stays[after.leader_id] is OrderState.PAID
    assert after.opened == opens
    assert after.state is (GroupState.OPEN if opens else state)


def test_everyone_pays_the_highest_tier_reached_and_the_difference_is_exact() -> None:
    ladder = [{"members": 3, "price_fen": 899}, {"members": 5, "price_fen": 777}]
    for members, quantity in product(range(1, 9), range(1, 5)):
        price = price_reached(1000, ladder, members=members)
        paid = 1000 * quantity

        back = difference_fen(paid_fen=paid, final_price_fen=price, quantity=quantity)

        assert price == (1000 if members < 3 else 899 if members < 5 else 777)
        assert paid - back == price * quantity


def test_a_ladder_never_costs_more_than_was_paid() -> None:
    dear = [{"members": 2, "price_fen": 2000}]

    assert price_reached(1000, dear, members=2) == 1000
    assert difference_fen(paid_fen=1000, final_price_fen=2000, quantity=1) == 0
