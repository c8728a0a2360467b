"""Customers who write down every attempt: what they do not know, they ask again with its key."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httpx

from caravan.http_client import Client
from kit.ids import new_id
from tests.chaos.house import House
from tests.chaos.waiting import eventually

_PATIENCE_SECONDS: Final = 60.0
_TIMEOUT_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.1
_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_AT_ONCE: Final = 8
_HOME: Final[Mapping[str, str]] = {
    "province": "江苏",
    "city": "南京",
    "detail": "中山路 1 号",
    "phone": "13800000000",
}


@dataclass(slots=True, kw_only=True)
class Ask:
    """Something asked for, once, by however many attempts.

    `attempts` has a status for each, or None where nothing was heard: it may have been done.
    """

    path: str
    document: Mapping[str, Any]
    token: str
    key: str
    attempts: list[int | None] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def acknowledged(self) -> bool:
        return bool(self.attempts) and self.attempts[-1] == HTTPStatus.CREATED


@dataclass(slots=True, kw_only=True)
class Crowd:
    """Pairs of customers who buy together, and the history of what they asked for.

    Args:
        name: tells this crowd's people from others.
        campaigns: ids of the campaigns, one after the other for the pairs.
        kills: which part of the house is killed when so many asks have been acknowledged.
    """

    name: str
    house: House
    companies: Client
    campaigns: Sequence[str]
    kills: Mapping[int, str] = field(default_factory=dict)
    seats: list[Ask] = field(default_factory=list)
    payments: list[Ask] = field(default_factory=list)
    user_ids: list[str] = field(default_factory=list)
    killed: list[tuple[str, int]] = field(default_factory=list)  # (part, process)
    _acknowledged: int = 0
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    @property
    def order_ids(self) -> list[str]:
        """Return the orders that were acknowledged."""
        return [str(ask.answer["order"]["id"]) for ask in self.seats if ask.acknowledged]

    @property
    def repeated(self) -> int:
        """Return how many attempts were not the last one of their ask."""
        return sum(len(ask.attempts) - 1 for ask in (*self.seats, *self.payments))

    async def buy(self, *, pairs: int) -> None:
        """Let so many pairs take their seats and pay, some at a time."""
        async with self._http() as http, asyncio.TaskGroup() as group:
            for number in range(pairs):
                group.create_task(self._pair(http, number))

    async def ask_again(self) -> list[Ask]:
        """Ask for every seat once more with its key and return what was heard, in order."""
        again = [
            Ask(path=ask.path, document=ask.document, token=ask.token, key=ask.key)
            for ask in self.seats
        ]
        async with self._http() as http:
            for ask in again:
                await self._until_known(http, ask)
        return again

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.house.addresses.api_url, timeout=_TIMEOUT_SECONDS, trust_env=False
        )

    async def _pair(self, http: httpx.AsyncClient, number: int) -> None:
        campaign = self.campaigns[number % len(self.campaigns)]
        async with self._places:
            opener, joiner = [
                await self._log_in(http, f"{self.name}-{number}-{role}") for role in ("a", "b")
            ]
            opened = await self._seat(
                http, "/v1/groups", {"campaign_id": campaign}, name=opener[0], token=opener[1]
            )
            group_id = opened.answer["group"]["id"]
            joined = await self._seat(
                http, f"/v1/groups/{group_id}/orders", {}, name=joiner[0], token=joiner[1]
            )
            await self._pay(http, opened, name=opener[0])
            await self._pay(http, joined, name=joiner[0])

    async def _log_in(self, http: httpx.AsyncClient, name: str) -> tuple[str, str]:
        ask = Ask(path="/v1/sessions", document={"code": f"dev:{name}"}, token="", key="")
        await self._until_known(http, ask)
        self.user_ids.append(str(ask.answer["user_id"]))
        return name, str(ask.answer["token"])

    async def _seat(
        self,
        http: httpx.AsyncClient,
        path: str,
        document: Mapping[str, Any],
        *,
        name: str,
        token: str,
    ) -> Ask:
        address = {**_HOME, "name": name}
        ask = Ask(
            path=path, document={**document, "address": address}, token=token, key=str(new_id())
        )
        self.seats.append(ask)
        await self._until_known(http, ask)
        return ask

    async def _pay(self, http: httpx.AsyncClient, seat: Ask, *, name: str) -> None:
        ask = Ask(
            path="/v1/payments",
            document={"order_ids": [seat.answer["order"]["id"]]},
            token=seat.token,
            key=str(new_id()),
        )
        self.payments.append(ask)
        await self._until_known(http, ask)
        _, _, prepay_id = ask.answer["pay_params"]["package"].partition("=")
        said = await self.companies.post(
            f"/sandbox/pay/{prepay_id}", {"openid": f"dev:{name}", "outcome": "paid"}
        )
        assert said["outcome"] == "paid"

    async def _until_known(self, http: httpx.AsyncClient, ask: Ask) -> None:
        """Ask until there is an answer; every attempt says exactly the same."""
        headers = {"authorization": f"Bearer {ask.token}", "idempotency-key": ask.key}
        gives_up_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                heard = await http.post(
                    ask.path, json=ask.document, headers=headers if ask.token else {}
                )
            except httpx.TransportError:
                ask.attempts.append(None)
            else:
                ask.attempts.append(heard.status_code)
                if heard.status_code not in _LATER:
                    break
            assert time.monotonic() < gives_up_at, f"{ask.path} was never answered: {ask.attempts}"
            await asyncio.sleep(_PAUSE_SECONDS)
        assert heard.status_code == HTTPStatus.CREATED, f"{ask.path}: {heard.text}"
        ask.answer = heard.json()
        self._acknowledged += 1
        if self._acknowledged in self.kills:
            await self._kill(self.kills[self._acknowledged])

    async def _kill(self, part: str) -> None:
        """Kill a part, as soon as it runs, while the others go on."""

        async def runs() -> bool:
            return self.house.pid_of(part) is not None

        await eventually(f"{part} runs", runs, within_seconds=30)
        self.killed.append((part, self.house.kill(part)))
