"""`caravan bench join` measures a real stack and leaves its books in order."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
def test_a_short_bench_of_joins_measures_both_ways_and_violates_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "caravan.cli", "bench", "join"),
            *("--seconds", "0.3", "--connections", "16", "--json"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["audit_violations"] == 0
    assert figures["durable_joins_per_s"] > figures["row_lock_joins_per_s"] > 0
    assert figures["refused"] == {"join": {}, "half_load": {}, "row_lock": {}}
