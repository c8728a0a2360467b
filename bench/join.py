"""How fast one hot SKU is joined over HTTP, beside a row lock per order and an empty request.

`python -m bench.join --json` prints the figures as one document. Servers, workers and the load
generator share this machine; ratios are what to compare, absolute figures drift.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
import uvloop

import migrations
from bench.load import Outcome, drive
from groups.sessions import token_hash
from kit.ids import new_id
from kit.servers.postgres import Postgres

ROOT: Final = Path(__file__).resolve().parent.parent
BUYERS: Final = 4_000
GROUPS: Final = 2_000
CAPACITY: Final = 1_000
POOLS: Final = (4, 16, 64)
_WARM_SHARE: Final = 0.3
_ADDRESS: Final = (
    '{"province":"广东","city":"深圳","district":"南山","detail":"科技园 1 号",'
    '"name":"李明","phone":"13800000000"}'
)

# What the schema cannot forbid, counted row by row.
_AUDIT: Final = """
SELECT (SELECT count(*) FROM buying_group g WHERE g.held_seats <>
        (SELECT count(*) FROM buyer_order o WHERE o.group_id = g.id AND o.state = 'reserved'))
    + (SELECT count(*) FROM seat_budget b WHERE b.claimed_units <>
        (SELECT coalesce(sum(claim_units), 0) FROM buyer_order o WHERE o.sku = b.sku)
        OR b.claimed_units > b.budget_units)
    + (SELECT abs((SELECT count(*) FROM buyer_order) - (SELECT count(*) FROM outbox_message)))
    + (SELECT abs((SELECT count(*) FROM buyer_order) - (SELECT count(*) FROM order_journal)))
    + (SELECT abs((SELECT count(*) FROM buyer_order)
        - (SELECT count(*) FROM idempotent_answer WHERE status = 201)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A migrated database with one hot SKU."""

    url: str
    postmaster: int
    tokens: list[str]
    groups: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of the load, and the processor time it took."""

    outcome: Outcome
    api_seconds: float
    postgres_seconds: float

    @property
    def per_second(self) -> float:
        return self.outcome.accepted / self.outcome.seconds


async def _seed(url: str) -> tuple[list[str], list[str]]:
    tokens = [f"bench-token-{number:06d}-{new_id().hex}" for number in range(BUYERS)]
    users = [new_id() for _ in tokens]
    campaign, groups = new_id(), [new_id() for _ in range(GROUPS)]
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO product (sku, name, weight_grams, volume_cm3)"
            " VALUES ('hot', 'Hot', 500, 1000);"
            "INSERT INTO seat_budget (sku, budget_units) VALUES ('hot', 1000000000)"
        )
        await connection.execute(
            "INSERT INTO campaign (id, code, sku) VALUES ($1, 'hot', 'hot')", campaign
        )
        await connection.execute(
            "INSERT INTO campaign_version (campaign_id, version, title, mode, capacity, min_size,"
            " per_user_limit, list_price_fen, price_fen, tiers, late_payment_policy,"
            " warehouse_policy, ship_within_seconds) VALUES ($1, 1, 'Hot', 'fixed', $2, 2,"
            " 1000000, 12000, 9900, '[]', 'refund', 'whole', 172800)",
            campaign,
            CAPACITY,
        )
        await connection.execute(
            "INSERT INTO buyer (id, openid) SELECT u, 'dev:' || u FROM unnest($1::uuid[]) AS u",
            users,
        )
        await connection.execute(
            "INSERT INTO session (token_hash, user_id, expires_at) SELECT h, u, now() +"
            " interval '1 day' FROM unnest($1::bytea[], $2::uuid[]) AS s (h, u)",
            [token_hash(token) for token in tokens],
            users,
        )
        await connection.execute(
            "INSERT INTO buying_group (id, campaign_id, version, sku, mode, state, capacity,"
            " min_size, price_fen, units_per_seat, per_user_limit, seat_ttl_seconds,"
            " ship_within_seconds, late_payment_policy, warehouse_policy, leader_id, deadline_at)"
            " SELECT g, $2, 1, 'hot', 'fixed', 'open', $3, 2, 9900, 1, 1000000, 900, 172800,"
            " 'refund', 'whole', $4, kit_now() + interval '1 day' FROM unnest($1::uuid[]) AS g",
            groups,
            campaign,
            CAPACITY,
            users[0],
        )
    finally:
        await connection.close()
    return tokens, [str(group) for group in groups]


def _requests(world: World, *, first_group: int) -> Callable[[], bytes]:
    """Return a maker of joins, each by another buyer of the group or into the next group."""
    body = ('{"quantity":1,"address":' + _ADDRESS + "}").encode()
    number = count()

    def make() -> bytes:
        at = next(number)
        group = world.groups[first_group + at // CAPACITY]
        token = world.tokens[at % BUYERS]
        return (
            b"POST /v1/groups/%b/orders HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %b\r\n"
            b"Idempotency-Key: %d-%d\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b"
            % (group.encode(), token.encode(), first_group, at, len(body), body)
        )

    return make


def _empty_requests(world: World) -> Callable[[], bytes]:
    body = ('{"quantity":1,"address":' + _ADDRESS + "}").encode()
    number = count()

    def make() -> bytes:
        at = next(number)
        return (
            b"POST /v1/groups/noop/orders HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %b\r\n"
            b"Idempotency-Key: %d\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b"
            % (world.tokens[at % BUYERS].encode(), at, len(body), body)
        )

    return make


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _worker(world: World, *, row_lock: bool = False, pool: int = 8) -> Iterator[tuple[int, int]]:
    """Run an API worker; yield (port, pid)."""
    port = _free_port()
    environment = {
        **os.environ,
        "CARAVAN_DATABASE_URL": world.url,
        "CARAVAN_DB_POOL_SIZE": str(pool),
        "CARAVAN_ENV": "test",
    }
    environment.pop("CARAVAN_REDIS_URL", None)
    arguments = ["--port", str(port), *(["--row-lock"] if row_lock else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.join_worker", *arguments], cwd=ROOT, env=environment
    )
    try:
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _cpu_seconds(pid: int, *, children: bool = False) -> float:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)] if children else [process]
    total = 0.0
    for member in family:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


async def _measure(
    world: World,
    pid: int,
    *,
    port: int,
    make_request: Callable[[], bytes],
    seconds: float,
    connections: int,
    rate: float | None = None,
) -> Measured:
    warm = max(seconds * _WARM_SHARE, 0.5)
    await drive(
        port=port, make_request=make_request, seconds=warm, connections=connections, rate=rate
    )
    api, postgres = _cpu_seconds(pid), _cpu_seconds(world.postmaster, children=True)
    outcome = await drive(
        port=port, make_request=make_request, seconds=seconds, connections=connections, rate=rate
    )
    return Measured(
        outcome=outcome,
        api_seconds=_cpu_seconds(pid) - api,
        postgres_seconds=_cpu_seconds(world.postmaster, children=True) - postgres,
    )


def _run_load(world: World, pid: int, **how: Any) -> Measured:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(world, pid, **how))


def _with_servers(stack: ExitStack) -> World:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="caravan-bench-")))
    home.chmod(0o755)
    postgres = stack.enter_context(Postgres(home / "postgres", dies_with_parent=True))
    postgres.create_database("bench")
    url = postgres.url_of("bench", scheme="postgresql")
    migrations.upgrade(url)
    tokens, groups = asyncio.run(_seed(url))
    return World(url=url, postmaster=postgres.pid, tokens=tokens, groups=groups)


async def _violations(url: str) -> int:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        found: int = await connection.fetchval(_AUDIT)
        return found
    finally:
        await connection.close()


def run(*, seconds: float = 5.0, connections: int = 256) -> dict[str, Any]:
    """Measure and return the figures.

    Args:
        seconds: of each of the six phases, after a warm-up.
        connections: of the load generator, one request on each at a time.
    """
    load_before = os.getloadavg()
    with ExitStack() as stack:
        world = _with_servers(stack)
        how = {"seconds": seconds, "connections": connections}
        with _worker(world) as (port, pid):
            noop = _run_load(world, pid, port=port, make_request=_empty_requests(world), **how)
            joins = _run_load(
                world, pid, port=port, make_request=_requests(world, first_group=0), **how
            )
            half = _run_load(
                world,
                pid,
                port=port,
                make_request=_requests(world, first_group=GROUPS // 2),
                rate=joins.per_second / 2,
                **how,
            )
        row_locks: dict[int, Measured] = {}
        for number, pool in enumerate(POOLS):
            with _worker(world, row_lock=True, pool=pool) as (port, pid):
                row_locks[pool] = _run_load(
                    world,
                    pid,
                    port=port,
                    make_request=_requests(
                        world, first_group=GROUPS * 3 // 4 + number * GROUPS // 20
                    ),
                    **how,
                )
        violations = asyncio.run(_violations(world.url))
    best_pool = max(row_locks, key=lambda pool: row_locks[pool].per_second)
    row_lock = row_locks[best_pool]
    done = max(sum(joins.outcome.statuses.values()), 1)
    return {
        "durable_joins_per_s": round(joins.per_second),
        "row_lock_joins_per_s": round(row_lock.per_second),
        "row_lock_pool": best_pool,
        "row_lock_by_pool": {str(p): round(m.per_second) for p, m in row_locks.items()},
        "noop_requests_per_s": round(noop.per_second),
        "ratio_row_lock": round(joins.per_second / max(row_lock.per_second, 1), 2),
        "ratio_noop": round(joins.per_second / max(noop.per_second, 1), 3),
        "cpu_us_per_join_api": round(1e6 * joins.api_seconds / done),
        "cpu_us_per_join_postgres": round(1e6 * joins.postgres_seconds / done),
        "cpu_us_per_noop": round(1e6 * noop.api_seconds / max(noop.outcome.accepted, 1)),
        "cpu_us_per_row_lock_join": round(
            1e6
            * (row_lock.api_seconds + row_lock.postgres_seconds)
            / max(sum(row_lock.outcome.statuses.values()), 1)
        ),
        "p50_ms": joins.outcome.percentile_ms(0.5),
        "p99_ms": joins.outcome.percentile_ms(0.99),
        "half_load_p99_ms": half.outcome.percentile_ms(0.99),
        "row_lock_p99_ms": row_lock.outcome.percentile_ms(0.99),
        "refused": {
            "join": dict(joins.outcome.codes),
            "half_load": dict(half.outcome.codes),
            "row_lock": dict(row_lock.outcome.codes),
        },
        "joins": done,
        "load_average": {
            "before": [round(one, 2) for one in load_before],
            "after": [round(one, 2) for one in os.getloadavg()],
        },
        "audit_violations": violations,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.join", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = run(seconds=asked.seconds, connections=asked.connections)
    if asked.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
