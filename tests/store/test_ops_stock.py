"""Operations on stock over HTTP: where a SKU stands and why, and corrections booked once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import time
from typing import Any

import httpx
import pytest

from groups import sessions
from inventory import ledger
from kit.db import transaction
from logistics.tables import Warehouse
from operations import cap_groups
from tests.store.groups_world import bearer, running_app
from tests.store.inventory_world import add_products, add_stock, broken, movement

ADJUSTMENTS = "/v1/ops/stock/adjustments"


@pytest.fixture
async def client(store: str) -> AsyncIterator[httpx.AsyncClient]:
    """Speak as an operator of a shop with one warehouse and three products."""
    del store
    async with transaction() as session:
        session.add(
            Warehouse(
                code="east",
                name="East",
                province="310000",
                city="310100",
                lon=121.5,
                lat=31.2,
                cut_off=time(18),
                daily_parcels=1000,
            )
        )
        await add_products(session, "cup", "mug", "tea")
        await add_stock(session, "tea", 10)
        token = await sessions.ops_token(session, "olga")
    async with running_app() as (_, speaking):
        speaking.headers.update(bearer(token))
        yield speaking


def line(units: int, *, sku: str = "tea", **more: object) -> dict[str, object]:
    """Return one correction."""
    return {"sku": sku, "warehouse": "east", "units": units, **more}


async def adjust(
    client: httpx.AsyncClient, *lines: dict[str, object], key: str = "k", reason: str = "counted"
) -> httpx.Response:
    """Post corrections."""
    body = {"reason": reason, "lines": list(lines)}
    return await client.post(ADJUSTMENTS, json=body, headers={"Idempotency-Key": key})


async def stock_of(client: httpx.AsyncClient, sku: str = "tea") -> dict[str, Any]:
    """Return what operations see of one SKU."""
    answer = await client.get("/v1/ops/stock", params={"sku": sku})
    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    return dict(item)


async def test_a_sku_shows_what_may_be_promised_and_why(client: httpx.AsyncClient) -> None:
    item = await stock_of(client)

    assert (item["budget_units"], item["claimed_units"], item["units_left"]) == (10, 0, 10)
    assert item["parts"] == {"on_hand": 10}
    assert item["warehouses"] == [
        {"warehouse": "east", "on_hand": 10, "held": 0, "reserved": 0, "free": 10}
    ]


async def test_skus_come_in_pages(client: httpx.AsyncClient) -> None:
    first = (await client.get("/v1/ops/stock", params={"limit": 2})).json()
    second = (
        await client.get("/v1/ops/stock", params={"limit": 2, "cursor": first["next"]})
    ).json()

    assert [item["sku"] for item in first["items"] + second["items"]] == ["cup", "mug", "tea"]
    assert second["next"] is None
    assert (await client.get("/v1/ops/stock", params={"sku": "phantom"})).json()["items"] == []


async def test_a_correction_is_booked_with_its_reason_and_moves_the_budget(
    client: httpx.AsyncClient,
) -> None:
    answer = await adjust(client, line(-2), line(3, act="hold"), line(5, sku="mug"))

    assert (answer.status_code, answer.json()) == (201, {"movements": 4})
    assert await cap_groups.recompute_dirty() == 3
    item = await stock_of(client)
    assert item["warehouses"][0] | {"warehouse": ""} == {
        "warehouse": "",
        "on_hand": 8,
        "held": 3,
        "reserved": 0,
        "free": 5,
    }
    assert item["budget_units"] == 5
    async with transaction() as session:
        connection = await session.connection()
        rows = await connection.exec_driver_sql(
            "SELECT DISTINCT actor, reason FROM stock_movement WHERE kind IN ('adjust', 'hold')"
        )
        assert [tuple(row) for row in rows] == [("olga", "counted")]
        assert await broken(session) == []


async def test_ten_repetitions_of_one_correction_are_one(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(adjust(client, line(1)) for _ in range(10)))

    assert [answer.json() for answer in answers] == [{"movements": 1}] * 10
    assert (await stock_of(client))["warehouses"][0]["on_hand"] == 11
    assert (await adjust(client, line(2))).json()["code"] == "idempotency_key_reuse"


async def test_unhold_gives_units_back_to_sale(client: httpx.AsyncClient) -> None:
    await adjust(client, line(4, act="hold"), key="a")
    await adjust(client, line(3, act="unhold"), key="b")

    assert (await stock_of(client))["warehouses"][0] == {
        "warehouse": "east",
        "on_hand": 10,
        "held": 1,
        "reserved": 0,
        "free": 9,
    }


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        (line(-12), 409, "inventory.below_zero"),
        (line(1, act="unhold"), 409, "inventory.below_zero"),
        (line(1, sku="phantom"), 404, "inventory.unknown_product"),
        (line(1, warehouse="nowhere"), 404, "unknown_warehouse"),
        (line(0), 422, "validation"),
        (line(-1, act="hold"), 422, "validation"),
        ({**line(1), "units": 1.0}, 422, "validation"),
        ({**line(1), "units": "1"}, 422, "validation"),
        ({**line(1), "more": 1}, 422, "validation"),
    ],
)
async def test_a_correction_that_cannot_be_changes_nothing(
    client: httpx.AsyncClient, wrong: dict[str, object], status: int, code: str
) -> None:
    answer = await adjust(client, line(1), wrong)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await stock_of(client))["warehouses"][0]["on_hand"] == 10


async def test_a_correction_needs_a_key_and_a_reason(client: httpx.AsyncClient) -> None:
    keyless = await client.post(ADJUSTMENTS, json={"reason": "x", "lines": [line(1)]})

    assert keyless.json()["code"] == "idempotency_key_missing"
    assert (await adjust(client, line(1), reason="")).status_code == 422
    assert (await adjust(client)).status_code == 422


async def test_a_shortage_is_shown_with_what_to_do(client: httpx.AsyncClient) -> None:
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE stock_level SET reserved = 4")
        await ledger.book(session, [movement("tea", -8, key="lost")])

    (found,) = (await stock_of(client))["discrepancies"]

    assert (found["kind"], found["units"], found["warehouse"]) == ("shortage", 2, "east")
    assert "more is promised" in found["what_to_do"]


async def test_what_no_text_column_can_hold_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/ops/stock?sku=%00")).status_code == 422
    assert (await client.get("/v1/ops/stock?limit=101")).status_code == 422
