"""The clerk: takes in what arrived, tells what happened, does what is due. No Prefect here.

Any number of clerks may run; every piece of work is leased or locked in Postgres. Each duty is a
loop that works while there is something to do and looks again a moment later, or when nudged.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from caravan import duties
from kit.clock import CLOCK_MOVED
from kit.db import engine, make_engine, use_engine
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


class Bell:
    """Wakes every idle duty at once."""

    def __init__(self) -> None:
        self.next = asyncio.Event()  # set by the next ring

    def ring(self) -> None:
        """Wake whoever waits, and whoever took the event before and has not come to wait yet."""
        rung, self.next = self.next, asyncio.Event()
        rung.set()


async def attend(
    name: str, duty: Duty, stop: asyncio.Event, bell: Bell | None, *, idle_seconds: float
) -> None:
    """Do a duty again and again until `stop`; after an error pause longer each time.

    Args:
        bell: cuts an idle pause short; None for what business time does not make due.
    """
    pause = idle_seconds
    while not stop.is_set():
        rung = stop if bell is None else bell.next
        try:
            done = await duty()
            pause = 0.0 if done else idle_seconds
        except (CaravanError, HostRefused, SQLAlchemyError, OSError) as error:
            pause = min(max(pause, idle_seconds) * 2, _LONGEST_PAUSE_SECONDS)
            log.warning("duty.failed", duty=name, error=str(error), again_in_seconds=pause)
            rung = stop  # only the end cuts this pause short
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(rung.wait(), pause or 0.001)


async def ring_with_the_clock(bell: Bell, stop: asyncio.Event) -> None:
    """Ring whenever business time was moved: then something is due that nobody could foresee."""
    while not stop.is_set():
        gone = asyncio.Event()
        try:
            async with engine().connect() as connection:
                listening: Any = (await connection.get_raw_connection()).driver_connection
                listening.add_termination_listener(lambda _, gone=gone: gone.set())
                await listening.add_listener(CLOCK_MOVED, lambda *_: bell.ring())
                while not stop.is_set() and not gone.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(gone.wait(), _LONGEST_PAUSE_SECONDS)
                await connection.invalidate()
        except (SQLAlchemyError, OSError) as error:
            log.warning("clock.not_heard", error=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LONGEST_PAUSE_SECONDS)


async def work(stop: asyncio.Event) -> None:
    """Run every duty until `stop`; each finishes the piece it is at."""
    bell = Bell()
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(ring_with_the_clock(bell, stop))
        group.create_task(_ring_at_the_end(bell, stop, listening))
        for name, duty, rings, idle_seconds in (
            ("inbox", duties.apply_inbox, None, _IDLE_SECONDS),
            ("outbox", duties.tell_outbox, None, _IDLE_SECONDS),
            ("seats", duties.release_seats, bell, _IDLE_SECONDS),
            ("groups", duties.settle_groups, bell, _IDLE_SECONDS),
            ("payments", duties.poll_payments, bell, 1.0),
            ("budgets", duties.recompute_budgets, bell, 0.05),
            ("waves", duties.wake_for_cut_offs, bell, _IDLE_SECONDS),
            ("purchases", duties.watch_purchases, bell, 1.0),
            ("promises", duties.keep_promises, bell, 1.0),
            ("early letters", duties.replay_early_letters, None, 10.0),
            ("answers", duties.forget_old_answers, None, 60.0),
        ):
            group.create_task(attend(name, duty, stop, rings, idle_seconds=idle_seconds), name=name)


async def _ring_at_the_end(bell: Bell, stop: asyncio.Event, listening: asyncio.Task[None]) -> None:
    await stop.wait()
    listening.cancel()
    bell.ring()


async def _main() -> None:
    configure_logs()
    configured = settings()
    if configured.database_url is None:
        raise SystemExit("the clerk needs CARAVAN_DATABASE_URL")
    database = make_engine(
        configured.database_url.get_secret_value(),
        pool_size=configured.db_pool_size,
        application="caravan-clerk",
    )
    use_engine(database)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("clerk.started")
    async with open_line():
        await work(stop)
    await close_provider()
    await database.dispose()
    log.info("clerk.stopped")


if __name__ == "__main__":
    asyncio.run(_main())
