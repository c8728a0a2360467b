"""What every embedded server is: one process on loopback, a port that lasts, a lock on its home."""

import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from kit.servers.processes import Process, ServerError, StopMode
from kit.servers.quarters import Lock, Quarters, quarters


class EmbeddedServer(ABC):
    """A server that starts and stops with its owner."""

    name: ClassVar[str]
    """As sentences call it."""
    code: ClassVar[str]
    """As its files are called."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None,
        parent_death: signal.Signals | None,
        start_timeout_seconds: float,
    ) -> None:
        self._home = home
        self._wanted_port = port
        self._port = port
        self._parent_death = parent_death
        self._start_timeout_seconds = start_timeout_seconds
        self._process: Process | None = None
        self._lock: Lock | None = None
        self._password = ""
        self.data_directory: Path | None = None
        self.reaped: list[int] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServerError(f"{self.name} has not been started")
        return self._port

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            ServerError: it cannot; the message says why in one sentence.
        """
        if self.alive:
            raise ServerError(f"{self.name} is already running as process {self.pid}")
        self._release()
        place = quarters(self._home)
        self._lock = Lock(place.room / f"{self.code}.lock")
        self._lock.take()
        try:
            self._start(place)
        except BaseException:
            self._release()
            raise

    @abstractmethod
    def _start(self, place: Quarters) -> None:
        """Start the process; the home is locked."""

    @abstractmethod
    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server: smart waits for clients, fast ends them, immediate is a tidy crash."""

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start on the same port."""
        self.stop(mode)
        self.start()

    def _end(self, *numbers: signal.Signals, within_seconds: float) -> None:
        """End the process by these signals in turn, at last by a kill, and free the home."""
        if self._process is not None:
            self._process.end(*numbers, timeout_seconds=within_seconds)
            self._process = None
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
