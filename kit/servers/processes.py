"""Start, watch, stop and recognise server processes, and choose their ports."""

import ctypes
import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import psutil

HOST: Final = "127.0.0.1"
# Below Linux's ephemeral range (32768..60999): an outgoing connection of somebody else can then
# not sit on the port while a killed server is being started again.
_PORTS: Final = range(20_000, 32_000)
_PORT_TRIES: Final = 200
_POLL_SECONDS: Final = 0.02
_REAP_SECONDS: Final = 3.0
_LOG_BYTES: Final = 50 * 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1

StopMode = Literal["smart", "fast", "immediate"]


class ServerError(RuntimeError):
    """A server cannot run; the message is one sentence for the person who started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An unprivileged account of this machine that runs the servers when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a server process of ours looks like from outside.

    The working directory decides; where the kernel hides it (a container's root without
    CAP_SYS_PTRACE), `arguments` or `title` in the command line do.
    """

    name: str
    directory: Path
    arguments: tuple[str, ...]
    title: str
    uid: int

    def matches(self, process: psutil.Process) -> bool:
        """Tell whether the process is this server or one of its children."""
        try:
            if process.name() != self.name or process.uids().real != self.uid:
                return False
            try:
                return Path(process.cwd()) == self.directory
            except psutil.AccessDenied:
                line = process.cmdline()
                return self._has_arguments(line) or any(self.title in part for part in line[:1])
        except psutil.Error:
            return False

    def _has_arguments(self, line: Sequence[str]) -> bool:
        width = len(self.arguments)
        return width > 0 and any(
            tuple(line[at : at + width]) == self.arguments for at in range(len(line))
        )


def tag(directory: Path) -> str:
    """Return a short name for a directory, for titles in the process list."""
    return f"caravan-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"


def choose_port(wanted: int | None) -> int:
    """Return `wanted` when nobody listens on it, or some free port when it is None.

    Raises:
        ServerError: the wanted port is in use, or no port is free.
    """
    if wanted is not None:
        if not _is_free(wanted):
            raise ServerError(f"port {wanted} on {HOST} is already in use; choose another one")
        return wanted
    for _ in range(_PORT_TRIES):
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        if _is_free(port):
            return port
    raise ServerError(f"no free port found on {HOST} between {_PORTS.start} and {_PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do themselves: connections in TIME_WAIT do not make a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def reap(identity: Identity, *, gentle: signal.Signals) -> list[int]:
    """End what a killed run left on the directory; return the pids that were ended.

    The caller holds the directory's lock, so nobody who still lives owns these processes.

    Raises:
        ServerError: a leftover survives SIGKILL.
    """
    leftovers = [process for process in psutil.process_iter() if identity.matches(process)]
    alive = leftovers
    for number in (gentle, signal.SIGKILL):
        for process in alive:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        alive = _still_running(alive, timeout_seconds=_REAP_SECONDS)
        if not alive:
            return [process.pid for process in leftovers]
    pids = ", ".join(str(process.pid) for process in alive)
    raise ServerError(f"process {pids} still uses {identity.directory} and cannot be ended")


def _still_running(
    processes: Sequence[psutil.Process], *, timeout_seconds: float
) -> list[psutil.Process]:
    """Wait for ends. A zombie has ended: process 1 of a container may never collect it."""
    deadline = time.monotonic() + timeout_seconds
    while alive := [process for process in processes if not has_ended(process)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return alive


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended, collected by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Process:
    """One child process with a log file, in a session of its own.

    A session of its own, because Ctrl-C on the supervisor's terminal must not reach the servers
    before the supervisor has stopped those who use them.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        directory: Path,
        account: Account | None,
        standard_input: bytes = b"",
        environment: Mapping[str, str] | None = None,
        parent_death: signal.Signals | None = None,
    ) -> None:
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(log.suffix + ".1"))
        self._log = log
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(handle).st_size
        try:
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=handle,
                stderr=handle,
                cwd=directory,
                env=environment_of_servers() | dict(environment or {}),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
                # One system call between fork and exec; it takes no lock a thread could hold.
                preexec_fn=_die_with(os.getpid(), parent_death) if parent_death else None,  # noqa: PLW1509  # see above
            )
        except (OSError, subprocess.SubprocessError) as error:
            who = f" as {account.name}" if account else ""
            raise ServerError(f"cannot run {command[0]}{who}: {error}") from error
        finally:
            os.close(handle)
        self._feed(standard_input)

    def _feed(self, standard_input: bytes) -> None:
        pipe = self._popen.stdin
        if pipe is None:
            return
        try:
            with pipe:
                pipe.write(standard_input)
        except BrokenPipeError:
            return  # it ended at once; whoever waits for it reads why in the log

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        return self._popen.poll()

    @property
    def alive(self) -> bool:
        return self.returncode is None

    def await_ready(self, is_ready: Callable[[], bool], *, timeout_seconds: float) -> bool:
        """Wait until `is_ready`; return False when the process ended or time ran out first."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self.wait(timeout_seconds=_POLL_SECONDS):
                return False
            if is_ready():
                return True
        return False

    def wait(self, *, timeout_seconds: float) -> bool:
        """Wait for the end; return whether it came."""
        try:
            self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, *numbers: signal.Signals, timeout_seconds: float) -> None:
        """Send the signals one after the other until the process ends, SIGKILL last."""
        for number in numbers:
            self._popen.send_signal(number)
            if self.wait(timeout_seconds=timeout_seconds):
                return
        self._popen.kill()
        self._popen.wait()

    def log_lines(self) -> list[str]:
        """Return what the process has written so far."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").splitlines()


def environment_of_servers() -> dict[str, str]:
    """Return a small environment: a server inherits none of our secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _die_with(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """Return what a child runs before exec to be signalled at its parent's end (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return prepare
