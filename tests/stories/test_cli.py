"""What a person reads who types something wrong: one sentence, exit code 2, nothing left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kit.servers.cluster import Cluster, find_binaries
from kit.servers.processes import choose_port
from kit.servers.quarters import discard, quarters
from tests.conftest import ROOT
from tests.stories.catalogue import document

_PATIENCE_SECONDS = 60


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    if home.is_dir():
        for server in ("postgres", "valkey"):
            discard(home / server)


def _caravan(
    home: Path, *words: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing set but what is given."""
    return subprocess.run(
        [sys.executable, "-m", "caravan.cli", *words],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "COLUMNS": "500",
            "CARAVAN_ENV": "test",
            "CARAVAN_HOME": str(home),
            "CARAVAN_PORT": str(choose_port(None)),
            "CARAVAN_PREFECT_PORT": str(choose_port(None)),
            **(settings or {}),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_SECONDS,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("audit", "no stack runs in {home}: start one with 'caravan up', or set"),
        ("token ops", "no stack runs in {home}: start one with 'caravan up', or set"),
        ("load {catalogue}", "no stack runs in {home}: start one with 'caravan up', or set"),
        ("replay", "no stack runs in {home}: start one with 'caravan up'"),
        ("load", "name a catalogue file, or ask for --schema"),
        ("load {home}/none.yaml", "cannot read {home}/none.yaml: No such file or directory"),
        ("up --catalogue {home}/none.yaml", "cannot read {home}/none.yaml: No such file or"),
        ("plan procurement {catalogue}", "{catalogue}: schema: must be 'p1/1'"),
    ],
)
def test_what_is_missing_is_named(home: Path, tmp_path: Path, words: str, sentence: str) -> None:
    catalogue = tmp_path / "catalogue.json"
    catalogue.write_bytes(document())
    names = {"home": home, "catalogue": catalogue}

    done = _caravan(home, *words.format(**names).split())

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"caravan: {sentence.format(**names)}")
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CARAVAN_PORT", "eighty", "Input should be a valid integer"),
        ("CARAVAN_ENV", "moon", "Input should be 'development', 'test' or 'production'"),
        ("CARAVAN_DATABASE_URL", "canary:secret", "it is no URL of a server"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_and_not_repeated(
    home: Path, name: str, value: str, reason: str
) -> None:
    done = _caravan(home, "up", settings={name: value})

    assert done.returncode == 2
    assert done.stderr.startswith(f"caravan: {name} is refused: {reason}")
    assert len(done.stderr.splitlines()) == 1
    assert "canary" not in done.stderr


def test_a_database_that_does_not_answer_is_one_sentence(home: Path) -> None:
    nobody = f"postgresql://nobody:canary@127.0.0.1:{choose_port(None)}/none"

    done = _caravan(home, "audit", settings={"CARAVAN_DATABASE_URL": nobody})

    assert done.returncode == 2
    assert done.stderr == "caravan: the database does not answer\n"


def test_the_sandbox_is_refused_in_production(home: Path) -> None:
    done = _caravan(home, "up", settings={"CARAVAN_ENV": "production"})

    assert done.returncode == 2
    assert done.stderr.startswith("caravan: the sandbox payment provider cannot run in production")
    assert not home.exists()


def test_a_home_that_is_a_file_is_one_sentence(home: Path) -> None:
    home.touch()

    done = _caravan(home, "up")

    assert done.returncode == 2
    assert done.stderr == f"caravan: cannot use {home}: File exists\n"


def test_a_half_written_data_directory_is_refused_untouched(home: Path) -> None:
    place = quarters(home / "postgres")
    precious = Cluster(place, find_binaries(place)).data / "base" / "1" / "1259"
    precious.parent.mkdir(parents=True)
    precious.write_text("rows")

    done = _caravan(home, "up")

    assert done.returncode == 2
    sentences = [line for line in done.stderr.splitlines() if line.startswith("caravan:")]
    assert len(sentences) == 1
    assert "is half-written but contains data" in sentences[0]
    assert "Traceback" not in done.stderr
    assert precious.read_text() == "rows"


def test_a_broken_catalogue_names_file_line_field_and_rule(home: Path, tmp_path: Path) -> None:
    broken = json.loads(document())
    broken["campaigns"][0]["price_fen"] = -1
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(broken, indent=1), encoding="utf-8")
    (line,) = [
        number
        for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if '"price_fen": -1' in text
    ]

    done = _caravan(home, "up", "--catalogue", str(file))

    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        (
            f"{file}:{line}: campaigns[0].price_fen: input should be greater than or equal to 1"
            " (it is -1)"
        ),
        f"caravan: {file} was refused; nothing was changed",
    ]
    assert not (home / "stack.json").exists()


def test_a_missing_lock_file_is_one_sentence(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_SECONDS,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("requirements.lock is missing: restore it with")
    assert not (tmp_path / ".venv").exists()
