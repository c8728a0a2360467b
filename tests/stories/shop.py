"""The whole shop in one process: its real API, its clerk's duties, the companies around it.

Only Prefect is not there: what its flows would await is called when a wake-up asks for it. Nothing
here sleeps: `settle` works until nothing is left to do, and time moves when a story moves it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import text

from caravan import duties
from caravan.clocks import Clocks, Time
from caravan.http_client import Client
from kit import wakeups
from kit.db import transaction
from kit.ids import new_id
from operations.allocate_groups import allocate_groups
from operations.cap_groups import cap_groups
from operations.plan_purchases import plan_purchases
from operations.send_orders import send_orders
from operations.send_refunds import send_refunds
from operations.ship_waves import ship_waves
from tests.stories.people import Buyer, OperationsDesk, Pair

_DUTIES: Final[tuple[Callable[[], Awaitable[int]], ...]] = (
    duties.apply_inbox,
    duties.tell_outbox,
    duties.release_seats,
    duties.settle_groups,
    duties.poll_payments,
    duties.recompute_budgets,
    duties.wake_for_cut_offs,
    duties.watch_purchases,
    duties.replay_early_letters,
)
# Flows wait some seconds for what comes together; a longer wait is a pause after a failure.
_BATCHED_SECONDS: Final = 6.0
_MOST_TURNS: Final = 400


async def _replenish() -> None:
    await plan_purchases(key=f"story:{new_id()}")
    await send_orders()


_FLOWS: Final[Mapping[str, Callable[[], Awaitable[Any]]]] = MappingProxyType(
    {
        "cap_groups": cap_groups,
        "fulfil": allocate_groups,
        "replenish": _replenish,
        "ship": ship_waves,
        "refund": send_refunds,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """An open shop.

    Args:
        companies: the sandbox companies' own routes: phones, shelves, misbehaviour.
        campaigns: campaign ids by code.
    """

    api: Client
    companies: Client
    clocks: Clocks
    desk: OperationsDesk
    campaigns: Mapping[str, str]

    async def buyer(self, name: str) -> Buyer:
        """Let somebody log in."""
        answer = await self.api.post("/v1/sessions", {"code": f"dev:{name}"})
        return Buyer(
            name=name,
            token=answer["token"],
            api=self.api,
            companies=self.companies,
            campaigns=self.campaigns,
        )

    async def pair(self, campaign: str, leader: str, member: str, *, quantity: int = 1) -> Pair:
        """Let two people open a group, join and pay, and do what follows at once."""
        first, second = await self.buyer(leader), await self.buyer(member)
        opened = await first.open_group(campaign, quantity=quantity)
        joined = await second.join(opened, quantity=quantity)
        await first.pay(opened)
        await second.pay(joined)
        await self.settle()
        return Pair(members=((first, opened), (second, joined)))

    # --- work -------------------------------------------------------------------------

    async def settle(self) -> None:
        """Do everything that can be done now, on both sides, until nothing is left."""
        for _ in range(_MOST_TURNS):
            told = (await self.companies.get("/sandbox/clock"))["backlog"]
            done = [await duty() for duty in _DUTIES]
            if not told and not any(done) and not await _run_flows():
                return
        raise AssertionError(f"the shop does not come to rest: {told} webhooks, duties {done}")

    async def look_again(self) -> None:
        """Let the pauses after failures be over, and every flow look for work of its own."""
        async with transaction() as session:
            connection = await session.connection()
            await connection.execute(text("UPDATE purchase_order SET send_at = now()"))
            await connection.execute(text("UPDATE refund SET due_at = now()"))
            for flow in _FLOWS:
                await wakeups.wake(session, flow, reason="schedule")
        await self.settle()

    # --- time -------------------------------------------------------------------------

    async def now(self) -> datetime:
        """Return business time."""
        return (await self.clocks.read()).now

    async def pass_time(self, *, days: float = 0, hours: float = 0, minutes: float = 0) -> None:
        """Let business time pass."""
        await self.pass_until(await self.now() + timedelta(days=days, hours=hours, minutes=minutes))

    async def pass_until(self, moment: datetime) -> None:
        """Let business time pass, and everything on the way happen at its own time."""
        await self.settle()
        read = await self.clocks.read()
        while read.now < moment:
            read = await self.clocks.move(min([moment, *_ahead(read)]))
            await self.settle()

    # --- the companies ----------------------------------------------------------------

    async def misbehave(self, company: str, behaviour: Mapping[str, Any]) -> None:
        """Let a company go wrong, such as `misbehave("suppliers/jade", {"reject": ...})`."""
        await self.companies.put(f"/sandbox/{company}/behaviour", behaviour)

    async def count(self, company: str, what: str) -> int:
        """Return how often a company did something."""
        kind, _, code = company.partition("/")
        state = (await self.companies.get("/sandbox/state"))[kind]
        return int((state[code] if code else state).get(what, 0))


def _ahead(read: Time) -> list[datetime]:
    """Return the next moments at which something is due on either side."""
    dues = (read.caravan.next_due_at, read.companies.next_due_at)
    return [due for due in dues if due is not None and due > read.now]


async def _run_flows() -> bool:
    """Run the flows that are asked for, as the flow runner does; False when none is."""
    async with transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "UPDATE wake_up SET due_at = now() WHERE due_at <= now()"
                " + CAST(:batched AS float8) * interval '1 second'"
            ),
            {"batched": _BATCHED_SECONDS},
        )
        wanted = await wakeups.claim(session, list(_FLOWS))
    for flow in sorted({one.flow for one in wanted}):
        await _FLOWS[flow]()
    async with transaction() as session:
        for one in wanted:
            await wakeups.settle(session, one)
    return bool(wanted)
