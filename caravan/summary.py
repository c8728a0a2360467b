"""What a replay came to: one JSON document, and the same in a table for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from caravan.operations_desk import unfinished
from caravan.replay import Replayed

_FEN: Final = 100
_MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What was found around the replay itself, when it had ended."""

    audit: Mapping[str, Any]
    flow_runs: Mapping[str, Mapping[str, int]]
    urls: Mapping[str, str]
    seconds_in_all: float
    idle_pss_mib: Mapping[str, int]


def document(replayed: Replayed, around: Around) -> dict[str, Any]:
    """Return the replay as the document that `--json` prints."""
    overview = replayed.overview
    states, money = overview["by_state"], overview["money"]
    supply, delivery = overview["supply"], overview["delivery"]
    counts = replayed.counts
    groups = states["groups"]
    return {
        "source": replayed.day.source,
        "speed_up": round(replayed.lines_span.total_seconds() / max(replayed.lines_seconds, 1.0)),
        "seconds": round(replayed.seconds, 1),
        "lines_replayed": counts.sent + replayed.day.duplicates,
        "duplicates": replayed.day.duplicates,
        "orders_accepted": counts.accepted,
        "orders_refused": dict(sorted(counts.refused.items())),
        "groups_succeeded": groups.get("succeeded", 0) + groups.get("drawn", 0),
        "groups_failed": groups.get("failed", 0) + groups.get("cancelled", 0),
        "captured_fen": money["captured_fen"],
        "refunded_fen": money["refunded_fen"],
        "purchase_orders_sent": supply["sent"],
        "purchase_orders_received": supply["received"],
        "units_received": supply["units_received"],
        "waves_shipped": delivery["waves_shipped"],
        "parcels_shipped": delivery["parcels_shipped"],
        "flow_runs": {name: dict(runs) for name, runs in around.flow_runs.items()},
        "audit": dict(around.audit),
        "urls": dict(around.urls),
        "highlights": _highlights(replayed, around),
    }


def _highlights(replayed: Replayed, around: Around) -> dict[str, Any]:
    """Return what the day is meant to contain, each counted from somebody's rows."""
    overview, phones = replayed.overview, replayed.phones
    money, supply, delivery = overview["money"], overview["supply"], overview["delivery"]
    parcels = delivery["parcels_shipped"]
    groups = delivery["groups_shipped"]
    return {
        "tier_moves": len(overview["tier_moves"]),
        "tier_moves_saved_fen": sum(move["saved_fen"] for move in overview["tier_moves"]),
        "tier_move": next((move["reason"] for move in overview["tier_moves"]), None),
        "partial_receipts": supply["partial_receipts"],
        "rejections": supply["rejected"],
        "replans": supply["replans"],
        "approved_by_person": supply["approved_by_person"],
        "order_answers_lost": _lost(replayed.companies["suppliers"]),
        "label_answers_lost": _lost(replayed.companies["carriers"]),
        "late_payments_refunded": money["late_payments_refunded"],
        "payments": phones.payments,
        "payments_never_made": phones.never,
        "payments_late": phones.late,
        "payments_refused": dict(sorted(phones.refused.items())),
        "confirmed_fen": money["confirmed_fen"],
        "ordered_fen": supply["ordered_fen"],
        "cost_per_parcel_fen": delivery["labels_fen"] // parcels if parcels else None,
        "whole_groups_share": round(delivery["groups_whole"] / groups, 4) if groups else None,
        "fulfilment_cost_fen": delivery["plan_cost_fen"],
        "fulfilment_cost_nearest_fen": delivery["nearest_cost_fen"],
        "orders": overview["by_state"]["orders"],
        "messages_parked": overview["left"]["parked"],
        "requests_repeated": {str(status): n for status, n in sorted(replayed.repeats.items())},
        "business_days": round(replayed.span.total_seconds() / 86_400, 2),
        "seconds_until_last_line": round(replayed.lines_seconds, 1),
        "seconds_in_all": round(around.seconds_in_all, 1),
        "idle_pss_mib": dict(around.idle_pss_mib),
    }


def _lost(companies: Mapping[str, Mapping[str, int]]) -> int:
    return sum(counts.get("answers_lost", 0) for counts in companies.values())


def complaints(summary: Mapping[str, Any], overview: Mapping[str, Any]) -> list[str]:
    """Return what must not be after a replay, in sentences; empty when all is well."""
    found: list[str] = []
    answered = summary["orders_accepted"] + sum(summary["orders_refused"].values())
    if answered + summary["duplicates"] != summary["lines_replayed"]:
        found.append("lines were lost: accepted + refused + duplicates is not what was replayed")
    highlights = summary["highlights"]
    rest_fen = summary["captured_fen"] - summary["refunded_fen"] - highlights["confirmed_fen"]
    if rest_fen:
        found.append(f"captured differs from confirmed + refunded by {rest_fen} fen")
    found += [f"{count} {name}" for name, count in unfinished(overview).items()]
    violations = summary["audit"]["violations"]
    if violations:
        found.append(f"the audit found {len(violations)} violations")
    return found


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print the summary, the audit and where to look."""
    table = Table(title=f"The day: {summary['source']}", show_header=False)
    for name, value in _rows(summary):
        table.add_row(name, value)
    console.print(table)
    runs = Table(title="Flow runs, as Prefect counts them")
    for column in ("flow", "completed", "failed"):
        runs.add_column(column, justify="left" if column == "flow" else "right")
    for name, counted in sorted(summary["flow_runs"].items()):
        runs.add_row(name, str(counted["completed"]), str(counted["failed"]))
    console.print(runs)
    audit = summary["audit"]
    for violation in audit["violations"][:_MOST_SHOWN]:
        console.print(
            f"{violation['invariant']}  {violation['row']}  {violation['detail']}",
            style="red",
            markup=False,
            highlight=False,
        )
    console.print(
        f"audit: {len(audit['checked'])} invariants checked, {len(audit['violations'])} violations",
        highlight=False,
    )
    for name, url in summary["urls"].items():
        console.print(f"{name}: {url}", highlight=False)


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    said = summary["highlights"]
    refused = ", ".join(f"{count} {why}" for why, count in summary["orders_refused"].items())
    memory = said["idle_pss_mib"]
    rows = [
        (
            "lines",
            (
                f"{summary['lines_replayed']:,} = {summary['orders_accepted']:,} orders accepted"
                f" + {sum(summary['orders_refused'].values()):,} refused"
                f" + {summary['duplicates']:,} duplicates"
            ),
        ),
        ("refused because", refused or "nobody"),
        (
            "speed",
            (
                f"the day's lines {summary['speed_up']:,} times as fast as they came;"
                f" {said['business_days']} days in {summary['seconds']:.0f} s"
            ),
        ),
        (
            "groups",
            f"{summary['groups_succeeded']:,} succeeded, {summary['groups_failed']:,} failed",
        ),
        (
            "money",
            (
                f"{_yuan(summary['captured_fen'])} captured ="
                f" {_yuan(said['confirmed_fen'])} confirmed"
                f" + {_yuan(summary['refunded_fen'])} refunded"
            ),
        ),
        (
            "payments",
            (
                f"{said['payments']:,} made, {said['payments_never_made']} never paid,"
                f" {said['payments_late']} paid late,"
                f" {said['late_payments_refunded']} of them refunded"
            ),
        ),
        (
            "purchases",
            (
                f"{summary['purchase_orders_sent']} orders sent for {_yuan(said['ordered_fen'])},"
                f" {summary['purchase_orders_received']} received,"
                f" {summary['units_received']:,} units;"
                f" {said['approved_by_person']} approved by a person"
            ),
        ),
        (
            "tiers",
            (
                f"{said['tier_moves']} purchases moved up a tier and saved"
                f" {_yuan(said['tier_moves_saved_fen'])}: {said['tier_move'] or '-'}"
            ),
        ),
        (
            "went wrong",
            (
                f"{said['partial_receipts']} partial receipts,"
                f" {said['rejections']} rejections ({said['replans']} replans),"
                f" {said['order_answers_lost']} order and {said['label_answers_lost']} label"
                " answers lost"
            ),
        ),
        (
            "shipped",
            (
                f"{summary['parcels_shipped']:,} parcels in {summary['waves_shipped']} waves,"
                f" {_yuan(said['cost_per_parcel_fen'] or 0)} a parcel;"
                f" {(said['whole_groups_share'] or 0):.1%} of the groups from one warehouse"
            ),
        ),
        (
            "fulfilment",
            (
                f"planned for {_yuan(said['fulfilment_cost_fen'])};"
                f" from the nearest warehouse {_yuan(said['fulfilment_cost_nearest_fen'])}"
            ),
        ),
    ]
    if memory:
        parts = ", ".join(f"{name} {mib} MiB" for name, mib in memory.items())
        rows.append(("idle memory", parts))
    return rows


def _yuan(fen: int) -> str:
    """Return an amount for people.

    >>> _yuan(123456)
    '¥1,234.56'
    """
    return f"¥{fen / _FEN:,.2f}"
