"""The supervisor: starts every process of the shop in order, watches them, stops them in reverse.

Each part can run on its own host as well; state is only in Postgres. What is set by
`CARAVAN_DATABASE_URL`, `CARAVAN_REDIS_URL` or `PREFECT_API_URL` is used instead of being started.
"""

import asyncio
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

import migrations
from caravan import companies as sandbox_companies
from caravan import partners, prefect_server
from caravan.addresses import Addresses
from caravan.companies import Companies
from kit.db import make_engine, use_engine
from kit.servers.postgres import Postgres
from kit.servers.processes import Process, ServerError, choose_port
from kit.servers.valkey import Valkey
from kit.settings import Settings
from operations.load_catalogue import load_catalogue

_READY_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 0.5
# A part that dies this often in this time will not be saved by another start.
_MOST_RESTARTS: Final = 5
_RESTART_WINDOW_SECONDS: Final = 60.0

Say = Callable[[str], None]


class StackError(RuntimeError):
    """The stack cannot run; the message is one sentence for the person who started it."""


@dataclass(slots=True)
class Part:
    """One child process and how to start it again."""

    name: str
    command: list[str]
    environment: dict[str, str]
    is_ready: Callable[[], bool]
    remembers: bool = False  # it keeps in memory what no other part has
    process: Process | None = None
    restarts: deque[float] = field(default_factory=deque)


class Stack:
    """Everything that `caravan up` runs, on loopback.

    Args:
        settings: of this process; its URLs replace embedded servers.
        any_ports: take free ports where the usual ones are in use, instead of refusing.
        say: told in one short sentence what happens.
        companies: who the sandbox companies are; None takes those the catalogue in the database
            names. They only run beside the sandbox payment provider.
        catalogue: a catalogue to load before the companies open.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        say: Say,
        any_ports: bool = False,
        companies: Companies | None = None,
        catalogue: Path | None = None,
    ) -> None:
        if settings.production and settings.pay_provider == "sandbox":
            raise StackError("the sandbox payment provider cannot run in production")
        self._settings = settings
        self._home = settings.home.resolve()
        self._any_ports = any_ports
        self._say = say
        self._companies = companies
        self._catalogue = catalogue
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None
        self.parts: list[Part] = []
        self.addresses: Addresses | None = None

    def start(self) -> Addresses:
        """Start everything and return when the API answers; stop what runs when a part fails.

        Raises:
            StackError, ServerError: one sentence that says why.
        """
        try:
            self._home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"cannot use {self._home}: {error.strerror}") from error
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Addresses:
        self._check_ports()
        database_url, prefect_database_url = self._start_postgres()
        redis_url, messaging_url, docket_url = self._start_valkey()
        self._say("bringing the schema up to date")
        migrations.upgrade(database_url)
        api_port = self._port(self._settings.port)
        api_url = f"http://{self._settings.host}:{api_port}"
        common = dict(os.environ) | {
            "CARAVAN_ENV": self._settings.env.value,
            "CARAVAN_HOME": str(self._home),
            "CARAVAN_DATABASE_URL": database_url,
            "CARAVAN_REDIS_URL": redis_url,
            "PYTHONUNBUFFERED": "1",
        }
        sandbox_url = self._start_companies(common, database_url=database_url, api_url=api_url)
        prefect_api_url = self._start_prefect(
            database_url=prefect_database_url, messaging_url=messaging_url, docket_url=docket_url
        )
        common |= prefect_server.offline_settings(self._home) | {"PREFECT_API_URL": prefect_api_url}
        if sandbox_url is not None:
            common |= {
                "CARAVAN_PAY_URL": f"{sandbox_url}/pay",
                "CARAVAN_PAY_KEYS_DIR": str(self._home / "sandbox"),
                "CARAVAN_PAY_NOTIFY_URL": f"{api_url}/v1/webhooks/payments/sandbox",
            }
        self._start_ours(common, port=api_port, api_url=api_url)
        self.addresses = Addresses(
            database_url=database_url,
            redis_url=redis_url,
            api_url=api_url,
            prefect_api_url=prefect_api_url,
            sandbox_url=sandbox_url,
            supervisor_pid=os.getpid(),
        )
        self.addresses.write(self._home)
        return self.addresses

    def _start_postgres(self) -> tuple[str, str]:
        external = self._settings.database_url
        if external is not None:
            url = make_url(external.get_secret_value()).set(drivername="postgresql")
            ours = url.render_as_string(hide_password=False)
            prefects = url.set(
                drivername="postgresql+asyncpg", database=f"{url.database}_prefect"
            ).render_as_string(hide_password=False)
            return ours, prefects
        self._say("starting PostgreSQL")
        # Held before it starts, so that a failure half-way still stops it.
        self._postgres = Postgres(self._home / "postgres", dies_with_parent=True)
        self._postgres.start()
        ours = self._postgres.create_database("shop", keep_existing=True)
        prefects = self._postgres.create_database("prefect", keep_existing=True)
        return ours.replace("postgresql+asyncpg", "postgresql"), prefects

    def _start_valkey(self) -> tuple[str, str, str]:
        external = self._settings.redis_url
        if external is not None:
            url = make_url(external.get_secret_value())
            return tuple(  # type: ignore[return-value]  # three of them
                url.set(database=str(number)).render_as_string(hide_password=False)
                for number in range(3)
            )
        self._say("starting Valkey")
        self._valkey = Valkey(self._home / "valkey", dies_with_parent=True)
        self._valkey.start()
        return self._valkey.url, self._valkey.url_of(1), self._valkey.url_of(2)

    def _start_companies(
        self, common: Mapping[str, str], *, database_url: str, api_url: str
    ) -> str | None:
        if self._settings.pay_provider != "sandbox":
            return None
        self._say("opening the sandbox companies")
        port = choose_port(None)
        url = f"http://127.0.0.1:{port}"
        directory = self._home / "sandbox"
        config = asyncio.run(self._introduce(directory, database_url, api_url=api_url, url=url))
        self._run(
            Part(
                name="sandbox",
                command=[
                    sys.executable,
                    "-m",
                    "sandbox.serve",
                    "--config",
                    str(config),
                    "--port",
                    str(port),
                ],
                environment=dict(common),
                is_ready=lambda: _answers(f"{url}/sandbox/clock"),
                remembers=True,
            )
        )
        return url

    async def _introduce(
        self, directory: Path, database_url: str, *, api_url: str, url: str
    ) -> Path:
        """Make shop and companies known to each other: addresses and secrets on both sides."""
        engine = make_engine(database_url, pool_size=1, application="caravan-stack")
        use_engine(engine)
        try:
            if self._catalogue is not None:
                document = self._catalogue.read_bytes()
                await load_catalogue(document, name=str(self._catalogue))
            companies = self._companies or await sandbox_companies.of_database()
            await partners.put(sandbox_companies.endpoints(directory, companies, sandbox_url=url))
            return sandbox_companies.write_config(
                directory,
                companies,
                caravan_url=api_url,
                start=await sandbox_companies.start_time(),
            )
        finally:
            use_engine(None)
            await engine.dispose()

    def _start_prefect(self, *, database_url: str, messaging_url: str, docket_url: str) -> str:
        if self._settings.prefect_api_url is not None:
            return self._settings.prefect_api_url
        self._say("starting the Prefect server")
        port = self._port(self._settings.prefect_port)
        url = f"http://127.0.0.1:{port}/api"
        environment = prefect_server.server_settings(
            self._home,
            database_url=database_url,
            messaging_url=messaging_url,
            docket_url=docket_url,
            public_url=url,
        )
        self._run(
            Part(
                name="prefect",
                command=prefect_server.server_command(host="127.0.0.1", port=port),
                environment=_without_caravan(os.environ) | environment,
                is_ready=lambda: _answers(f"{url}/health"),
            )
        )
        return url

    def _start_ours(self, common: Mapping[str, str], *, port: int, api_url: str) -> None:
        self._say("starting the order API, the clerk and the flow runner")
        api = [
            sys.executable,
            "-m",
            "api.serve",
            "--host",
            self._settings.host,
            "--port",
            str(port),
        ]
        for number in range(self._settings.api_workers):
            self._run(
                Part(
                    name="api" if number == 0 else f"api-{number + 1}",
                    command=[*api, "--share-port"] if self._settings.api_workers > 1 else api,
                    environment=dict(common),
                    is_ready=lambda: _answers(f"{api_url}/readyz"),
                )
            )
        self._run(
            Part(
                name="clerk",
                command=[sys.executable, "-m", "caravan.clerk"],
                environment=dict(common),
                is_ready=_always,
            )
        )
        runner_ready = self._home / "runner.ready"
        runner_ready.unlink(missing_ok=True)
        self._run(
            Part(
                name="runner",
                command=[sys.executable, "-m", "flows.runner"],
                environment={**common, "CARAVAN_READY_FILE": str(runner_ready)},
                is_ready=runner_ready.exists,
            )
        )

    def _check_ports(self) -> None:
        """Refuse a port in use before anything is started."""
        if self._any_ports:
            return
        choose_port(self._settings.port)
        if self._settings.prefect_api_url is None:
            choose_port(self._settings.prefect_port)

    def _port(self, wanted: int) -> int:
        if self._any_ports:
            try:
                return choose_port(wanted)
            except ServerError:
                return choose_port(None)
        return choose_port(wanted)

    def _run(self, part: Part) -> None:
        self.parts.append(part)
        self._spawn(part)
        assert part.process is not None  # noqa: S101 - _spawn set it
        if not part.process.await_ready(part.is_ready, timeout_seconds=_READY_SECONDS):
            log = self._home / "logs" / f"{part.name}.log"
            said = [line for line in part.process.log_lines() if line.strip()][-1:]
            reason = f": {said[0].strip()}" if said else ""
            raise StackError(f"{part.name} did not start{reason} (see {log})")

    def _spawn(self, part: Part) -> None:
        logs = self._home / "logs"
        logs.mkdir(exist_ok=True)
        part.process = Process(
            part.command,
            log=logs / f"{part.name}.log",
            directory=Path.cwd(),
            account=None,
            environment=part.environment,
            parent_death=signal.SIGTERM,
        )

    def watch(self, stop: threading.Event) -> None:
        """Wait until `stop`; report and restart a part that dies.

        Raises:
            StackError: a part dies again and again, or a server of ours is gone for good.
        """
        while not stop.wait(_WATCH_SECONDS):
            self.revive()

    def revive(self) -> None:
        """Start again whatever died since the last look."""
        for name, server in (("PostgreSQL", self._postgres), ("Valkey", self._valkey)):
            if server is not None and not server.alive:
                self._say(f"{name} died; starting it again")
                server.start()
        for part in self.parts:
            if part.process is not None and not part.process.alive:
                self._restart(part, code=part.process.returncode)

    def _restart(self, part: Part, *, code: int | None) -> None:
        if part.remembers:
            raise StackError(f"{part.name} died (exit code {code}) and what it knew is lost")
        now = time.monotonic()
        while part.restarts and now - part.restarts[0] > _RESTART_WINDOW_SECONDS:
            part.restarts.popleft()
        if len(part.restarts) >= _MOST_RESTARTS:
            raise StackError(
                f"{part.name} died {_MOST_RESTARTS + 1} times in a minute;"
                f" see {self._home / 'logs' / f'{part.name}.log'}"
            )
        part.restarts.append(now)
        self._say(f"{part.name} died (exit code {code}); starting it again")
        self._spawn(part)

    def stop(self) -> None:
        """Stop everything, those who use a server before the server."""
        for part in reversed(self.parts):
            if part.process is not None:
                part.process.end(signal.SIGTERM, timeout_seconds=_STOP_SECONDS)
                part.process = None
        for server in (self._valkey, self._postgres):
            if server is not None:
                server.stop()
        Addresses.forget(self._home)


def _always() -> bool:
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own address
            return bool(answer.status < 300)  # noqa: PLR2004 - any 2xx
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _without_caravan(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without our secrets; Prefect's server needs none of them."""
    return {name: value for name, value in environment.items() if not name.startswith("CARAVAN_")}
