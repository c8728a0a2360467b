"""A batch is decided exactly as if its requests had come one after another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groups.decisions import decide, wants_room, without
from groups.seat_facts import (
    Ask,
    Budget,
    CampaignFacts,
    Decision,
    Facts,
    Fault,
    GroupFacts,
    Holding,
    Kept,
    Reason,
    Refused,
    Released,
    Repeated,
    RepeatedInBatch,
    Seat,
)
from groups.states import CampaignState, GroupState, Mode

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CAMPAIGN, GROUP, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
ANN, BOB, CID = UUID(int=11), UUID(int=12), UUID(int=13)


def ids() -> Callable[[], UUID]:
    """Return a maker of ids that counts."""
    numbers = iter(range(1000, 100_000))
    return lambda: UUID(int=next(numbers))


def group(**changes: object) -> GroupFacts:
    plain = GroupFacts(
        campaign_id=CAMPAIGN,
        sku="tea",
        mode=Mode.FIXED,
        state=GroupState.OPEN,
        capacity=3,
        min_size=3,
        price_fen=9900,
        units_per_seat=1,
        per_user_limit=2,
        seat_ttl_seconds=900,
        deadline_at=NOW + timedelta(hours=1),
        held_seats=0,
        paid_seats=1,
        progress=1,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # any field, by name


def campaign(**changes: object) -> CampaignFacts:
    plain = CampaignFacts(
        sku="tea",
        state=CampaignState.ACTIVE,
        version=4,
        mode=Mode.FIXED,
        capacity=3,
        min_size=3,
        price_fen=9900,
        units_per_seat=1,
        per_user_limit=2,
        window_seconds=86_400,
        seat_ttl_seconds=900,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # any field, by name


def budget(*, units: int = 100, claimed: int = 0, cap: int | None = None, taken: int = 0) -> Budget:
    return Budget(budget_units=units, claimed_units=claimed, cap_seats=cap, taken_seats=taken)


def facts(**changes: object) -> Facts:
    plain = Facts(
        now=NOW,
        budgets={"tea": budget()},
        groups={GROUP: group(), OTHER: group()},
        campaigns={CAMPAIGN: campaign()},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # any field, by name


def join(
    user: UUID, *, into: UUID = GROUP, quantity: int = 1, key: str | None = None, body: bytes = b""
) -> Ask:
    return Ask(
        user_id=user,
        key=(str(user), "join", key or f"{user}-{into}-{quantity}"),
        fingerprint=body,
        quantity=quantity,
        province="440000",
        city="深圳",
        address="{}",
        group_id=into,
    )


def lead(user: UUID, *, quantity: int = 1, of: UUID = CAMPAIGN, key: str = "open") -> Ask:
    return Ask(
        user_id=user,
        key=(str(user), "open", key),
        fingerprint=b"",
        quantity=quantity,
        province="440000",
        city="深圳",
        address="{}",
        campaign_id=of,
    )


def words(decisions: Sequence[Decision]) -> list[str]:
    """Return what was decided, in a word each."""
    found = []
    for decision in decisions:
        if isinstance(decision, Seat):
            found.append("seat")
        elif isinstance(decision, Refused):
            found.append(decision.reason.value)
        elif isinstance(decision, Fault):
            found.append(decision.value)
        else:
            found.append("again")
    return found


def test_a_seat_carries_the_terms_and_the_counts_just_after_it() -> None:
    first, second = decide([join(ANN, quantity=2), join(BOB)], facts(), make_id=ids())

    assert isinstance(first, Seat)
    assert isinstance(second, Seat)
    assert (first.units, first.amount_fen, first.held_seats, first.progress) == (2, 19_800, 1, 2)
    assert (second.held_seats, second.paid_seats, second.progress) == (2, 1, 3)
    assert first.reserved_until == NOW + timedelta(minutes=15)
    assert not first.opened
    assert not first.leads


def test_opening_gives_a_draft_group_its_leader_and_window() -> None:
    (seat,) = decide([lead(ANN)], facts(), make_id=ids())

    assert isinstance(seat, Seat)
    assert (seat.opened, seat.leads, seat.version) == (True, True, 4)
    assert (seat.state, seat.held_seats, seat.paid_seats) == (GroupState.DRAFT, 1, 0)
    assert seat.deadline_at == NOW + timedelta(days=1)
    assert seat.group_id != seat.order_id


@pytest.mark.parametrize(
    ("state", "minutes_left", "campaign_state"),
    list(product(GroupState, (-1, 0, 1), CampaignState)),
)
def test_who_may_join_over_every_state(
    state: GroupState, minutes_left: int, campaign_state: CampaignState
) -> None:
    known = facts(
        groups={GROUP: group(state=state, deadline_at=NOW + timedelta(minutes=minutes_left))},
        campaigns={CAMPAIGN: campaign(state=campaign_state)},
    )

    (word,) = words(decide([join(ANN)], known, make_id=ids()))

    if state not in {GroupState.DRAFT, GroupState.OPEN} or minutes_left <= 0:
        assert word == "group_closed"
    elif campaign_state is CampaignState.PAUSED:
        assert word == "campaign_paused"
    else:
        assert word == "seat"


@pytest.mark.parametrize("state", list(CampaignState))
def test_who_may_open_over_every_state(state: CampaignState) -> None:
    known = facts(campaigns={CAMPAIGN: campaign(state=state)})

    (word,) = words(decide([lead(ANN)], known, make_id=ids()))

    expected = {CampaignState.ACTIVE: "seat", CampaignState.DRAFT: "unknown"}
    assert word == expected.get(state, "campaign_paused")


@pytest.mark.parametrize(
    ("free_seats", "free_units", "free_cap", "quantity"),
    list(product(range(3), range(-1, 4), (None, -1, 0, 1, 2), (1, 2))),
)
def test_room_over_the_whole_small_space(
    free_seats: int, free_units: int, free_cap: int | None, quantity: int
) -> None:
    """Four buyers ask; a model that counts by hand says who gets a seat and why not."""
    known = facts(
        groups={GROUP: group(capacity=5, paid_seats=5 - free_seats)},
        budgets={
            "tea": budget(
                units=10,
                claimed=10 - free_units,
                cap=None if free_cap is None else 7 + free_cap,
                taken=7,
            )
        },
    )
    asks = [join(UUID(int=20 + n), quantity=quantity) for n in range(4)]

    found = words(decide(asks, known, make_id=ids()))

    expected = []
    for _ in asks:
        if free_seats < 1:
            expected.append("group_full")
        elif free_cap is not None and free_cap < 1:
            expected.append("seat_cap")
        elif free_units < quantity:
            expected.append("out_of_stock")
        else:
            expected.append("seat")
            free_seats, free_units = free_seats - 1, free_units - quantity
            free_cap = None if free_cap is None else free_cap - 1
    assert found == expected
    assert wants_room(decide(asks, known, make_id=ids())) == any(
        word in {"group_full", "seat_cap", "out_of_stock"} for word in expected
    )


@pytest.mark.parametrize(
    ("held", "limit", "quantities"),
    list(product(range(4), range(1, 5), product((1, 2), repeat=3))),
)
def test_the_limit_per_user_counts_quantity_over_groups(
    held: int, limit: int, quantities: tuple[int, ...]
) -> None:
    groups = {UUID(int=50 + n): group(per_user_limit=limit) for n in range(3)}
    holding = Holding(quantity=held, groups=frozenset({OTHER}))
    known = facts(groups=groups, holdings={(ANN, CAMPAIGN): holding} if held else {})
    asks = [
        join(ANN, into=into, quantity=quantity)
        for into, quantity in zip(groups, quantities, strict=True)
    ]

    found = words(decide(asks, known, make_id=ids()))

    expected = []
    for quantity in quantities:
        fits = held + quantity <= limit
        expected.append("seat" if fits else "user_limit")
        held += quantity if fits else 0
    assert found == expected


def test_a_member_is_a_member_whatever_else_is_true() -> None:
    holding = Holding(quantity=2, groups=frozenset({GROUP}))
    known = facts(
        groups={GROUP: group(state=GroupState.SUCCEEDED, paid_seats=3)},
        holdings={(ANN, CAMPAIGN): holding},
    )

    assert words(decide([join(ANN)], known, make_id=ids())) == ["already_member"]
    twice = decide([join(BOB, key="a"), join(BOB, key="b")], facts(), make_id=ids())
    assert words(twice) == ["seat", "already_member"]


def test_units_per_seat_are_taken_from_the_stock_not_from_the_seats() -> None:
    known = facts(groups={GROUP: group(units_per_seat=6)}, budgets={"tea": budget(units=17, cap=9)})

    found = decide([join(ANN, quantity=2), join(BOB)], known, make_id=ids())

    assert words(found) == ["seat", "out_of_stock"]
    assert isinstance(found[0], Seat)
    assert found[0].units == 12


def test_a_lottery_seat_is_one_chance() -> None:
    known = facts(groups={GROUP: group(mode=Mode.LOTTERY, per_user_limit=5)})

    found = words(decide([join(ANN, quantity=2), join(BOB)], known, make_id=ids()))

    assert found == ["user_limit", "seat"]


def test_a_sku_without_a_budget_has_nothing_to_promise() -> None:
    known = facts(budgets={})

    assert words(decide([join(ANN), lead(BOB)], known, make_id=ids())) == ["out_of_stock"] * 2


def test_what_is_not_there_is_unknown() -> None:
    asks = [
        join(ANN, into=UUID(int=99)),
        lead(ANN, of=UUID(int=98)),
        replace(lead(BOB), campaign_id=None),
    ]

    assert words(decide(asks, facts(), make_id=ids())) == ["unknown"] * 3


def test_a_kept_answer_is_told_again_and_another_body_is_refused() -> None:
    kept = Kept(fingerprint=b"", status=201, answer="{}")
    known = facts(kept={join(ANN, key="k").key: kept})

    found = decide([join(ANN, key="k"), join(ANN, key="k", body=b"other")], known, make_id=ids())

    assert found == [Repeated(kept), Fault.KEY_REUSED]


def test_a_key_twice_in_a_batch_is_decided_once() -> None:
    asks = [
        join(CID),
        join(ANN, key="k"),
        join(ANN, key="k"),
        join(ANN, key="k", body=b"other"),
        join(ANN, into=UUID(int=99), key="u"),
        join(ANN, into=UUID(int=99), key="u"),
    ]

    found = decide(asks, facts(), make_id=ids())

    assert isinstance(found[1], Seat)
    assert found[2:] == [RepeatedInBatch(1), Fault.KEY_REUSED, Fault.UNKNOWN, Fault.UNKNOWN]


def test_who_joins_an_emptied_group_leads_it() -> None:
    known = facts(groups={GROUP: group(state=GroupState.DRAFT, paid_seats=0)})

    first, second = decide([join(ANN), join(BOB)], known, make_id=ids())

    assert isinstance(first, Seat)
    assert isinstance(second, Seat)
    assert (first.leads, second.leads) == (True, False)


def test_released_seats_give_back_room_stock_and_the_buyers_limit() -> None:
    holding = Holding(quantity=2, groups=frozenset({GROUP}))
    known = facts(
        groups={GROUP: group(held_seats=2)},
        budgets={"tea": budget(units=5, claimed=5, cap=3, taken=3)},
        holdings={(ANN, CAMPAIGN): holding},
    )
    gone = [
        Released(
            order_id=UUID(int=70 + n),
            user_id=user,
            group_id=place,
            campaign_id=CAMPAIGN,
            sku="tea",
            quantity=2,
            claim_units=2,
            group_state=GroupState.OPEN,
            deadline_at=NOW + timedelta(hours=1),
            opened=False,
        )
        for n, (user, place) in enumerate([(ANN, GROUP), (BOB, UUID(int=77))])
    ]

    after = without(known, gone)

    assert after.groups[GROUP].held_seats == 1
    assert after.groups[GROUP].progress == 2
    assert after.budgets["tea"] == budget(units=5, claimed=1, cap=3, taken=1)
    assert after.holdings[ANN, CAMPAIGN] == Holding(quantity=0, groups=frozenset())
    assert words(decide([join(ANN, quantity=2)], after, make_id=ids())) == ["seat"]


users = st.sampled_from([UUID(int=n) for n in range(30, 36)])
asks = st.lists(
    st.builds(
        lambda user, into, quantity, key, body: (
            join(user, into=into, quantity=quantity, key=key, body=body)
            if into is not None
            else replace(lead(user, quantity=quantity, key=key), fingerprint=body)
        ),
        users,
        st.sampled_from([GROUP, OTHER, UUID(int=99), None]),
        st.integers(1, 3),
        st.sampled_from([f"k{n}" for n in range(8)]),
        st.sampled_from([b"", b"other"]),
    ),
    max_size=14,
)
worlds = st.builds(
    lambda units, cap, capacity, limit, per_seat: facts(
        groups={
            place: group(
                capacity=capacity, per_user_limit=limit, units_per_seat=per_seat, paid_seats=0
            )
            for place in (GROUP, OTHER)
        },
        campaigns={CAMPAIGN: campaign(per_user_limit=limit, units_per_seat=per_seat)},
        budgets={"tea": budget(units=units, cap=cap)},
    ),
    st.integers(0, 12),
    st.none() | st.integers(0, 8),
    st.integers(2, 5),
    st.integers(1, 5),
    st.integers(1, 2),
)


def apply(known: Facts, ask: Ask, decision: Decision) -> Facts:
    """Return the facts as a transaction of its own for one decision would leave them."""
    if not isinstance(decision, Seat | Refused):
        return known
    kept = {**known.kept, ask.key: Kept(fingerprint=ask.fingerprint, status=0, answer="")}
    if isinstance(decision, Refused):
        return replace(known, kept=kept)
    seat = decision
    room = known.budgets[seat.sku]
    owner = (ask.user_id, seat.campaign_id)
    holding = known.holdings.get(owner, Holding(quantity=0, groups=frozenset()))
    groups = dict(known.groups)
    if not seat.opened:
        before = groups[seat.group_id]
        groups[seat.group_id] = replace(
            before, held_seats=before.held_seats + 1, progress=before.progress + 1
        )
    return replace(
        known,
        kept=kept,
        groups=groups,
        budgets={
            seat.sku: replace(
                room,
                claimed_units=room.claimed_units + seat.units,
                taken_seats=room.taken_seats + 1,
            )
        },
        holdings={
            **known.holdings,
            owner: Holding(
                quantity=holding.quantity + seat.quantity,
                groups=holding.groups | {seat.group_id},
            ),
        },
    )


@given(batch=asks, world=worlds)
def test_a_batch_is_its_requests_one_after_another(batch: list[Ask], world: Facts) -> None:
    together = decide(batch, world, make_id=ids())

    make_id = ids()
    alone: list[Decision] = []
    known = world
    for ask in batch:
        (decision,) = decide([ask], known, make_id=make_id)
        known = apply(known, ask, decision)
        alone.append(decision)
    assert words(together) == words(alone)
    for one, other in zip(together, alone, strict=True):
        if isinstance(one, Seat):
            assert one == other


@given(batch=asks, world=worlds)
def test_no_batch_gives_more_than_there_is(batch: list[Ask], world: Facts) -> None:
    seats = [
        (ask, decision)
        for ask, decision in zip(batch, decide(batch, world, make_id=ids()), strict=True)
        if isinstance(decision, Seat)
    ]

    room = world.budgets["tea"]
    assert sum(seat.units for _, seat in seats) <= room.budget_units
    assert room.cap_seats is None or len(seats) <= room.cap_seats
    for place, known in world.groups.items():
        members = [ask.user_id for ask, seat in seats if seat.group_id == place]
        assert len(members) <= known.capacity
        assert len(members) == len(set(members))
    for user in {ask.user_id for ask, _ in seats}:
        bought = sum(seat.quantity for ask, seat in seats if ask.user_id == user)
        assert bought <= world.groups[GROUP].per_user_limit


def test_every_reason_can_be_given() -> None:
    full = group(paid_seats=3)
    closed = group(state=GroupState.CLOSING)
    member = Holding(quantity=1, groups=frozenset({GROUP}))
    paused = campaign(state=CampaignState.PAUSED)
    worlds_of = {
        Reason.GROUP_FULL: facts(groups={GROUP: full}),
        Reason.GROUP_CLOSED: facts(groups={GROUP: closed}),
        Reason.ALREADY_MEMBER: facts(holdings={(ANN, CAMPAIGN): member}),
        Reason.USER_LIMIT: facts(groups={GROUP: group(per_user_limit=0)}),
        Reason.SEAT_CAP: facts(budgets={"tea": budget(cap=0)}),
        Reason.OUT_OF_STOCK: facts(budgets={"tea": budget(units=0)}),
        Reason.CAMPAIGN_PAUSED: facts(campaigns={CAMPAIGN: paused}),
    }

    for reason in Reason:
        assert decide([join(ANN)], worlds_of[reason], make_id=ids()) == [Refused(reason)]
