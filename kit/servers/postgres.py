"""An embedded PostgreSQL: start, stop, kill, and databases."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Final

from kit.servers.cluster import DATABASE, ROLE, Binaries, Cluster, find_binaries, identifier, why
from kit.servers.embedded import EmbeddedServer
from kit.servers.processes import (
    HOST,
    Identity,
    Process,
    ServerError,
    StopMode,
    choose_port,
    environment_of_servers,
    reap,
    tag,
)
from kit.servers.quarters import Quarters, password

_PORT_RACES: Final = 3
_STOP_SECONDS: Final = 30.0
_SIGNALS: Final[dict[StopMode, tuple[signal.Signals, ...]]] = {
    "smart": (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT),
    "fast": (signal.SIGINT, signal.SIGQUIT),
    "immediate": (signal.SIGQUIT,),
}
_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # Details of an error quote the row, and rows hold what must not be in a log.
    "log_error_verbosity": "terse",
}
_LASTING: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_PASSING: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(EmbeddedServer):
    """One server on loopback, with its data under (or named after) a home directory.

    Args:
        home: holds `postgres.log` and `postgres.password`; the data too, unless we are root.
        port: None takes a free one; it then stays the same over restarts of this object.
        durable: False is for tests: a crash of the machine may lose everything, nothing else may.
        dies_with_parent: the kernel ends the server when this process ends (Linux). Otherwise
            the next start on the same home does.
    """

    name = "PostgreSQL"
    code = "postgres"

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        dies_with_parent: bool = False,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        super().__init__(
            home,
            port=port,
            parent_death=signal.SIGQUIT if dies_with_parent else None,
            start_timeout_seconds=start_timeout_seconds,
        )
        self._durable = durable
        self._binaries: Binaries | None = None

    @property
    def url(self) -> str:
        """The default database, for SQLAlchemy with asyncpg."""
        return self.url_of(DATABASE)

    def url_of(self, database: str, *, scheme: str = "postgresql+asyncpg") -> str:
        """Return the address of one database; the password is in it."""
        return f"{scheme}://{ROLE}:{self._password}@{HOST}:{self.port}/{identifier(database)}"

    def _start(self, place: Quarters) -> None:
        self._binaries = find_binaries(place)
        cluster = Cluster(place, self._binaries)
        self.data_directory = cluster.data
        title = tag(cluster.data)
        self.reaped = reap(
            Identity(
                name="postgres",
                directory=cluster.data,
                arguments=("-D", str(cluster.data)),
                title=f"postgres: {title}: ",
                uid=place.uid,
            ),
            gentle=signal.SIGQUIT,
        )
        self._password = password(place.home / "postgres.password")
        cluster.prepare(password=self._password, durable=self._durable)
        # Nobody is on the directory; a reused process number must not stop the new server.
        pid_file = cluster.data / "postmaster.pid"
        pid_file.unlink(missing_ok=True)
        for race in range(_PORT_RACES):
            self._port = choose_port(self._port)
            process = self._spawn(place, cluster.data, self._binaries, title=title)
            if process.await_ready(
                partial(_is_ready, pid_file, pid=process.pid),
                timeout_seconds=self._start_timeout_seconds,
            ):
                self._process = process
                return
            lines = process.log_lines()
            process.end(signal.SIGQUIT, timeout_seconds=_STOP_SECONDS)
            lost_race = any("Address already in use" in line for line in lines)
            if not lost_race or race == _PORT_RACES - 1 or self._wanted_port is not None:
                raise ServerError(
                    why(lines, of="PostgreSQL")
                    if process.returncode
                    else f"PostgreSQL was not ready in {self._start_timeout_seconds:g} s"
                )
            self._port = None

    def _spawn(self, place: Quarters, data: Path, binaries: Binaries, *, title: str) -> Process:
        settings = {
            **_SETTINGS,
            **(_LASTING if self._durable else _PASSING),
            "port": str(self.port),
            "cluster_name": title,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Process(
            [binaries["postgres"], "-D", data, *options],
            log=place.home / "postgres.log",
            directory=data.parent,
            account=place.account,
            parent_death=self._parent_death,
        )

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server: smart waits for clients, fast ends them, immediate is a tidy crash."""
        self._end(*_SIGNALS[mode], within_seconds=_STOP_SECONDS)

    def kill(self) -> None:
        """End the server as kill -9 does; `start` recovers from it."""
        self._end(within_seconds=0)

    def create_database(
        self, name: str, *, template: str | None = None, keep_existing: bool = False
    ) -> str:
        """Make a database, as a copy of `template` when named, and return its address.

        Raises:
            ServerError: it exists (unless `keep_existing`), or the template is in use.
        """
        if not (keep_existing and self.has_database(name)):
            source = f" TEMPLATE {identifier(template)}" if template else ""
            self._run_sql(f"CREATE DATABASE {identifier(name)}{source}")
        return self.url_of(name)

    def has_database(self, name: str) -> bool:
        """Tell whether the database exists."""
        statement = f"SELECT 1 FROM pg_database WHERE datname = '{identifier(name)}'"  # noqa: S608  # an identifier without quotes
        return bool(self._run_sql(statement).strip())

    def drop_database(self, name: str) -> None:
        """Drop a database and disconnect whoever uses it."""
        self._run_sql(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")

    def _run_sql(self, statement: str) -> str:
        if self._binaries is None:
            raise ServerError("PostgreSQL has not been started")
        done = subprocess.run(
            [self._binaries["psql"], "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement],
            capture_output=True,
            text=True,
            check=False,
            env=environment_of_servers()
            | {
                "PGHOST": HOST,
                "PGPORT": str(self.port),
                "PGUSER": ROLE,
                "PGPASSWORD": self._password,
                "PGDATABASE": "postgres",
                "PGCONNECT_TIMEOUT": "5",
                "PGPASSFILE": os.devnull,
            },
        )
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()).removeprefix("ERROR: ")
            raise ServerError(f"PostgreSQL refuses {statement!r}: {reason}")
        return done.stdout


def _is_ready(pid_file: Path, *, pid: int) -> bool:
    """Read what pg_ctl reads: line 1 is the process, line 8 its state."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    state_line = 8
    return (
        len(lines) >= state_line
        and lines[0].strip() == str(pid)
        and lines[state_line - 1].strip() == "ready"
    )
