"""The group-formation baseline on the real order lines, against its published numbers.

Skipped where the data folder is absent. The expected numbers are read from its GOLDEN.md, so the
test and the publication cannot drift apart.
"""

import csv
import gzip
import re
from datetime import datetime
from pathlib import Path

import pytest

from groups.formation import Line, first_lines, form_groups, hottest, summarise
from kit.settings import Settings
from tests.conftest import ROOT

_ROW = re.compile(
    r"\| (?P<size>\d+) \| (?P<groups>[\d,]+) \| (?P<success>[\d.]+) % \| (?P<fill>[\d,]+) min"
    r" \| (?P<hot>[\d.]+) % \| (?P<joined>[\d,]+) \| (?P<refund>[\d,]+) \|"
)
_FROM = "2011-11-01"


def _data_dir() -> Path:
    folder = ROOT / Settings().data_dir
    if not (folder / "GOLDEN.md").is_file():
        pytest.skip("the real order lines are not here (CARAVAN_DATA_DIR)")
    return folder


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _lines(folder: Path) -> list[Line]:
    with gzip.open(folder / "orders_burst_2011-11-01_12-09.csv.gz", "rt", encoding="utf-8") as file:
        return [
            Line(
                invoice=row["invoice"],
                sku=row["sku"],
                buyer=row["customer"],
                at=datetime.fromisoformat(row["ts"]),
            )
            for row in csv.DictReader(file)
            if row["kind"] == "sale" and row["customer"] and row["ts"] >= _FROM
        ]


def test_every_number_of_the_published_baseline_is_reproduced() -> None:
    folder = _data_dir()
    lines = _lines(folder)
    golden = list(_ROW.finditer((folder / "GOLDEN.md").read_text(encoding="utf-8")))
    assert [int(row["size"]) for row in golden] == [2, 3, 5]
    hot, kept = hottest(lines, count=50), first_lines(lines)

    for row in golden:
        groups = form_groups(kept, size=int(row["size"]))
        everything, hottest_50 = summarise(groups), summarise(groups, only=hot)

        assert everything.median_fill is not None
        assert everything.groups == _number(row["groups"])
        assert f"{everything.success_share:.1%}" == f"{row['success']}%"
        assert round(everything.median_fill.total_seconds() / 60) == _number(row["fill"])
        assert f"{hottest_50.success_share:.1%}" == f"{row['hot']}%"
        assert everything.members_succeeded == _number(row["joined"])
        assert everything.members_failed == _number(row["refund"])
