"""The customers of the replayed day at the mini-program: they log in and take seats."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

from caravan.day import Day, Line, province
from caravan.http_client import Answer, Client
from caravan.noticeboard import Noticeboard
from kit.ids import new_id

_TRIES: Final = 12
_IN_FLIGHT: Final = 32
_JOIN_ELSEWHERE: Final = frozenset({"group_full", "group_closed", "already_member"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """What one customer takes at one time, under one invoice."""

    invoice: str
    customer: str
    at: timedelta
    lines: tuple[Line, ...]


def baskets(day: Day) -> list[Basket]:
    """Return the day's baskets in the order of their time: one (invoice, minute, customer) each."""

    def identity(line: Line) -> tuple[timedelta, str, str]:
        return (line.at, line.invoice, line.customer)

    return [
        Basket(invoice=invoice, customer=customer, at=at, lines=tuple(lines))
        for (at, invoice, customer), lines in groupby(sorted(day.lines, key=identity), key=identity)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A seat given, not paid yet."""

    order_id: str
    group_id: str
    amount_fen: int
    reserved_until: datetime


@dataclass(slots=True, kw_only=True)
class Customer:
    """Somebody with a phone; their orders are made one basket after the other."""

    name: str
    token: str
    address: Mapping[str, str]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def openid(self) -> str:
        """Return who they are at the payment provider."""
        return f"dev:{self.name}"


def address_of(name: str, *, seed: int) -> dict[str, str]:
    """Return where a customer lives: a capital, drawn as often as orders go to its province."""
    chance = random.Random(f"{seed}:address:{name}")  # noqa: S311 - repeatable on purpose
    home = province(chance)
    return {
        "province": home.adcode,
        "city": home.capital,
        "district": "",
        "detail": f"人民路{chance.randrange(1, 300)}号",
        "name": name,
        "phone": f"138{chance.randrange(10**8):08d}",
    }


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of the lines so far."""

    sent: int = 0
    accepted: int = 0
    opened: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class MiniProgram:
    """The shop's client on every customer's phone.

    Args:
        on_sale: campaign id by SKU.
    """

    def __init__(self, api: Client, *, on_sale: Mapping[str, str], seed: int) -> None:
        self.counts = Counts()
        self._api = api
        self._on_sale = on_sale
        self._seed = seed
        self._board = Noticeboard()
        self._customers: dict[str, asyncio.Task[Customer]] = {}
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def take_seats(
        self, basket: Basket, *, then: Callable[[Customer, Sequence[Seat]], Awaitable[None]]
    ) -> None:
        """Take a seat for every line, started in their order, and hand over the seats given."""
        customer = await self._customer(basket.customer)
        async with customer.turn:
            found = await asyncio.gather(*(self._one(line, customer) for line in basket.lines))
        seats = [seat for seat in found if seat is not None]
        if seats:
            await then(customer, seats)

    async def _customer(self, name: str) -> Customer:
        logging_in = self._customers.get(name)
        if logging_in is None:
            logging_in = self._customers[name] = asyncio.create_task(self._log_in(name))
        return await logging_in

    async def _log_in(self, name: str) -> Customer:
        answer = await self._api.post("/v1/sessions", {"code": f"dev:{name}"})
        return Customer(name=name, token=answer["token"], address=address_of(name, seed=self._seed))

    async def _one(self, line: Line, customer: Customer) -> Seat | None:
        async with self._in_flight:
            found = await self._seat(line, customer)
        self.counts.sent += 1
        if isinstance(found, str):
            self.counts.refused[found] += 1
            return None
        self.counts.accepted += 1
        return found

    async def _seat(self, line: Line, customer: Customer) -> Seat | str:
        """Return the seat, or the reason why there is none."""
        campaign = self._on_sale.get(line.sku)
        if campaign is None:
            return "not_on_sale"
        for _ in range(_TRIES):
            group = await self._choose(campaign, customer)
            if group is None:
                break
            answer = await self._ask(
                f"/v1/groups/{group}/orders", {"address": dict(customer.address)}, customer
            )
            if answer.status == HTTPStatus.CREATED:
                return self._taken(campaign, answer, customer)
            if answer.code not in _JOIN_ELSEWHERE:
                return answer.code
            self._learn(campaign, group, answer.code, customer)
        answer = await self._ask(
            "/v1/groups", {"campaign_id": campaign, "address": dict(customer.address)}, customer
        )
        if answer.status != HTTPStatus.CREATED:
            return answer.code
        self.counts.opened += 1
        return self._taken(campaign, answer, customer)

    async def _choose(self, campaign: str, customer: Customer) -> str | None:
        group = self._board.best(campaign, customer=customer.name)
        if group is None and self._board.is_stale(campaign):
            page = await self._api.get(
                f"/v1/campaigns/{campaign}/groups", token=customer.token, limit=100
            )
            self._board.listed(campaign, {row["id"]: row["missing"] for row in page["groups"]})
            group = self._board.best(campaign, customer=customer.name)
        return group

    async def _ask(self, path: str, document: Any, customer: Customer) -> Answer:
        return await self._api.call(
            "POST", path, token=customer.token, key=str(new_id()), document=document
        )

    def _learn(self, campaign: str, group: str, code: str, customer: Customer) -> None:
        if code == "group_full":
            self._board.is_full(campaign, group)
        elif code == "group_closed":
            self._board.is_over(campaign, group)
        else:
            self._board.has(campaign, group, customer=customer.name)

    def _taken(self, campaign: str, answer: Answer, customer: Customer) -> Seat:
        group, order = answer.document["group"], answer.document["order"]
        self._board.saw(campaign, group["id"], missing=group["missing"], customer=customer.name)
        return Seat(
            order_id=order["id"],
            group_id=group["id"],
            amount_fen=order["amount_fen"],
            reserved_until=datetime.fromisoformat(order["reserved_until"]),
        )


async def read_on_sale(api: Client, *, token: str) -> dict[str, str]:
    """Return the campaigns that are on sale, by SKU; the first one of a SKU."""
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        query = {"limit": 100} | ({} if cursor is None else {"cursor": cursor})
        page = await api.get("/v1/campaigns", token=token, **query)
        for campaign in page["campaigns"]:
            found.setdefault(campaign["sku"], campaign["id"])
        cursor = page["next"]
        if cursor is None:
            return found
