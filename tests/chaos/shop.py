"""The open shop, seen from outside and from its database, and the way its business time goes."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text

from caravan.clocks import Clocks, Time
from caravan.http_client import Client
from caravan.timeline import Step, next_step
from kit.db import DatabaseDown, transaction
from operations.audit import audit
from tests.chaos.customers import Crowd
from tests.chaos.house import House
from tests.chaos.waiting import eventually

BOUGHT: Final = ("confirmed", "allocated", "shipped", "delivered")
# Before hours are skipped, work under way is waited for so long.
_SETTLE_SECONDS: Final = 25.0
# A reservation or a peg has taken the place of the claim.
_UNCOVERED: Final = (
    "SELECT 1 FROM buyer_order WHERE user_id = ANY(CAST(:users AS uuid[])) AND claim_units > 0"
)
_ENDED: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(slots=True, kw_only=True)
class Shop:
    """A shop that stands in a house.

    Args:
        campaigns: ids by code.
    """

    house: House
    api: Client
    companies: Client
    prefect: Client
    token: str
    campaigns: Mapping[str, str]
    _moved_at: float = field(default_factory=time.monotonic)

    def crowd(self, name: str, *campaigns: str, kills: Mapping[int, str] | None = None) -> Crowd:
        """Return people who will buy in these campaigns, in turn."""
        return Crowd(
            name=name,
            house=self.house,
            companies=self.companies,
            campaigns=[self.campaigns[code] for code in campaigns],
            kills=kills or {},
        )

    # --- the companies ----------------------------------------------------------------

    async def count(self, company: str, what: str) -> int:
        """Return how often a company, such as "carriers/swift" or "pay", did something."""
        kind, _, code = company.partition("/")
        state = (await self.companies.get("/sandbox/state"))[kind]
        return int((state[code] if code else state).get(what, 0))

    async def misbehave(self, company: str, **behaviour: Any) -> None:
        """Let a company go wrong; without a behaviour it behaves well again."""
        await self.companies.put(f"/sandbox/{company}/behaviour", behaviour)

    # --- flows ------------------------------------------------------------------------

    async def start_run(self, flow: str) -> str:
        """Start a flow as a person does in the UI and return the run's id."""
        deployment = await self.prefect.get(f"/deployments/name/{flow}/{flow}")
        run = await self.prefect.post(
            f"/deployments/{deployment['id']}/create_flow_run",
            {"parameters": {"reason": "doubled"}},
        )
        return str(run["id"])

    async def state_of_run(self, run_id: str) -> str:
        """Return what became of a run."""
        return str((await self.prefect.get(f"/flow_runs/{run_id}"))["state_type"])

    async def ended(self, run_id: str) -> str:
        """Wait for the end of a run and return its state."""

        async def has_ended() -> bool:
            return await self.state_of_run(run_id) in _ENDED

        await eventually("the doubled run ends", has_ended, within_seconds=60)
        return await self.state_of_run(run_id)

    # --- time -------------------------------------------------------------------------

    async def until(
        self, what: str, is_so: Callable[[], Awaitable[bool]], *, within_seconds: float = 60
    ) -> None:
        """Let business time go on, as the replay does, until something is so."""
        clocks = Clocks(self.api, self.companies, self.token)

        async def is_so_now() -> bool:
            if await is_so():
                return True
            await self._step(clocks, await clocks.read())
            return False

        await eventually(what, is_so_now, within_seconds=within_seconds)

    async def _step(self, clocks: Clocks, read: Time) -> None:
        step = next_step(read.now, own=None, caravan=read.caravan, companies=read.companies)
        if not isinstance(step, Step):
            return
        under_way = read.backlog and time.monotonic() - self._moved_at < _SETTLE_SECONDS
        if step.idle and under_way:
            return
        await clocks.move(step.to)
        self._moved_at = time.monotonic()

    async def until_all(
        self, crowd: Crowd, states: Sequence[str], *, within_seconds: float = 60
    ) -> None:
        """Let business time go on until every order of a crowd is in one of these states."""

        async def are_all() -> bool:
            found = await orders_of(crowd)
            return all(row.state in states for row in found)

        await self.until(f"{crowd.name}: all {states[0]}", are_all, within_seconds=within_seconds)

    async def until_covered(self, crowd: Crowd, *, within_seconds: float = 60) -> None:
        """Let business time go on until a crowd's goods are put aside, here or at a supplier."""

        async def are_covered() -> bool:
            return not await rows(_UNCOVERED, users=crowd.user_ids)

        await self.until_all(crowd, BOUGHT, within_seconds=within_seconds)
        await self.until(f"{crowd.name}: all covered", are_covered, within_seconds=within_seconds)

    # --- what must be true, whatever was killed ---------------------------------------

    async def check(self, crowd: Crowd) -> None:
        """Compare what a crowd was told with what is there, and check every invariant."""
        await check_orders(crowd)
        await check_money(crowd)
        assert await self.count("pay", "paid") == await _one(
            "SELECT count(*) FROM payment_line WHERE state IN ('captured', 'orphaned')"
        ), "the provider took money that the shop does not know of"
        report = await audit()
        assert len(report.checked) > 30
        assert report.violations == ()


async def rows(statement: str, **arguments: Any) -> Sequence[Any]:
    """Return what the database has, as soon as it answers."""
    found: list[Any] = []

    async def are_read() -> bool:
        try:
            async with transaction() as session:
                connection = await session.connection()
                found.extend(await connection.execute(text(statement), arguments))
        except DatabaseDown:
            return False
        return True

    await eventually("the database answers", are_read, within_seconds=30)
    return found


async def _one(statement: str, **arguments: Any) -> Any:
    ((value,),) = await rows(statement, **arguments)
    return value


async def orders_of(crowd: Crowd) -> Sequence[Any]:
    """Return every order of a crowd's people, asked for or not."""
    return await rows(
        "SELECT CAST(id AS text) AS id, CAST(group_id AS text) AS group_id, state, amount_fen"
        " FROM buyer_order WHERE user_id = ANY(CAST(:users AS uuid[]))",
        users=crowd.user_ids,
    )


async def check_orders(crowd: Crowd) -> None:
    """Every acknowledged order is there once under its key, and none that nobody asked for."""
    assert all(ask.acknowledged for ask in (*crowd.seats, *crowd.payments))
    told = crowd.order_ids
    assert len(set(told)) == len(told) == len(crowd.seats)
    assert sorted(row.id for row in await orders_of(crowd)) == sorted(told)
    again = await crowd.ask_again()
    assert [ask.answer["order"]["id"] for ask in again] == told


async def check_money(crowd: Crowd) -> None:
    """Every order was paid once, and what was taken is confirmed value or went back."""
    taken = await rows(
        "SELECT CAST(o.id AS text) AS id, o.amount_fen, count(l.id) AS times,"
        " coalesce(sum(l.amount_fen), 0) AS fen FROM buyer_order o"
        " LEFT JOIN payment_line l ON l.order_id = o.id AND l.state IN ('captured', 'orphaned')"
        " WHERE o.user_id = ANY(CAST(:users AS uuid[])) GROUP BY o.id",
        users=crowd.user_ids,
    )
    assert [row for row in taken if (row.times, row.fen) != (1, row.amount_fen)] == []
    confirmed = sum(row.amount_fen for row in await orders_of(crowd) if row.state in BOUGHT)
    refunded = await _one(
        "SELECT coalesce(sum(r.amount_fen), 0) FROM refund r"
        " JOIN buyer_order o ON o.id = r.order_id"
        " WHERE r.state = 'succeeded' AND o.user_id = ANY(CAST(:users AS uuid[]))",
        users=crowd.user_ids,
    )
    assert sum(row.fen for row in taken) == confirmed + refunded
