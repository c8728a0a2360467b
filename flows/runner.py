"""The flow runner: takes wake-ups and awaits the flows in its own process, and serves them all.

A flow awaited here costs 0.2 s and is a run like any other in the UI; a deployment started from
the UI or by a backup schedule is a process of its own. Both hold the same lease, so a doubled run
finds nothing to do.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from prefect import tags
from prefect.client.schemas.objects import State
from prefect.runner import Runner
from sqlalchemy.exc import SQLAlchemyError

from flows import automations
from flows.approvals import Forms
from flows.deployments import CATALOGUE, Served, register
from flows.stage import TAKEN
from kit import wakeups
from kit.db import make_engine, transaction, use_engine
from kit.errors import CaravanError
from kit.logs import configure_logs
from kit.settings import settings
from operations.companies import open_line
from payments.provider import close_provider

_LOOK_SECONDS: Final = 0.25
_FAILED_PAUSE_SECONDS: Final = 10.0
_TAKEN_PAUSE_SECONDS: Final = 5.0
_KEEP_SECONDS: Final = wakeups.LEASE_SECONDS / 4
_FORMS_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 8.0

log = structlog.get_logger("runner")


def run_name(flow: str, reasons: str) -> str:
    """Return what a run is called in the UI: the flow, when, and why.

    Prefect formats names with the parameters, so a brace in a reason must not look like one.
    """
    why = reasons.replace("{", "(").replace("}", ")")
    return f"{flow} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} {why}".strip()


class WakeUps:
    """Awaits flows that are wanted: one run of a flow at a time, not more often than its gap."""

    def __init__(self, catalogue: Sequence[Served]) -> None:
        self._served = {served.name: served for served in catalogue}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, Sequence[wakeups.Wanted]] = {}
        self._kept_at = time.monotonic()
        self._not_before: dict[str, float] = {}
        self._swept_at: dict[str, float] = dict.fromkeys(self._served, time.monotonic())

    async def turn(self) -> None:
        """Start what is wanted now and may run."""
        now = time.monotonic()
        self._running = {n: task for n, task in self._running.items() if not task.done()}
        free = [
            name
            for name in self._served
            if name not in self._running and self._not_before.get(name, 0.0) <= now
        ]
        async with transaction() as session:
            if self._running and now - self._kept_at >= _KEEP_SECONDS:
                await wakeups.keep(
                    session, [one for name in self._running for one in self._asked[name]]
                )
                self._kept_at = now
            for name in free:
                every = self._served[name].every_seconds
                if every is not None and now - self._swept_at[name] >= every:
                    await wakeups.wake(session, name, reason="schedule")
                    self._swept_at[name] = now
            wanted = await wakeups.claim(session, free)
        for name in sorted({one.flow for one in wanted}):
            asked = self._asked[name] = [one for one in wanted if one.flow == name]
            self._running[name] = asyncio.create_task(self._run(name, asked), name=name)

    async def _run(self, name: str, asked: Sequence[wakeups.Wanted]) -> None:
        served = self._served[name]
        reasons = ", ".join(sorted({one.reason for one in asked if one.reason}))
        named = served.flow.with_options(flow_run_name=run_name(name, reasons))
        run: Callable[..., Awaitable[State[object]]] = named
        try:
            with tags("caravan", *served.tags):
                state = await run(reason=reasons or "wake-up", return_state=True)
            if not state.is_completed():
                log.error("flow.failed", flow=name, error=state.message)
                await self._put_off(asked, seconds=_FAILED_PAUSE_SECONDS)
            elif state.name == TAKEN:
                # The other run may have looked before this was asked for.
                await self._put_off(asked, seconds=_TAKEN_PAUSE_SECONDS)
            else:
                async with transaction() as session:
                    for one in asked:
                        await wakeups.settle(session, one)
        except Exception as error:
            # An edge: Prefect or the database is away; the wake-ups are taken again.
            log.exception("flow.failed", flow=name, error=str(error))
            await self._put_off(asked, seconds=_FAILED_PAUSE_SECONDS)
        finally:
            self._not_before[name] = time.monotonic() + served.gap_seconds

    async def _put_off(self, asked: Sequence[wakeups.Wanted], *, seconds: float) -> None:
        async with transaction() as session:
            for one in asked:
                await wakeups.put_off(session, one, seconds=seconds)

    async def finish(self) -> None:
        """Give running flows a moment to end; what is cut off is found again in Postgres."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_STOP_SECONDS)


async def _take_wakeups(stop: asyncio.Event) -> None:
    wake_ups = WakeUps(CATALOGUE)
    while not stop.is_set():
        try:
            await wake_ups.turn()
        except (CaravanError, SQLAlchemyError, OSError) as error:
            log.warning("runner.failed", error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
    await wake_ups.finish()


async def _keep_forms(stop: asyncio.Event) -> None:
    """Make an approval form for every order that waits for a person, lost ones again."""
    forms = Forms()
    while not stop.is_set():
        try:
            await forms.sweep()
        except Exception as error:  # noqa: BLE001 - an edge: Prefect may be away for a while
            log.warning("approvals.failed", error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _FORMS_SECONDS)


def _say_ready() -> None:
    """Make the file that the supervisor waits for: every flow is registered."""
    ready = os.environ.get("CARAVAN_READY_FILE")
    if ready:
        Path(ready).touch()


async def _main() -> None:
    configure_logs()
    configured = settings()
    if configured.database_url is None:
        raise SystemExit("the flow runner needs CARAVAN_DATABASE_URL")
    engine = make_engine(
        configured.database_url.get_secret_value(), pool_size=4, application="caravan-flows"
    )
    use_engine(engine)
    runner = Runner(name="caravan", limit=2, query_seconds=2)
    await register(runner)
    await automations.put()
    stop = asyncio.Event()
    serving = asyncio.create_task(runner.start())
    # After the runner has put its own handler: ours ends the whole process in order.
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _say_ready()
    log.info("runner.started")
    async with open_line():
        await asyncio.gather(_take_wakeups(stop), _keep_forms(stop))
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    await close_provider()
    await engine.dispose()
    log.info("runner.stopped")


if __name__ == "__main__":
    asyncio.run(_main())
