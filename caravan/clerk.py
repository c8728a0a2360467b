"""The clerk: takes in what arrived, tells what happened, does what is due. No Prefect here.

Any number of clerks may run; every piece of work is leased or locked in Postgres. Each duty is a
loop that works while there is something to do and looks again a moment later.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from caravan import duties
from kit.db import make_engine, use_engine
from kit.errors import CaravanError
from kit.logs import configure_logs
from kit.outgoing import HostRefused
from kit.settings import settings
from operations.companies import open_line
from payments.provider import close_provider

_IDLE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0

log = structlog.get_logger("clerk")

Duty = Callable[[], Awaitable[int]]


async def attend(name: str, duty: Duty, stop: asyncio.Event, *, idle_seconds: float) -> None:
    """Do a duty again and again until `stop`; after an error pause longer each time."""
    pause = idle_seconds
    while not stop.is_set():
        try:
            done = await duty()
            pause = 0.0 if done else idle_seconds
        except (CaravanError, HostRefused, SQLAlchemyError, OSError) as error:
            pause = min(max(pause, idle_seconds) * 2, _LONGEST_PAUSE_SECONDS)
            log.warning("duty.failed", duty=name, error=str(error), again_in_seconds=pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause or 0.001)


async def work(stop: asyncio.Event) -> None:
    """Run every duty until `stop`; each finishes the piece it is at."""
    async with asyncio.TaskGroup() as group:
        for name, duty, idle_seconds in (
            ("inbox", duties.apply_inbox, _IDLE_SECONDS),
            ("outbox", duties.tell_outbox, _IDLE_SECONDS),
            ("seats", duties.release_seats, _IDLE_SECONDS),
            ("groups", duties.settle_groups, _IDLE_SECONDS),
            ("payments", duties.poll_payments, 1.0),
            ("budgets", duties.recompute_budgets, 0.05),
            ("waves", duties.wake_for_cut_offs, _IDLE_SECONDS),
            ("purchases", duties.watch_purchases, 1.0),
            ("early letters", duties.replay_early_letters, 10.0),
            ("answers", duties.forget_old_answers, 60.0),
        ):
            group.create_task(attend(name, duty, stop, idle_seconds=idle_seconds), name=name)


async def _main() -> None:
    configure_logs()
    configured = settings()
    if configured.database_url is None:
        raise SystemExit("the clerk needs CARAVAN_DATABASE_URL")
    engine = make_engine(
        configured.database_url.get_secret_value(),
        pool_size=configured.db_pool_size,
        application="caravan-clerk",
    )
    use_engine(engine)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("clerk.started")
    async with open_line():
        await work(stop)
    await close_provider()
    await engine.dispose()
    log.info("clerk.stopped")


if __name__ == "__main__":
    asyncio.run(_main())
