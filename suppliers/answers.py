"""What a supplier's answer means: within the agreed tolerance it is taken, else proposed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from kit.money import BASIS_POINTS, yuan

# Documents speak of days: a promise for later on the requested day is no delay.
SAME_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredLine:
    """What the supplier says of one line."""

    line_no: int
    accepted_units: int
    unit_price_fen: int
    promised_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLine:
    """What was ordered, and how far an answer may stray from it."""

    line_no: int
    sku: str
    ordered_units: int
    unit_price_fen: int
    requested_at: datetime
    safety_days: int  # lateness that the agreement's safety days already allow for


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How an answered line differs from what was ordered, beyond tolerance."""

    line_no: int
    sku: str
    extra_fen: int  # of the units accepted
    days_late: int
    lost_units: int


def deviations(
    asked: Sequence[AskedLine], answered: Mapping[int, AnsweredLine], *, price_tolerance_bp: int
) -> tuple[Deviation, ...]:
    """Return the lines whose price or date is outside tolerance; empty means: take the answer.

    A lower price and an earlier date are always within; a smaller quantity is not a deviation by
    itself, because the rest can be bought elsewhere.
    """
    found = []
    for line in asked:
        said = answered.get(line.line_no)
        if said is None or said.accepted_units == 0:
            continue
        too_dear = said.unit_price_fen * BASIS_POINTS > line.unit_price_fen * (
            BASIS_POINTS + price_tolerance_bp
        )
        late = timedelta()
        if said.promised_at is not None:
            late = said.promised_at - line.requested_at
        too_late = late >= SAME_DAY + timedelta(days=line.safety_days)
        if not (too_dear or too_late):
            continue
        extra_fen = (said.unit_price_fen - line.unit_price_fen) * said.accepted_units
        found.append(
            Deviation(
                line_no=line.line_no,
                sku=line.sku,
                extra_fen=max(extra_fen, 0),
                days_late=max(late.days, 0),
                lost_units=line.ordered_units - said.accepted_units,
            )
        )
    return tuple(found)


def proposal_document(
    change: Mapping[str, Any],
    asked: Sequence[AskedLine],
    answered: Mapping[int, AnsweredLine],
    found: Sequence[Deviation],
) -> dict[str, Any]:
    """Return a proposal as it is kept for a person: what was said, and what taking it would do."""
    return {
        "change_id": change.get("change_id"),
        "reason": change.get("reason", ""),
        "revision": change["revision"],
        "lines": [
            {
                "line_no": said.line_no,
                "accepted_units": said.accepted_units,
                "unit_price_fen": said.unit_price_fen,
                "promised_at": None if said.promised_at is None else said.promised_at.isoformat(),
            }
            for said in answered.values()
        ],
        "effect": {
            "extra_fen": sum(row.extra_fen for row in found),
            "lost_units": sum(
                line.ordered_units - answered[line.line_no].accepted_units
                for line in asked
                if line.line_no in answered
            ),
            "days_late": max((row.days_late for row in found), default=0),
            "sentences": [_sentence(row) for row in found],
        },
    }


def _sentence(row: Deviation) -> str:
    parts = []
    if row.extra_fen:
        parts.append(f"costs {yuan(row.extra_fen)} more")
    if row.days_late:
        parts.append(f"comes {row.days_late} days late")
    if row.lost_units:
        parts.append(f"is {row.lost_units} units short")
    return f"line {row.line_no} ({row.sku}) {', '.join(parts)}"
