"""Replays a day of order lines against a running stack, over HTTP only.

The replay is the mini-program, the paying customers and one operator. It steps business time on
both sides by the rule of `caravan.timeline`, from the first line until every group has ended and
every confirmed order is delivered or refunded.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from caravan.clocks import Clocks, Time
from caravan.day import Day
from caravan.http_client import Client
from caravan.operations_desk import OperationsDesk, unfinished
from caravan.phones import Bill, PhoneCounts, Phones
from caravan.shoppers import Basket, Counts, Customer, MiniProgram, Seat, baskets, read_on_sale
from caravan.timeline import Agenda, Step, Wait, first_midnight, next_step

_LONGEST: Final = timedelta(days=21)
_LONGEST_SECONDS: Final = 1_200.0
_LOOK_SECONDS: Final = 0.05
# Before hours are skipped, flows that were asked for are waited for so long.
_IDLE_SETTLE_SECONDS: Final = 30.0
_STUCK_SECONDS: Final = 120.0
_DESK_SECONDS: Final = 2.0


class ReplayStuck(RuntimeError):
    """The replay cannot come to its end; the message says what is left."""


@dataclass(slots=True, kw_only=True)
class Board:
    """What is shown while the replay runs."""

    lines: int
    now: datetime | None = None
    backlog: int = 0
    waits_for: str = ""
    counts: Counts = field(default_factory=Counts)
    phones: PhoneCounts = field(default_factory=PhoneCounts)
    overview: dict[str, Any] | None = None
    speed_up: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to."""

    day: Day
    until: datetime
    seconds: float
    lines_seconds: float  # until the last line was answered
    lines_span: timedelta  # business time between the first line and the last
    span: timedelta  # business time from the first line to the end
    counts: Counts
    phones: PhoneCounts
    repeats: Counter[int]
    overview: dict[str, Any]
    companies: dict[str, Any]


class Replay:
    """One day on its way through a shop."""

    def __init__(
        self,
        day: Day,
        *,
        api: Client,
        companies: Client,
        desk: OperationsDesk,
        seed: int,
        show: Callable[[Board], None],
    ) -> None:
        self._day = day
        self._api = api
        self._companies = companies
        self._desk = desk
        self._seed = seed
        self._show = show
        self._clocks = Clocks(api, companies, desk.token)
        self._agenda = Agenda()
        self._tasks: list[Coroutine[Any, Any, None]] = []
        self._bills: list[Bill] = []
        self._phones = Phones(api, companies, plan=self._plan_bill, seed=seed)
        self._board = Board(lines=len(day.lines), phones=self._phones.counts)
        self._since: datetime | None = None
        self._moved_at = self._began_at = time.monotonic()
        self._lines_seconds = 0.0

    async def run(self) -> Replayed:
        """Replay the day to its end.

        Raises:
            ExceptionGroup: of ReplayStuck (it does not end within 21 business days or 20
                minutes), NoAnswer or WrongAnswer (a server is gone, or breaks its contract).
        """
        read = await self._clocks.read()
        self._since = read.now
        on_sale = await read_on_sale(self._api, token=self._desk.token)
        program = MiniProgram(self._api, on_sale=on_sale, seed=self._seed)
        self._board.counts = program.counts
        day_baskets = baskets(self._day)
        midnight = first_midnight(read.now, day_begins=day_baskets[0].at)
        first_line_at = midnight + day_baskets[0].at
        for basket in day_baskets:
            self._agenda.at(midnight + basket.at, self._shopping(program, basket))
        # The night before is not counted: nothing happens in it.
        await self._clocks.move(first_line_at - timedelta(seconds=1))
        self._moved_at = self._began_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            desk = group.create_task(self._keep_desk())
            read = await self._until_end(first_line_at + _LONGEST)
            desk.cancel()
        seconds = time.monotonic() - self._began_at
        overview = await self._overview()
        self._show(self._board)
        return Replayed(
            day=self._day,
            until=read.now,
            seconds=seconds,
            lines_seconds=self._lines_seconds,
            lines_span=day_baskets[-1].at - day_baskets[0].at,
            span=read.now - first_line_at,
            counts=program.counts,
            phones=self._phones.counts,
            repeats=self._api.repeats + self._companies.repeats,
            overview=overview,
            companies=await self._companies.get("/sandbox/state"),
        )

    # --- what happens at a moment -----------------------------------------------------

    def _shopping(self, program: MiniProgram, basket: Basket) -> Callable[[datetime], None]:
        async def check_out(customer: Customer, seats: Sequence[Seat]) -> None:
            taken_at = (await self._clocks.read()).now
            await self._phones.check_out(customer, seats, invoice=basket.invoice, taken_at=taken_at)

        return lambda _: self._tasks.append(program.take_seats(basket, then=check_out))

    def _plan_bill(self, at: datetime, bill: Bill) -> None:
        self._agenda.at(at, lambda _: self._bills.append(bill))

    async def _act(self, now: datetime) -> bool:
        """Do what is due by now; return whether there was anything."""
        if not self._agenda.run(now):
            return False
        tasks, self._tasks = self._tasks, []
        bills, self._bills = self._bills, []
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
            if bills:
                group.create_task(self._phones.pay(bills))
        if tasks:
            self._lines_seconds = time.monotonic() - self._began_at
        return True

    # --- stepping ---------------------------------------------------------------------

    async def _until_end(self, longest: datetime) -> Time:
        read = await self._clocks.read()
        while True:
            if read.now > longest:
                raise ReplayStuck(f"21 days have passed: {await self._left()}")
            turned = await self._turn(read)
            if turned is read:
                return read
            read = turned

    async def _turn(self, read: Time) -> Time:
        """Do what is due and step once, or wait a moment; the same object back is the end."""
        self._see(read)
        if await self._act(read.now):
            return await self._clocks.read()
        decided = next_step(
            read.now, own=self._agenda.next_at, caravan=read.caravan, companies=read.companies
        )
        if isinstance(decided, Wait):
            await self._check_patience(decided.why)
            await asyncio.sleep(_LOOK_SECONDS)
            return await self._clocks.read()
        if decided is None or decided.idle:
            settled = await self._settle(read)
            if settled is not read:
                return settled
            if not len(self._agenda) and not unfinished(await self._overview()):
                return read
        if decided is None:
            await self._check_patience("nothing is to come")
            await asyncio.sleep(_LOOK_SECONDS)
            return await self._clocks.read()
        return await self._step(decided)

    async def _step(self, step: Step) -> Time:
        read = await self._clocks.move(step.to)
        self._moved_at = time.monotonic()
        self._board.waits_for = ""
        return read

    async def _settle(self, read: Time) -> Time:
        """Let what is under way come to its end; return `read` itself when nothing was."""
        approved = await self._desk.approve_waiting()
        if not read.backlog and not approved:
            return read
        if time.monotonic() - self._moved_at > _IDLE_SETTLE_SECONDS:
            return read  # somebody keeps asking for flows; time moves on all the same
        self._board.waits_for = "flows"
        return await self._clocks.settle(within_seconds=_IDLE_SETTLE_SECONDS)

    async def _check_patience(self, why: str) -> None:
        self._board.waits_for = why
        now = time.monotonic()
        if now - self._moved_at > _STUCK_SECONDS or now - self._began_at > _LONGEST_SECONDS:
            raise ReplayStuck(f"business time stands still ({why}): {await self._left()}")

    # --- what is seen -----------------------------------------------------------------

    async def _overview(self) -> dict[str, Any]:
        assert self._since is not None  # noqa: S101 - set before anything runs
        self._board.overview = await self._desk.overview(since=self._since)
        return self._board.overview

    async def _left(self) -> str:
        left = unfinished(await self._overview())
        return ", ".join(f"{count} {name}" for name, count in left.items()) or "nothing is left"

    async def _keep_desk(self) -> None:
        """Approve what waits for a person, and keep the board's figures fresh."""
        while True:
            await asyncio.sleep(_DESK_SECONDS)
            await self._desk.approve_waiting()
            await self._overview()
            self._show(self._board)

    def _see(self, read: Time) -> None:
        board = self._board
        board.now, board.backlog = read.now, read.backlog
        seconds = time.monotonic() - self._began_at
        if self._since is not None and seconds > 1:
            board.speed_up = (read.now - self._since).total_seconds() / seconds
        self._show(board)
