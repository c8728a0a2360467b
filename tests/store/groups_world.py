"""Builders of the demand side: a product with a budget, a campaign, buyers with tokens."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from api.app import create_app
from groups import sessions
from groups.admission import Answer
from groups.seat_facts import Ask
from kit.db import transaction
from kit.ids import new_id
from tests.store.rows import sql

ADDRESS: Mapping[str, str] = {
    "province": "广东",
    "city": "深圳",
    "district": "南山",
    "detail": "科技园 1 号",
    "name": "李明",
    "phone": "13800000000",
}
JSON = {"Content-Type": "application/json"}


async def add_campaign(
    sku: str = "tea",
    *,
    budget_units: int = 1_000_000,
    cap_seats: int | None = None,
    capacity: int = 10,
    min_size: int = 2,
    per_user_limit: int = 5,
    units_per_seat: int = 1,
    seat_ttl_seconds: int = 900,
    state: str = "active",
    mode: str = "fixed",
    tiers: object = (),
) -> UUID:
    """Make a product that may be promised, and a campaign that sells it; return the campaign."""
    campaign_id = new_id()
    await sql(
        "INSERT INTO product (sku, name, weight_grams, volume_cm3)"
        " VALUES (:sku, :sku, 500, 1000) ON CONFLICT DO NOTHING",
        sku=sku,
    )
    await sql(
        "INSERT INTO seat_budget (sku, budget_units, cap_seats) VALUES (:sku, :units, :cap)"
        " ON CONFLICT (sku) DO NOTHING",
        sku=sku,
        units=budget_units,
        cap=cap_seats,
    )
    await sql(
        "INSERT INTO campaign (id, code, sku, state) VALUES (:id, :code, :sku, :state)",
        id=campaign_id,
        code=str(campaign_id),
        sku=sku,
        state=state,
    )
    await sql(
        "INSERT INTO campaign_version (campaign_id, version, title, mode, capacity, min_size,"
        " per_user_limit, seat_ttl_seconds, units_per_seat, list_price_fen, price_fen, tiers,"
        " late_payment_policy, warehouse_policy, ship_within_seconds) VALUES (:id, 1, :title,"
        " :mode, :capacity, :min_size, :limit, :ttl, :units, 12000, 9900, CAST(:tiers AS jsonb),"
        " 'reopen_if_room', 'whole', 172800)",
        id=campaign_id,
        title=f"{sku} together",
        mode=mode,
        capacity=capacity,
        min_size=min_size,
        limit=per_user_limit,
        ttl=seat_ttl_seconds,
        units=units_per_seat,
        tiers=json.dumps(list(tiers) if isinstance(tiers, tuple | list) else tiers),
    )
    return campaign_id


async def add_buyers(count: int) -> list[UUID]:
    """Make buyers and return their ids."""
    ids = [new_id() for _ in range(count)]
    await sql(
        "INSERT INTO buyer (id, openid) SELECT id, 'dev:' || id FROM"
        " unnest(CAST(:ids AS uuid[])) AS new (id)",
        ids=ids,
    )
    return ids


async def add_token(name: str) -> tuple[str, UUID]:
    """Log a buyer in and return (token, user id)."""
    async with transaction() as session:
        token, user_id, _ = await sessions.log_in(session, f"dev:{name}")
    return token, user_id


def ask(
    user_id: UUID,
    *,
    group_id: UUID | None = None,
    campaign_id: UUID | None = None,
    quantity: int = 1,
    key: str | None = None,
    body: bytes = b"body",
) -> Ask:
    """Return a request for a seat under a key of its own, unless one is given."""
    return Ask(
        user_id=user_id,
        key=(str(user_id), "join" if group_id else "open", key or new_id().hex),
        fingerprint=body,
        quantity=quantity,
        province="440000",
        city="深圳",
        address=json.dumps(dict(ADDRESS)),
        group_id=group_id,
        campaign_id=campaign_id,
    )


def code_of(answer: Answer) -> str:
    """Return the refusal's code, or `taken` for a seat."""
    document = json.loads(answer.body)
    return "taken" if answer.status == 201 else str(document["code"])


def seat_of(answer: Answer) -> dict[str, Any]:
    """Return the {group, order} of an answer that gave a seat."""
    assert answer.status == 201, answer.body
    document: dict[str, Any] = json.loads(answer.body)
    return document


async def count(table: str, where: str = "true", **values: Any) -> int:
    """Return how many rows of a table answer to a condition."""
    rows = await sql(f"SELECT count(*) FROM {table} WHERE {where}", **values)  # noqa: S608 - a test
    return int(rows[0][0])


async def assert_seats_add_up() -> None:
    """Check what the schema cannot: budgets, groups and orders count the same seats."""
    groups = await sql(
        "SELECT g.id FROM buying_group g WHERE (g.held_seats, g.paid_seats) <>"
        " (SELECT count(*) FILTER (WHERE state = 'reserved'),"
        "  count(*) FILTER (WHERE state = 'paid') FROM buyer_order o WHERE o.group_id = g.id)"
    )
    budgets = await sql(
        "SELECT b.sku, b.claimed_units, b.taken_seats FROM seat_budget b WHERE"
        " (b.claimed_units, b.taken_seats) <> (SELECT coalesce(sum(claim_units), 0),"
        "  count(*) FILTER (WHERE state IN ('reserved', 'paid')) FROM buyer_order o"
        "  WHERE o.sku = b.sku)"
    )
    oversold = await sql(
        "SELECT sku FROM seat_budget WHERE claimed_units > budget_units OR taken_seats > cap_seats"
    )
    untold = await sql(
        "SELECT o.id FROM buyer_order o WHERE NOT EXISTS (SELECT FROM outbox_message m WHERE"
        " m.topic = 'order.reserved' AND m.body->>'order_id' = o.id::text)"
        " OR NOT EXISTS (SELECT FROM order_journal j WHERE j.order_id = o.id)"
    )
    assert (groups, budgets, oversold, untold) == ([], [], [], [])


@asynccontextmanager
async def running_app() -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Run the application in this process; yield it with a client that speaks to it."""
    app = create_app()
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://caravan.test") as client,
    ):
        yield app, client


def bearer(token: str, *, key: str | None = None) -> dict[str, str]:
    """Return the headers of a request; with a key, those of a buyer's POST."""
    headers = {"Authorization": f"Bearer {token}"}
    return headers if key is None else {**headers, "Idempotency-Key": key}
