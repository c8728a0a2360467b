from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from rich.console import Console

from caravan.day import Day
from caravan.phones import PhoneCounts
from caravan.replay import Replayed
from caravan.shoppers import Counts
from caravan.summary import Around, complaints, document, show


def overview(**money: int) -> dict[str, Any]:
    return {
        "by_state": {
            "groups": {"succeeded": 2, "failed": 1, "cancelled": 1},
            "orders": {"delivered": 3, "refunded": 2, "released": 1},
            "refunds": {"succeeded": 2},
        },
        "money": {
            "captured_fen": 500,
            "refunded_fen": 200,
            "confirmed_fen": 300,
            "late_payments_refunded": 1,
            "late_orders_refunded": 1,
        }
        | money,
        "supply": {
            "sent": 4,
            "received": 3,
            "units_received": 9,
            "ordered_fen": 70,
            "approved_by_person": 1,
            "partial_receipts": 1,
            "rejected": 1,
            "replans": 1,
        },
        "delivery": {
            "parcels_shipped": 2,
            "labels_fen": 1_300,
            "groups_shipped": 2,
            "groups_whole": 1,
            "waves_shipped": 1,
            "plan_cost_fen": 1_200,
            "nearest_cost_fen": 1_500,
        },
        "left": {"parked": 0, "dead": 0},
        "tier_moves": [{"supplier": "jade", "sku": "tea", "reason": "why", "saved_fen": 5}],
    }


def replayed(**money: int) -> Replayed:
    counts = Counts(sent=8, accepted=6)
    counts.refused.update(out_of_stock=2)
    return Replayed(
        day=Day(source="a test", lines=(), duplicates=3),
        until=datetime(2011, 12, 12, tzinfo=UTC),
        seconds=100.0,
        lines_seconds=50.0,
        lines_span=timedelta(hours=10),
        span=timedelta(days=7),
        counts=counts,
        phones=PhoneCounts(payments=5, never=1, paid=3, late=1),
        repeats=Counter({429: 2}),
        overview=overview(**money),
        companies={
            "suppliers": {"jade": {"answers_lost": 1}},
            "carriers": {"sf": {"answers_lost": 1}, "sto": {}},
        },
    )


def around(violations: list[dict[str, str]] | None = None) -> Around:
    return Around(
        audit={"checked": ["M1", "M2"], "violations": violations or []},
        flow_runs={"refund": {"completed": 2, "failed": 0}},
        urls={"api": "http://127.0.0.1:8000/docs"},
        seconds_in_all=120.0,
        idle_pss_mib={"all": 600, "prefect": 180},
    )


def test_the_document_has_every_promised_field() -> None:
    summary = document(replayed(), around())

    assert {
        "source": "a test",
        "speed_up": 720,
        "seconds": 100.0,
        "lines_replayed": 11,
        "duplicates": 3,
        "orders_accepted": 6,
        "orders_refused": {"out_of_stock": 2},
        "groups_succeeded": 2,
        "groups_failed": 2,
        "captured_fen": 500,
        "refunded_fen": 200,
        "purchase_orders_sent": 4,
        "purchase_orders_received": 3,
        "units_received": 9,
        "waves_shipped": 1,
        "parcels_shipped": 2,
        "flow_runs": {"refund": {"completed": 2, "failed": 0}},
        "audit": {"checked": ["M1", "M2"], "violations": []},
        "urls": {"api": "http://127.0.0.1:8000/docs"},
    }.items() <= summary.items()
    assert summary["highlights"]["order_answers_lost"] == 1
    assert summary["highlights"]["label_answers_lost"] == 1
    assert summary["highlights"]["cost_per_parcel_fen"] == 650


def test_a_day_that_adds_up_has_no_complaints() -> None:
    summary = document(replayed(), around())

    assert complaints(summary, overview()) == []


def test_money_that_does_not_add_up_is_named() -> None:
    summary = document(replayed(captured_fen=501), around())

    assert complaints(summary, overview()) == [
        "captured differs from confirmed + refunded by 1 fen"
    ]


def test_a_lost_line_is_named() -> None:
    summary = document(replayed(), around()) | {"lines_replayed": 12}

    assert "lines were lost" in complaints(summary, overview())[0]


def test_what_is_unfinished_and_violated_is_named() -> None:
    summary = document(
        replayed(), around([{"invariant": "M1", "row": "ledger 7", "detail": "sums to 1"}])
    )
    left = overview()
    left["by_state"]["orders"] = {"allocated": 2}

    assert complaints(summary, left) == ["2 orders allocated", "the audit found 1 violations"]


def test_people_see_the_same_numbers() -> None:
    console = Console(record=True, width=160, file=StringIO())

    show(document(replayed(), around()), console)

    text = console.export_text()
    assert "11 = 6 orders accepted + 2 refused + 3 duplicates" in text
    assert "¥5.00 captured = ¥3.00 confirmed + ¥2.00 refunded" in text
    assert "audit: 2 invariants checked, 0 violations" in text
    assert "http://127.0.0.1:8000/docs" in text
