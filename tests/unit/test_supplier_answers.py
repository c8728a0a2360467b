from datetime import UTC, datetime, timedelta

import pytest

from suppliers.answers import AnsweredLine, AskedLine, deviations, proposal_document

MONDAY = datetime(2011, 12, 5, 9, 0, tzinfo=UTC)


def asked(*, safety_days: int = 0) -> AskedLine:
    return AskedLine(
        line_no=1,
        sku="tea",
        ordered_units=100,
        unit_price_fen=1000,
        requested_at=MONDAY,
        safety_days=safety_days,
    )


def said(
    *, units: int = 100, price_fen: int = 1000, late: timedelta = timedelta()
) -> dict[int, AnsweredLine]:
    line = AnsweredLine(
        line_no=1, accepted_units=units, unit_price_fen=price_fen, promised_at=MONDAY + late
    )
    return {1: line}


@pytest.mark.parametrize(
    ("price_fen", "taken"), [(900, True), (1000, True), (1020, True), (1021, False)]
)
def test_a_price_is_taken_up_to_the_tolerance(price_fen: int, *, taken: bool) -> None:
    found = deviations([asked()], said(price_fen=price_fen), price_tolerance_bp=200)

    assert (found == ()) is taken


@pytest.mark.parametrize(
    ("late", "safety_days", "taken"),
    [
        (timedelta(hours=-30), 0, True),
        (timedelta(hours=23), 0, True),
        (timedelta(hours=24), 0, False),
        (timedelta(days=2, hours=23), 2, True),
        (timedelta(days=3), 2, False),
    ],
)
def test_a_date_is_taken_within_the_agreements_safety_days(
    late: timedelta, safety_days: int, *, taken: bool
) -> None:
    found = deviations([asked(safety_days=safety_days)], said(late=late), price_tolerance_bp=0)

    assert (found == ()) is taken


def test_fewer_units_at_agreed_terms_are_no_deviation() -> None:
    assert deviations([asked()], said(units=60), price_tolerance_bp=0) == ()


def test_a_line_nothing_is_accepted_of_has_no_price_to_judge() -> None:
    assert deviations([asked()], said(units=0, price_fen=9999), price_tolerance_bp=0) == ()


def test_a_proposal_says_what_taking_it_would_do() -> None:
    answered = said(units=80, price_fen=1100, late=timedelta(days=3))
    found = deviations([asked()], answered, price_tolerance_bp=0)

    document = proposal_document(
        {"change_id": "c-1", "reason": "raw_material", "revision": 2}, [asked()], answered, found
    )

    assert document["effect"] == {
        "extra_fen": 8000,
        "lost_units": 20,
        "days_late": 3,
        "sentences": ["line 1 (tea) costs ¥80.00 more, comes 3 days late, is 20 units short"],
    }
    assert (document["change_id"], document["revision"]) == ("c-1", 2)
