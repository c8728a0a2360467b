"""The sandbox provider and our API beside it, and members who pay with their phones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import msgspec

from api.app import create_app
from groups.tables import Order
from kit.clock import business_now
from kit.db import transaction
from operations.expire_groups import release_expired, settle_due
from operations.start_payment import Started, start_payment
from payments.provider import close_provider, use_provider
from payments.wechat_client import WechatPay
from sandbox.config import SandboxConfig
from sandbox.serve import running, serving
from tests.store import money_world
from tests.store.money_world import (
    TTL_SECONDS,
    WINDOW_SECONDS,
    add_group,
    on_sale,
    pass_time,
    sit_down,
)
from tests.store.rows import sql

NOTIFY = "/v1/webhooks/payments/sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The sandbox and our API, and a client for both."""

    client: httpx.AsyncClient
    sandbox_url: str
    api_url: str

    async def sandbox(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else msgspec.json.encode(content)
        answer = await self.client.request(
            method, f"{self.sandbox_url}/sandbox{path}", content=body
        )
        assert answer.is_success, answer.text
        return answer.json()

    async def phone(self, started: Started, openid: str) -> httpx.Response:
        """Let a user pay what the mini-program shows."""
        prepay_id = started.pay_params["package"].removeprefix("prepay_id=")
        return await self.client.post(
            f"{self.sandbox_url}/sandbox/pay/{prepay_id}",
            content=msgspec.json.encode({"openid": openid}),
        )

    async def told(self) -> None:
        """Wait until every notify was answered or given up."""
        async with asyncio.timeout(15):
            while (await self.sandbox("GET", "/clock"))["backlog"]:
                pass

    async def pass_time(self, seconds: float) -> None:
        """Move our business time and the provider's to the same instant."""
        await pass_time(seconds)
        async with transaction() as session:
            now = await business_now(session)
        await self.sandbox("POST", "/clock", {"to": now.isoformat()})


@asynccontextmanager
async def world(**behaviour: Any) -> AsyncIterator[World]:
    async with transaction() as session:
        now = await business_now(session)
    provider = money_world.keys().provider().model_dump()
    async with serving(create_app()) as api_url:
        config = SandboxConfig.model_validate(
            {
                "caravan_url": api_url,
                "start": now,
                "payments": provider | {"behaviour": behaviour, "retry_scale": 0.0005},
            }
        )
        async with running(config) as url, httpx.AsyncClient(timeout=10, trust_env=False) as client:
            use_provider(
                WechatPay(money_world.pay_keys(), url=f"{url}/pay", notify_url=f"{api_url}{NOTIFY}")
            )
            try:
                yield World(client=client, sandbox_url=url, api_url=api_url)
            finally:
                await close_provider()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A buyer with a seat."""

    order: Order
    openid: str

    async def start(self) -> Started:
        return await start_payment(user_id=self.order.user_id, order_ids=[self.order.id])


async def members(count: int, **terms: Any) -> tuple[UUID, list[Member]]:
    """Put a product on sale and seat members in one group."""
    async with transaction() as session:
        shop = await on_sale(session, **terms)
        group_id = await add_group(session, shop)
        orders = [await sit_down(session, group_id) for _ in range(count)]
    openids = dict(await sql("SELECT id, openid FROM buyer"))
    return group_id, [Member(order=one, openid=openids[one.user_id]) for one in orders]


async def all_pay(place: World, *payers: Member) -> None:
    for member in payers:
        answer = await place.phone(await member.start(), member.openid)
        assert answer.is_success, answer.text
    await place.told()


async def failed_group(place: World, payers: list[Member]) -> None:
    """Let members pay and their group fail at its deadline."""
    await all_pay(place, *payers)
    await place.pass_time(TTL_SECONDS + 1)
    await release_expired()
    await place.pass_time(WINDOW_SECONDS)
    await settle_due()
