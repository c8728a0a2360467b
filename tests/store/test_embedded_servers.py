"""The embedded servers start, are recognised after a crash, and refuse with one sentence."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from kit.servers.cluster import Cluster, find_binaries
from kit.servers.postgres import Postgres
from kit.servers.processes import HOST, ServerError, has_ended
from kit.servers.quarters import discard, quarters
from kit.servers.valkey import Valkey

pytestmark = pytest.mark.kills_servers

_RUN_UNTIL_KILLED = """
import sys, threading
from pathlib import Path
from kit.servers.postgres import Postgres
from kit.servers.valkey import Valkey

home = Path(sys.argv[1])
linked = sys.argv[2] == "linked"
postgres = Postgres(home, durable=False, dies_with_parent=linked)
valkey = Valkey(home, dies_with_parent=linked)
postgres.start()
valkey.start()
print(postgres.pid, valkey.pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "home"
    yield place
    discard(place)


def _asyncpg_url(postgres: Postgres, database: str = "caravan") -> str:
    return postgres.url_of(database, scheme="postgresql")


async def _ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _killed_run(home: Path, *, linked: bool) -> tuple[int, int]:
    """Start both servers in another process, kill -9 it, and return the servers' pids."""
    with subprocess.Popen(
        [sys.executable, "-c", _RUN_UNTIL_KILLED, str(home), "linked" if linked else "free"],
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        postgres_pid, valkey_pid = (int(word) for word in run.stdout.readline().split())
        run.kill()
    return postgres_pid, valkey_pid


def _has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or has_ended(psutil.Process(pid))


async def test_postgres_runs_with_the_settings_asked_for(home: Path) -> None:
    with Postgres(home) as postgres:
        url = _asyncpg_url(postgres)

        assert str(await _ask(url, "SHOW server_version")).startswith("18.")
        shown = {
            name: await _ask(url, f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "listen_addresses", "TimeZone", "jit")
        }
        assert shown == {
            "fsync": "on",
            "synchronous_commit": "on",
            "listen_addresses": HOST,
            "TimeZone": "UTC",
            "jit": "off",
        }
        await _ask(url, "CREATE EXTENSION pg_trgm")
        assert await _ask(url, "SELECT similarity('tea', 'tea')") == 1.0


async def test_a_stranger_on_this_machine_needs_the_password(home: Path) -> None:
    with Postgres(home, durable=False) as postgres, Valkey(home) as valkey:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _ask(f"postgresql://caravan:guess@{HOST}:{postgres.port}/caravan", "SELECT 1")
        once = Retry(NoBackoff(), retries=0)
        async with Redis(host=HOST, port=valkey.port, retry=once) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
        async with Redis.from_url(valkey.url) as ours:
            assert await ours.ping()

        kept = [home / "postgres.password", home / "valkey.password"]
        assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600, 0o600]
        secret = kept[0].read_text().strip()
        lines = [" ".join(psutil.Process(pid).cmdline()) for pid in (postgres.pid, valkey.pid)]
        assert not any(secret in line for line in lines)


def test_servers_never_run_as_root(home: Path) -> None:
    with Postgres(home, durable=False) as postgres, Valkey(home) as valkey:
        owners = [psutil.Process(pid).uids().real for pid in (postgres.pid, valkey.pid)]
        groups = [os.getsid(pid) == pid for pid in (postgres.pid, valkey.pid)]

    assert 0 not in owners
    assert groups == [True, True]


async def test_rows_survive_kill_and_restart_on_the_same_port(home: Path) -> None:
    with Postgres(home) as postgres:
        port = postgres.port
        await _ask(_asyncpg_url(postgres), "CREATE TABLE kept AS SELECT 7 AS units")
        postgres.kill()
        assert not postgres.alive
        postgres.start()
        after_kill = await _ask(_asyncpg_url(postgres), "SELECT units FROM kept")
        postgres.restart("immediate")
        after_restart = await _ask(_asyncpg_url(postgres), "SELECT units FROM kept")

        assert (after_kill, after_restart, postgres.port) == (7, 7, port)


async def test_databases_are_copied_kept_and_dropped(home: Path) -> None:
    with Postgres(home, durable=False) as postgres:
        template = postgres.create_database("template_of_tests")
        await _ask(template.replace("+asyncpg", ""), "CREATE TABLE kept AS SELECT 7 AS units")
        copy = postgres.create_database("copy", template="template_of_tests")

        assert await _ask(copy.replace("+asyncpg", ""), "SELECT units FROM kept") == 7
        with pytest.raises(ServerError, match="already exists"):
            postgres.create_database("copy")
        assert postgres.create_database("copy", keep_existing=True) == copy
        postgres.drop_database("copy")
        assert not postgres.has_database("copy")
        with pytest.raises(ServerError, match="no database name"):
            postgres.create_database('x"; DROP DATABASE caravan; --')


def test_the_next_start_reaps_what_a_killed_run_left(home: Path) -> None:
    postgres_pid, valkey_pid = _killed_run(home, linked=False)
    assert psutil.pid_exists(postgres_pid)
    assert psutil.pid_exists(valkey_pid)

    with Postgres(home, durable=False) as postgres, Valkey(home) as valkey:
        assert postgres_pid in postgres.reaped
        assert valkey.reaped == [valkey_pid]
        assert _has_ended(postgres_pid)
        assert _has_ended(valkey_pid)
        assert postgres.alive
        assert valkey.alive


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_linked_servers_end_with_their_parent(home: Path) -> None:
    postgres_pid, valkey_pid = _killed_run(home, linked=True)

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (_has_ended(postgres_pid) and _has_ended(valkey_pid)):
        os.sched_yield()
    assert _has_ended(postgres_pid)
    assert _has_ended(valkey_pid)


def test_a_hung_leftover_is_reaped_too(home: Path) -> None:
    postgres_pid, _ = _killed_run(home, linked=False)
    os.kill(postgres_pid, signal.SIGSTOP)

    with Postgres(home, durable=False) as postgres, Valkey(home):
        assert postgres_pid in postgres.reaped
        assert _has_ended(postgres_pid)


def test_a_foreign_process_is_never_touched(home: Path) -> None:
    with Postgres(home, durable=False) as postgres:
        data = postgres.data_directory
    assert data is not None

    with subprocess.Popen(["sleep", "600"]) as stranger, Postgres(home.parent / "other") as other:
        # A pid file whose number has been given to somebody else since the crash.
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n0\n1\n\n{HOST}\n\nready\n")
        with Postgres(home, durable=False) as postgres:
            assert postgres.reaped == []
            assert stranger.poll() is None
            assert other.alive
        stranger.kill()
    discard(home.parent / "other")


def test_a_home_in_use_is_refused(home: Path) -> None:
    with Postgres(home, durable=False), Valkey(home):
        with pytest.raises(ServerError, match=f"in use by process {os.getpid()}"):
            Postgres(home).start()
        with pytest.raises(ServerError, match="in use by process"):
            Valkey(home).start()
        with pytest.raises(ServerError, match="in use by process"):
            discard(home)


def test_a_port_in_use_is_refused(home: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for server in (Postgres(home, port=port), Valkey(home, port=port)):
            with pytest.raises(ServerError, match=f"port {port} on {HOST} is already in use"):
                server.start()
            assert not server.alive


def test_an_interrupted_copy_is_made_again(home: Path) -> None:
    place = quarters(home)
    cluster = Cluster(place, find_binaries(place))
    unfinished = cluster.parent / ".incoming-killed"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    cluster.data.mkdir()
    (cluster.data / "PG_VERSION").write_text("18\n")

    with Postgres(home, durable=False) as postgres:
        assert postgres.alive
        assert postgres.data_directory == cluster.data
        assert not unfinished.exists()


def test_a_half_written_directory_with_data_is_refused_untouched(home: Path) -> None:
    with Postgres(home, durable=False) as postgres:
        data = postgres.data_directory
    assert data is not None
    control = data / "global" / "pg_control"
    kept = control.read_bytes()

    control.unlink()
    with pytest.raises(ServerError, match="half-written but contains data"):
        Postgres(home, durable=False).start()
    control.write_bytes(kept)
    (data / "caravan.complete").unlink()
    with pytest.raises(ServerError, match="half-written but contains data"):
        Postgres(home, durable=False).start()
    assert control.read_bytes() == kept


def test_data_of_another_major_version_is_refused(home: Path) -> None:
    with Postgres(home, durable=False) as postgres:
        data = postgres.data_directory
    assert data is not None
    (data / "PG_VERSION").write_text("17\n")

    with pytest.raises(ServerError, match=r"made by PostgreSQL 17, this is PostgreSQL 18"):
        Postgres(home, durable=False).start()


async def test_a_lost_password_file_is_replaced_and_data_kept(home: Path) -> None:
    with Postgres(home, durable=False) as postgres:
        await _ask(_asyncpg_url(postgres), "CREATE TABLE kept AS SELECT 7 AS units")
        before = postgres.url
    (home / "postgres.password").unlink()

    with Postgres(home, durable=False) as postgres:
        assert await _ask(_asyncpg_url(postgres), "SELECT units FROM kept") == 7
        assert postgres.url.split("@")[0] != before.split("@")[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root's data lies outside its home")
@pytest.mark.parametrize("durable", [True, False])
def test_only_throwaway_data_goes_when_its_home_is_gone(home: Path, *, durable: bool) -> None:
    room = quarters(home).room
    with Postgres(home, durable=durable), Valkey(home):
        shutil.rmtree(home)
        quarters(home.parent / "other")
        assert room.exists()

    quarters(home.parent / "other")

    assert room.exists() is durable
    discard(home.parent / "other")


def test_a_full_disk_is_one_sentence(home: Path) -> None:
    room = quarters(home).room
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0711", "none", str(room)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        with pytest.raises(ServerError, match=r"no disk space: \d+ MiB are free"):
            Postgres(home).start()
    finally:
        subprocess.run(["umount", str(room)], check=True)
