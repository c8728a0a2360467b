"""Benches are found in a checkout, and their absence is one sentence."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from caravan import benches
from tests.conftest import ROOT


def test_a_checkout_has_the_bench_of_joins() -> None:
    assert ROOT == benches.ROOT
    assert (benches.ROOT / "bench" / "join.py").is_file()


def test_without_a_checkout_one_sentence_says_where_the_benches_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benches, "ROOT", tmp_path)

    done = CliRunner().invoke(benches.bench_app, ["join", "--json"])

    assert (done.exit_code, done.stdout) == (2, "")
    said = " ".join(done.stderr.split())
    assert said.startswith("caravan: there is no bench/join.py in ")
    assert said.endswith("clone Caravan and run this command in the clone")
