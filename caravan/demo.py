"""`caravan demo` and `caravan replay`: a stack, a day of order lines, and what came of them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from caravan import memory, summary
from caravan.addresses import Addresses
from caravan.clocks import Clocks
from caravan.day import BURST_FILE, Day, NoDay, generated_day, read_day
from caravan.day_catalogue import SEED, DayShop, day_shop
from caravan.flow_counts import flow_runs
from caravan.http_client import Client, NoAnswer, WrongAnswer
from caravan.operations_desk import OperationsDesk
from caravan.progress_view import ProgressView
from caravan.replay import Replay, Replayed, ReplayStuck
from caravan.stack import Stack
from groups import sessions
from kit.db import make_engine, transaction, use_engine
from kit.servers.quarters import discard
from kit.settings import Settings

# A day of small purchases: low enough that a person is asked now and then.
_APPROVAL_LIMIT_FEN: Final = 250_000
# An invoice of 700 lines is one minute of business time and a second or two of wall time.
_RATE_LIMIT_FACTOR: Final = 20
_OPERATOR: Final = "replay"
_WATCH_SECONDS: Final = 1.0


class DemoFailed(RuntimeError):
    """The demo did not come to its end; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """What a replay is told besides the day: what to open first, and who looks after the stack."""

    shop: DayShop | None  # None: what is on sale stays as it is
    watch: Callable[[], None]
    began_at: datetime  # wall
    idle_pss_mib: Mapping[str, int]


def run(settings: Settings, *, keep: bool, as_json: bool, most_lines: int | None) -> bool:
    """Start everything, load a catalogue, replay the peak day; return whether all is well.

    Raises:
        DemoFailed: it did not come to its end.
        StackError, ServerError: the stack does not run.
    """
    began_at = datetime.now(UTC)
    err = Console(stderr=True)
    settings = _fresh(settings)
    day = _first_lines(_day_of(settings), most_lines)
    shop = day_shop(day)
    # Read by every process of the stack.
    os.environ.setdefault("CARAVAN_APPROVAL_LIMIT_FEN", str(_APPROVAL_LIMIT_FEN))
    os.environ.setdefault("CARAVAN_RATE_LIMIT_FACTOR", str(_RATE_LIMIT_FACTOR))
    stack = Stack(
        settings,
        say=lambda sentence: err.print(f"· {sentence}", highlight=False),
        any_ports=True,
        companies=shop.companies,
    )
    # A stopped demo stops its servers: a plain SIGTERM would leave that undone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    addresses = stack.start()
    found_at_home = Addresses.read(settings.home.parent)
    if found_at_home is None:
        addresses.write(settings.home.parent)  # for the other commands, as long as it runs
    try:
        staging = Staging(
            shop=shop,
            watch=stack.revive,
            began_at=began_at,
            idle_pss_mib=memory.pss_mib(
                {part.process.pid: part.name for part in stack.parts if part.process is not None}
            ),
        )
        ok = _replay(addresses, day, staging, as_json=as_json)
        if keep:
            err.print("· the stack runs until Ctrl-C", highlight=False)
            _keep(stack)
    finally:
        err.print("· stopping", highlight=False)
        stack.stop()
        if found_at_home is None:
            Addresses.forget(settings.home.parent)
    return ok


def _fresh(settings: Settings) -> Settings:
    """Return the settings with a home of the demo's own, whose servers begin empty.

    The sandbox companies forget everything when they stop, so a shop that remembers yesterday
    would wait for ever for goods and money that nobody knows of.

    Raises:
        ServerError: another demo runs there.
    """
    home = settings.home.resolve() / "demo"
    home.mkdir(parents=True, exist_ok=True)
    for server in ("postgres", "valkey"):
        if (home / server).exists():
            discard(home / server)
    return settings.model_copy(update={"home": home})


def replay_on(
    addresses: Addresses,
    settings: Settings,
    *,
    source: Path | None,
    as_json: bool,
    most_lines: int | None,
) -> bool:
    """Replay order lines on a running stack with what is on sale there.

    Raises:
        DemoFailed: there are no lines, the companies are not the sandbox's, or it does not end.
    """
    if addresses.sandbox_url is None:
        raise DemoFailed("a replay moves time, and only sandbox companies can follow")
    try:
        day = _day_of(settings) if source is None else read_day(source, date=None)
    except NoDay as error:
        raise DemoFailed(str(error)) from error
    staging = Staging(shop=None, watch=lambda: None, began_at=datetime.now(UTC), idle_pss_mib={})
    return _replay(addresses, _first_lines(day, most_lines), staging, as_json=as_json)


def _day_of(settings: Settings) -> Day:
    if (settings.data_dir / BURST_FILE).exists():
        try:
            return read_day(settings.data_dir)
        except NoDay as error:
            raise DemoFailed(str(error)) from error
    return generated_day()


def _first_lines(day: Day, most_lines: int | None) -> Day:
    if most_lines is None or most_lines >= len(day.lines):
        return day
    return replace(
        day,
        source=f"{day.source}, first {most_lines} lines",
        lines=day.lines[:most_lines],
        duplicates=0,
    )


def _replay(addresses: Addresses, day: Day, staging: Staging, *, as_json: bool) -> bool:
    try:
        return asyncio.run(_replay_and_tell(addresses, day, staging, as_json=as_json))
    except* (NoAnswer, WrongAnswer, ReplayStuck) as failures:
        raise DemoFailed("; ".join(_messages(failures))) from failures


def _messages(failure: BaseException) -> list[str]:
    if isinstance(failure, BaseExceptionGroup):
        return [message for each in failure.exceptions for message in _messages(each)]
    return [str(failure)]


async def _replay_and_tell(
    addresses: Addresses, day: Day, staging: Staging, *, as_json: bool
) -> bool:
    out, err = Console(), Console(stderr=True)
    token = await _operator_token(addresses)
    async with _clients(addresses) as (api, companies, prefect):
        desk = OperationsDesk(api, companies, token=token)
        if staging.shop is not None:
            err.print("· loading the catalogue and filling the shelves", highlight=False)
            await desk.open_shop(staging.shop, Clocks(api, companies, token))
        err.print(f"· replaying {len(day.lines):,} lines: {day.source}", highlight=False)
        with ProgressView(err if as_json else out, lines=len(day.lines)) as view:
            replay = Replay(day, api=api, companies=companies, desk=desk, seed=SEED, show=view.show)
            replayed = await _watched(replay, staging.watch)
        around = summary.Around(
            audit=await desk.audit(),
            flow_runs=await flow_runs(prefect, since=staging.began_at),
            urls=_urls(addresses),
            seconds_in_all=(datetime.now(UTC) - staging.began_at).total_seconds(),
            idle_pss_mib=staging.idle_pss_mib,
        )
    document = summary.document(replayed, around)
    complaints = summary.complaints(document, replayed.overview)
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        summary.show(document, out)
    for complaint in complaints:
        err.print(complaint, style="red", markup=False, highlight=False)
    return not complaints


async def _watched(replay: Replay, watch: Callable[[], None]) -> Replayed:
    """Replay while somebody looks after the stack; a stack that is lost ends the replay."""

    async def look() -> None:
        while True:
            watch()
            await asyncio.sleep(_WATCH_SECONDS)

    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look())
        replayed = await replay.run()
        looking.cancel()
    return replayed


async def _operator_token(addresses: Addresses) -> str:
    """Return a token as `caravan token ops` makes it."""
    engine = make_engine(addresses.database_url, pool_size=1, application="caravan-replay")
    use_engine(engine)
    try:
        async with transaction() as session:
            return await sessions.ops_token(session, _OPERATOR)
    finally:
        use_engine(None)
        await engine.dispose()


@asynccontextmanager
async def _clients(addresses: Addresses) -> AsyncIterator[tuple[Client, Client, Client]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for url in (addresses.api_url, str(addresses.sandbox_url), addresses.prefect_api_url):
            client = Client(url)
            stack.push_async_callback(client.aclose)
            made.append(client)
        yield made[0], made[1], made[2]


def _urls(addresses: Addresses) -> dict[str, str]:
    return {
        "prefect": addresses.prefect_ui_url,
        "api": f"{addresses.api_url}/docs",
        "metrics": f"{addresses.api_url}/metrics",
    }


def _keep(stack: Stack) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stack.watch(stop)
