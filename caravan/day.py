"""The day that is replayed: order lines of a real peak day, or a generated one.

Real: 2011-12-05 of "Online Retail" (Chen, Sain, Guo 2012, doi:10.1057/dbm.2012.17), every sale
line. One line is one seat of quantity 1; a line without a customer belongs to its invoice.
"""

import csv
import gzip
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Final

from caravan.figures import ORDERS_BY_HOUR, PAY_DELAY_QUANTILES, PROVINCES, Province

PEAK_DATE: Final = "2011-12-05"
BURST_FILE: Final = "orders_burst_2011-11-01_12-09.csv.gz"
_COLUMNS: Final = ("invoice", "ts", "sku", "unit_price_gbp", "customer", "kind")

# The generated day has the size and the popularity skew of the real one: 5,281 lines over 1,763
# SKUs of which the hottest has 25, by a Zipf law with this exponent; 45 lines an invoice.
_GENERATED_LINES: Final = 5_281
_GENERATED_SKUS: Final = 1_763
_ZIPF_EXPONENT: Final = 0.55
_LINES_PER_INVOICE: Final = 45
_PROVINCE_WEIGHTS: Final = tuple(accumulate(province.orders for province in PROVINCES))


class NoDay(RuntimeError):
    """There are no order lines to replay; the message says where they were looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One seat that somebody wants."""

    invoice: str
    at: timedelta  # since midnight
    sku: str
    customer: str
    price_pence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """Order lines in the order of their time, without the repeated ones.

    Args:
        duplicates: repeated (invoice, sku) lines; they are counted, not sent.
    """

    source: str
    lines: tuple[Line, ...]
    duplicates: int

    @property
    def skus(self) -> tuple[str, ...]:
        return tuple(sorted({line.sku for line in self.lines}))


def read_day(source: Path, *, date: str | None = PEAK_DATE) -> Day:
    """Read the sale lines of one date from a CSV (may be gzipped) or a directory that has it.

    Args:
        date: ISO; None takes the date with most sale lines.

    Raises:
        NoDay: no such file, a column is missing, or no line has that date.
    """
    path = source / BURST_FILE if source.is_dir() else source
    try:
        rows = _sale_rows(path)
    except OSError as error:
        raise NoDay(f"cannot read order lines from {path}: {error.strerror}") from error
    except (KeyError, ValueError) as error:
        raise NoDay(f"{path} does not hold order lines: {error}") from error
    if date is None and rows:
        by_date: dict[str, int] = {}
        for row in rows:
            by_date[row["ts"][:10]] = by_date.get(row["ts"][:10], 0) + 1
        date = max(by_date, key=lambda day: (by_date[day], day))
    lines = [_line(row) for row in rows if row["ts"][:10] == date]
    if not lines:
        raise NoDay(f"{path} has no sale lines of {date}")
    return _day(lines, source=f"{date} of {path.name}")


def _sale_rows(path: Path) -> list[dict[str, str]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise KeyError(f"column {missing[0]} is missing")
    return [row for row in reader if row["kind"] == "sale"]


def _line(row: dict[str, str]) -> Line:
    moment = datetime.fromisoformat(row["ts"])
    return Line(
        invoice=row["invoice"],
        at=timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second),
        sku=row["sku"],
        customer=row["customer"] or row["invoice"],
        price_pence=round(float(row["unit_price_gbp"]) * 100),
    )


def _day(lines: Sequence[Line], *, source: str) -> Day:
    kept: dict[tuple[str, str], Line] = {}
    for line in lines:
        kept.setdefault((line.invoice, line.sku), line)
    ordered = sorted(kept.values(), key=lambda line: line.at)  # stable: the file's order
    return Day(source=source, lines=tuple(ordered), duplicates=len(lines) - len(kept))


def generated_day(*, seed: int = 20111205) -> Day:
    """Return a day made from published figures, for machines without the data."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    weights = list(accumulate((rank + 1) ** -_ZIPF_EXPONENT for rank in range(_GENERATED_SKUS)))
    hours = list(accumulate(ORDERS_BY_HOUR))
    lines: list[Line] = []
    for number in range(_GENERATED_LINES // _LINES_PER_INVOICE + 1):
        hour = chance.choices(range(24), cum_weights=hours)[0]
        at = timedelta(hours=hour, minutes=chance.randrange(60))
        wanted = min(_LINES_PER_INVOICE, _GENERATED_LINES - len(lines))
        lines.extend(
            Line(
                invoice=f"G{number:05d}",
                at=at,
                sku=f"G{rank:04d}",
                customer=f"C{number:05d}",
                price_pence=50 + rank * 37 % 950,
            )
            for rank in chance.choices(range(_GENERATED_SKUS), cum_weights=weights, k=wanted)
        )
    return _day(lines, source="generated from published figures")


def pay_delay(chance: random.Random) -> timedelta:
    """Draw the time from an order to its payment, between the published quantiles."""
    drawn = chance.random()
    (low, low_seconds), *rest = PAY_DELAY_QUANTILES
    for high, high_seconds in rest:
        if drawn <= high:
            part = (drawn - low) / (high - low)
            return timedelta(seconds=low_seconds + part * (high_seconds - low_seconds))
        low, low_seconds = high, high_seconds
    return timedelta(seconds=low_seconds)


def province(chance: random.Random) -> Province:
    """Draw the province that a parcel goes to."""
    return chance.choices(PROVINCES, cum_weights=_PROVINCE_WEIGHTS)[0]
