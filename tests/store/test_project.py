"""The project as it is shipped: the wheel has every package, the lock names no registry."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

from tests.conftest import ROOT


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _packages() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed: list[str] = project["tool"]["setuptools"]["packages"]
    return listed


def test_every_package_of_the_tree_is_listed() -> None:
    top = {"tests", "bench", "docs", "build", "dist", "examples"}
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in ROOT.rglob("__init__.py")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        and path.relative_to(ROOT).parts[0] not in top
    }

    assert sorted(found) == sorted(_packages())


def test_the_wheel_installs_in_a_clean_venv_and_every_package_imports(tmp_path: Path) -> None:
    source = tmp_path / "source"
    listed = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.splitlines():
        origin = ROOT / name
        if origin.is_file():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(origin.read_bytes())
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        source,
        cwd=ROOT,
    )
    (wheel,) = tmp_path.glob("caravan-*.whl")

    clean = tmp_path / "clean"
    venv.create(clean, with_pip=False)
    python = clean / "bin" / "python"
    _run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    (site,) = clean.glob("lib/python*/site-packages")
    # The locked dependencies, without the .pth files that make this checkout importable.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    imports = "; ".join(f"import {name}" for name in _packages())
    where = _run(python, "-c", f"{imports}; print(kit.__file__)", cwd=tmp_path)

    assert where.startswith(str(clean))
    shown = _run(python, "-m", "caravan.cli", "--help", cwd=tmp_path)
    assert "replay" in shown


def test_the_lock_has_hashes_and_names_no_registry() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-z0-9][^ ]*==", lock, flags=re.MULTILINE)

    assert len(pinned) > 50
    assert "://" not in lock
    assert "--index-url" not in lock
    for entry in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_no_other_lock_is_committed() -> None:
    tracked = _run("git", "ls-files", cwd=ROOT).splitlines()

    assert "uv.lock" not in tracked
    assert "requirements.lock" in tracked
