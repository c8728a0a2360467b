"""The whole stack as `caravan up` runs it, in a home of its own, whose processes can be killed."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from caravan.addresses import Addresses
from kit.servers.processes import Process, choose_port, has_ended
from tests.conftest import ROOT
from tests.stories.catalogue import document

_START_SECONDS: Final = 110.0
_STOP_SECONDS: Final = 30.0
# What tells a child of the supervisor from the others.
_MODULES: Final = {
    "api": "api.serve",
    "clerk": "caravan.clerk",
    "runner": "flows.runner",
    "sandbox": "sandbox.serve",
}


class House:
    """A stack with the shop of the stories loaded, and its supervisor.

    Args:
        home: where its data lies; it may be opened again after it was closed.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self._supervisor: Process | None = None

    # --- opening and closing ----------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._supervisor is not None and self._supervisor.alive

    @property
    def supervisor(self) -> Process:
        assert self._supervisor is not None, "the house was never opened"
        return self._supervisor

    @property
    def addresses(self) -> Addresses:
        found = Addresses.read(self.home)
        assert found is not None, "nothing runs in this home"
        return found

    def open(self, **settings: str) -> None:
        """Run `caravan up` until everything answers."""
        self.call_up(**settings)
        ready = self.supervisor.await_ready(
            lambda: Addresses.read(self.home) is not None, timeout_seconds=_START_SECONDS
        )
        assert ready, "\n".join(self.said())

    def call_up(self, **settings: str) -> None:
        """Run `caravan up`, on ports that are free unless they are named."""
        # JSON is YAML, and the catalogue of the stories is JSON.
        catalogue = self.home / "catalogue.json"
        catalogue.write_bytes(document())
        environment = {
            "HOME": os.environ.get("HOME", str(self.home)),
            "CARAVAN_ENV": "test",
            "CARAVAN_HOME": str(self.home),
            "CARAVAN_PORT": str(choose_port(None)),
            "CARAVAN_PREFECT_PORT": str(choose_port(None)),
        }
        self._supervisor = Process(
            [sys.executable, "-m", "caravan.cli", "up", "--catalogue", catalogue],
            log=self.home / "up.log",
            directory=ROOT,
            account=None,
            environment={**environment, **settings},
            parent_death=signal.SIGTERM,
        )

    def close(self) -> None:
        """Stop everything, as Ctrl-C does."""
        if self._supervisor is not None:
            self._supervisor.end(signal.SIGINT, timeout_seconds=_STOP_SECONDS)

    def said(self) -> list[str]:
        """Return what the supervisor printed since it was started."""
        return self.supervisor.log_lines()

    # --- its processes ----------------------------------------------------------------

    def pid_of(self, part: str) -> int | None:
        """Return the process of a part; None while there is none."""
        for child in psutil.Process(self.supervisor.pid).children():
            if not has_ended(child) and _is(child, part):
                return child.pid
        return None

    def kill(self, part: str) -> int:
        """Kill a part as kill -9 does and return which process it was."""
        pid = self.pid_of(part)
        assert pid is not None, f"{part} is not running"
        os.kill(pid, signal.SIGKILL)
        return pid

    def family(self) -> list[psutil.Process]:
        """Return every process that descends from the supervisor now."""
        return psutil.Process(self.supervisor.pid).children(recursive=True)

    def left(self, family: Sequence[psutil.Process]) -> list[psutil.Process]:
        """Return who is left of a family, and who else works for this home."""
        return [
            process
            for process in {*family, *psutil.process_iter()}
            if not has_ended(process) and (process in family or self._is_ours(process))
        ]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("CARAVAN_HOME") == str(self.home)
        except psutil.Error:
            return False  # of another account, like the servers: they are in the family


def _is(process: psutil.Process, part: str) -> bool:
    try:
        if part == "postgres":
            return process.name() == "postgres"
        return _MODULES[part] in process.cmdline()
    except psutil.Error:
        return False
