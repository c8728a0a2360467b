"""The seat budget's formula, term by term."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import pytest

from inventory.formula import PROMISE_GRACE, Capability, Facts, Inbound, Stock, seat_budget
from inventory.pegging import Pegged, PegWant, Promise, beyond, grant, reached
from inventory.projection import Place

NOW: Final = datetime(2011, 12, 5, 9, tzinfo=UTC)
DAY: Final = timedelta(days=1)
FOUR_DAYS: Final = 4 * 86_400

FACTS: Final = Facts(
    sku="tea",
    claimed_units=0,
    ship_by_seconds=FOUR_DAYS,
    safety_units=0,
    max_excess_units=0,
    moq_risk_accepted=False,
)
SUPPLIER: Final = Capability(
    supplier="huaxin",
    capacity_per_day=10,
    days_to_sell=3,
    lead_days=4,
    moq_units=1,
    open_units=0,
    lost_units=0,
    valid_to=None,
)


def _units(facts: Facts, *, now: datetime = NOW) -> int:
    return seat_budget(facts, now=now).units


def _inbound(units: int, *, pegged_units: int = 0, promised_at: datetime = NOW) -> Inbound:
    return Inbound(units=units, pegged_units=pegged_units, promised_at=promised_at)


def test_stock_counts_without_what_is_held_reserved_safe_or_disputed() -> None:
    stock = Stock(on_hand=100, held=10, reserved=20, disputed=5)

    assert _units(replace(FACTS, stock=stock, safety_units=15)) == 50


def test_stock_below_safety_lowers_what_supply_may_promise() -> None:
    facts = replace(FACTS, safety_units=15, stock=Stock(on_hand=5), capabilities=[SUPPLIER])

    assert _units(facts) == 5 - 15 + 30


def test_a_shortage_counts_negative() -> None:
    assert _units(replace(FACTS, stock=Stock(on_hand=3, reserved=5))) == -2


@pytest.mark.parametrize(
    ("promised_at", "counted"),
    [
        (NOW + timedelta(seconds=FOUR_DAYS), True),
        (NOW + timedelta(seconds=FOUR_DAYS + 1), False),
        (NOW - PROMISE_GRACE + timedelta(seconds=1), True),
        (NOW - PROMISE_GRACE, False),
    ],
)
def test_inbound_counts_when_promised_by_the_ship_by_date_and_not_overdue(
    promised_at: datetime, *, counted: bool
) -> None:
    facts = replace(FACTS, inbound=[_inbound(8, pegged_units=3, promised_at=promised_at)])

    assert _units(facts) == (5 if counted else 0)


def test_nothing_on_sale_promises_stock_only() -> None:
    facts = replace(
        FACTS,
        ship_by_seconds=None,
        stock=Stock(on_hand=4),
        inbound=[_inbound(8)],
        capabilities=[SUPPLIER],
    )

    budget = seat_budget(facts, now=NOW)

    assert (budget.units, budget.recompute_at) == (4, None)
    assert budget.parts["suppliers"] == {"huaxin": "not_on_sale"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lead_days": 5}, "too_slow"),
        ({"valid_to": NOW}, "expired"),
        ({"open_units": 25, "moq_units": 6}, "below_moq"),
        ({"open_units": 20, "lost_units": 10}, "below_moq"),
        ({"moq_units": 12}, "moq_excess"),
    ],
)
def test_a_supplier_that_cannot_help_in_time_or_fits_no_order_does_not_count(
    change: dict[str, object], reason: str
) -> None:
    supplier = replace(SUPPLIER, **change)  # type: ignore[arg-type]  # fields by name
    facts = replace(FACTS, max_excess_units=10, capabilities=[supplier])

    budget = seat_budget(facts, now=NOW)

    assert budget.units == 0
    assert budget.parts["suppliers"] == {"huaxin": reason}


def test_what_is_ordered_or_rejected_is_no_longer_capability() -> None:
    supplier = replace(SUPPLIER, open_units=12, lost_units=3)

    assert _units(replace(FACTS, capabilities=[supplier])) == 15


@pytest.mark.parametrize(
    ("moq", "excess", "claimed", "risk", "counted"),
    [
        (1, 0, 0, False, True),  # one unit for the next buyer leaves nothing over
        (2, 0, 0, False, False),
        (11, 10, 0, False, True),
        (12, 10, 0, False, False),
        (12, 10, 0, True, True),
        (12, 10, 6, False, False),  # five on hand cover five of six claims
        (12, 10, 7, False, True),  # two units have to be bought anyway
    ],
)
def test_a_moq_counts_when_what_it_leaves_over_is_allowed(
    moq: int, excess: int, claimed: int, *, risk: bool, counted: bool
) -> None:
    facts = replace(
        FACTS,
        claimed_units=claimed,
        max_excess_units=excess,
        moq_risk_accepted=risk,
        stock=Stock(on_hand=5 if claimed else 0),
        capabilities=[replace(SUPPLIER, moq_units=moq)],
    )

    assert _units(facts) == facts.stock.on_hand + (30 if counted else 0)


def test_suppliers_add_up() -> None:
    slow = replace(SUPPLIER, supplier="slow", lead_days=9)
    other = replace(SUPPLIER, supplier="other", capacity_per_day=2)

    budget = seat_budget(replace(FACTS, capabilities=[SUPPLIER, slow, other]), now=NOW)

    assert budget.units == 36
    assert budget.parts == {
        "capability": 36,
        "suppliers": {"huaxin": 30, "slow": "too_slow", "other": 6},
    }


def test_the_budget_says_when_it_changes_by_itself_and_then_it_does() -> None:
    far = NOW + timedelta(days=9)
    facts = replace(
        FACTS,
        inbound=[_inbound(8, promised_at=NOW + DAY), _inbound(5, promised_at=far)],
        capabilities=[replace(SUPPLIER, valid_to=NOW + timedelta(days=7))],
    )

    moments, units, now = [], [], NOW
    while True:
        budget = seat_budget(facts, now=now)
        units.append(budget.units)
        if budget.recompute_at is None:
            break
        assert budget.recompute_at > now
        now = budget.recompute_at
        moments.append(now)

    # Overdue, the far line comes into reach, the agreement ends, the far line is overdue.
    assert moments == [NOW + 2 * DAY, NOW + 5 * DAY, NOW + 7 * DAY, NOW + 10 * DAY]
    assert units == [38, 30, 35, 5, 0]


LINE: Final = UUID(int=99)


def _peg(number: int, units: int) -> Pegged:
    order_id = UUID(int=number)
    return Pegged(order_id=order_id, line_id=LINE, place=Place("tea", "east"), units=units)


def test_a_receipt_reaches_the_oldest_orders_and_passes_none_over() -> None:
    pegs = [_peg(3, 1), _peg(1, 2), _peg(2, 3)]

    assert [peg.order_id.int for peg in reached(pegs, units=4)] == [1]
    assert [peg.order_id.int for peg in reached(pegs, units=5)] == [1, 2]
    assert reached(pegs, units=-1) == []


def test_a_line_that_shrinks_loses_its_latest_orders() -> None:
    pegs = [_peg(1, 2), _peg(2, 3), _peg(3, 1)]

    assert beyond(pegs, units_left=6) == []
    assert [peg.order_id.int for peg in beyond(pegs, units_left=5)] == [3]
    assert [peg.order_id.int for peg in beyond(pegs, units_left=1)] == [3, 2, 1]


def test_pegs_are_granted_in_order_within_what_is_free() -> None:
    place = Place("tea", "east")
    promise = Promise(line_id=LINE, place=place, units=5, pegged_units=1, open=True)
    wants = [
        PegWant(order_id=UUID(int=number), line_id=LINE, units=units)
        for number, units in ((1, 3), (2, 2), (3, 1), (1, 1))
    ]

    assert [want.order_id.int for want in grant(wants, {LINE: promise})] == [1, 3]
    assert grant(wants, {LINE: replace(promise, open=False)}) == []
    assert grant(wants, {}) == []
