"""The buyers' routes over ASGI: seats, progress, campaigns and groups to join."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from kit.ids import new_id
from tests.store.groups_world import (
    ADDRESS,
    add_campaign,
    add_token,
    assert_seats_add_up,
    bearer,
    count,
    running_app,
)
from tests.store.rows import sql

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
async def client(store: str) -> AsyncIterator[httpx.AsyncClient]:
    del store
    async with running_app() as (_, client):
        yield client


async def open_group(client: httpx.AsyncClient, campaign_id: UUID, token: str) -> dict[str, Any]:
    answer = await client.post(
        "/v1/groups",
        json={"campaign_id": str(campaign_id), "address": dict(ADDRESS)},
        headers=bearer(token, key=new_id().hex),
    )
    assert answer.status_code == 201, answer.text
    seat: dict[str, Any] = answer.json()
    return seat


async def test_a_buyer_logs_in_opens_a_group_and_another_joins_it(
    client: httpx.AsyncClient,
) -> None:
    campaign_id = await add_campaign(capacity=3)
    tokens = []
    for name in ("ann", "bob"):
        answer = await client.post("/v1/sessions", json={"code": f"dev:{name}"})
        assert answer.status_code == 201
        tokens.append(answer.json()["token"])

    opened = await open_group(client, campaign_id, tokens[0])
    joined = await client.post(
        f"/v1/groups/{opened['group']['id']}/orders",
        json={"quantity": 2, "address": dict(ADDRESS)},
        headers=bearer(tokens[1], key="k"),
    )

    assert joined.status_code == 201
    seat = joined.json()
    assert seat["group"] == {
        **opened["group"],
        "held": 2,
        "missing": 1,
        "version": 2,
    }
    assert seat["order"]["amount_fen"] == 2 * 9900
    assert seat["order"]["state"] == "reserved"
    (order,) = await sql("SELECT province, city, address FROM buyer_order WHERE quantity = 2")
    assert (order.province, order.city) == ("440000", "深圳")
    assert order.address == {**ADDRESS, "province": "广东省"}
    await assert_seats_add_up()


async def test_the_same_key_gets_the_same_answer_and_another_body_is_refused(
    client: httpx.AsyncClient,
) -> None:
    campaign_id = await add_campaign()
    leader, _ = await add_token("ann")
    token, user_id = await add_token("bob")
    group = (await open_group(client, campaign_id, leader))["group"]["id"]
    other = (await open_group(client, campaign_id, leader))["group"]["id"]

    async def join(group_id: str, quantity: int = 1) -> httpx.Response:
        return await client.post(
            f"/v1/groups/{group_id}/orders",
            json={"quantity": quantity, "address": dict(ADDRESS)},
            headers=bearer(token, key="k"),
        )

    answers = await asyncio.gather(*(join(group) for _ in range(10)))
    again = await join(group)
    reused = [await join(group, quantity=2), await join(other)]

    assert {answer.status_code for answer in (*answers, again)} == {201}
    assert all(answer.json() == again.json() for answer in answers)
    for answer in reused:
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reuse")
    assert await count("buyer_order", "user_id = :id", id=user_id) == 1


async def test_a_refusal_is_a_problem_document_and_is_kept(client: httpx.AsyncClient) -> None:
    campaign_id = await add_campaign(budget_units=1)
    leader, _ = await add_token("ann")
    token, _ = await add_token("bob")
    group = (await open_group(client, campaign_id, leader))["group"]["id"]

    answers = [
        await client.post(
            f"/v1/groups/{group}/orders",
            json={"address": dict(ADDRESS)},
            headers=bearer(token, key="k"),
        )
        for _ in range(2)
    ]

    for answer in answers:
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "out_of_stock"


async def test_progress_shows_masked_members_and_what_is_missing(
    client: httpx.AsyncClient,
) -> None:
    campaign_id = await add_campaign(
        capacity=4, mode="tiered", tiers=[{"members": 3, "price_fen": 9000}]
    )
    token, _ = await add_token("annabel")
    group_id = (await open_group(client, campaign_id, token))["group"]["id"]

    answer = await client.get(f"/v1/groups/{group_id}", headers=bearer(token))
    unchanged = await client.get(
        f"/v1/groups/{group_id}",
        headers={**bearer(token), "If-None-Match": answer.headers["etag"]},
    )

    seen = answer.json()
    assert (seen["state"], seen["paid"], seen["held"], seen["missing"]) == ("draft", 0, 1, 3)
    assert seen["next_tier"] == {"members": 3, "price_fen": 9000}
    assert 86_000 < seen["seconds_left"] <= 86_400
    assert [member["leader"] for member in seen["members"]] == [True]
    assert "annabel" not in answer.text
    assert unchanged.status_code == 304
    assert unchanged.content == b""


async def test_many_readers_of_one_group_are_all_answered(client: httpx.AsyncClient) -> None:
    campaign_id = await add_campaign()
    token, _ = await add_token("ann")
    group_id = (await open_group(client, campaign_id, token))["group"]["id"]

    answers = await asyncio.gather(
        *(client.get(f"/v1/groups/{group_id}", headers=bearer(token)) for _ in range(50)),
        *(client.get(f"/v1/groups/{new_id()}", headers=bearer(token)) for _ in range(5)),
    )

    assert [answer.status_code for answer in answers] == [200] * 50 + [404] * 5


async def test_campaigns_are_listed_by_pages_with_seats_left(client: httpx.AsyncClient) -> None:
    ids = [await add_campaign(f"tea-{n}", budget_units=5, units_per_seat=2) for n in range(5)]
    await add_campaign("hidden", state="draft")
    capped = await add_campaign("capped", budget_units=50, cap_seats=3)
    token, _ = await add_token("ann")
    seen: list[dict[str, Any]] = []
    cursor: str | None = None

    for _ in range(10):
        answer = await client.get(
            "/v1/campaigns",
            params={"limit": 2, **({} if cursor is None else {"cursor": cursor})},
            headers=bearer(token),
        )
        assert answer.status_code == 200
        seen += answer.json()["campaigns"]
        cursor = answer.json()["next"]
        if cursor is None:
            break

    assert [campaign["id"] for campaign in seen] == [str(one) for one in (*ids, capped)]
    assert [campaign["seats_left"] for campaign in seen] == [2] * 5 + [3]
    assert seen[0]["list_price_fen"] == 12_000


async def test_one_campaign_carries_an_etag_that_changes_with_it(
    client: httpx.AsyncClient,
) -> None:
    campaign_id = await add_campaign()
    token, _ = await add_token("ann")
    path = f"/v1/campaigns/{campaign_id}"

    first = await client.get(path, headers=bearer(token))
    tag = {"If-None-Match": first.headers["etag"]}
    same = await client.get(path, headers={**bearer(token), **tag})
    await sql("UPDATE seat_budget SET budget_units = 7")
    changed = await client.get(path, headers={**bearer(token), **tag})

    assert (first.status_code, same.status_code, changed.status_code) == (200, 304, 200)
    assert changed.json()["seats_left"] == 7


@pytest.mark.parametrize("sort", ["fewest_missing", "newest"])
async def test_joinable_groups_are_listed_by_pages(client: httpx.AsyncClient, sort: str) -> None:
    campaign_id = await add_campaign(capacity=6, per_user_limit=50)
    tokens = [(await add_token(f"b{n}"))[0] for n in range(4)]
    groups = [(await open_group(client, campaign_id, tokens[0]))["group"]["id"] for _ in range(7)]
    for number, group_id in enumerate(groups):
        for token in tokens[1 : 1 + number % 3]:
            await client.post(
                f"/v1/groups/{group_id}/orders",
                json={"address": dict(ADDRESS)},
                headers=bearer(token, key=group_id),
            )
    await sql("UPDATE buying_group SET deadline_at = kit_now() WHERE id = :id", id=UUID(groups[0]))
    seen: list[tuple[int, str]] = []
    cursor: str | None = None

    while True:
        answer = await client.get(
            f"/v1/campaigns/{campaign_id}/groups",
            params={"sort": sort, "limit": 2, **({} if cursor is None else {"cursor": cursor})},
            headers=bearer(tokens[0]),
        )
        assert answer.status_code == 200
        seen += [(group["missing"], group["id"]) for group in answer.json()["groups"]]
        cursor = answer.json()["next"]
        if cursor is None:
            break

    assert {group_id for _, group_id in seen} == set(groups[1:])
    assert len(seen) == 6
    expected = (
        sorted(seen)
        if sort == "fewest_missing"
        else sorted(seen, key=lambda row: row[1], reverse=True)
    )
    assert seen == expected


async def test_a_cursor_of_nobody_is_refused(client: httpx.AsyncClient) -> None:
    token, _ = await add_token("ann")

    for cursor in ("x", "é", "W10", "WyJhIl0", "W251bGxd", "A" * 201):
        answer = await client.get("/v1/campaigns", params={"cursor": cursor}, headers=bearer(token))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == "cursor"


async def test_an_idle_or_expired_session_is_no_session(client: httpx.AsyncClient) -> None:
    fresh, _ = await add_token("ann")
    idle, _ = await add_token("bob")
    old, _ = await add_token("cid")
    await sql(
        "UPDATE session SET used_at = now() - interval '2 hours' WHERE user_id ="
        " (SELECT id FROM buyer WHERE openid = 'dev:bob')"
    )
    await sql(
        "UPDATE session SET expires_at = now() WHERE user_id ="
        " (SELECT id FROM buyer WHERE openid = 'dev:cid')"
    )

    answers = [
        await client.get("/v1/campaigns", headers=bearer(token)) for token in (fresh, idle, old)
    ]

    assert [answer.status_code for answer in answers] == [200, 401, 401]


async def test_a_session_in_use_does_not_become_idle(client: httpx.AsyncClient) -> None:
    token, _ = await add_token("ann")
    await sql("UPDATE session SET used_at = now() - interval '1 hour'")

    answer = await client.get("/v1/campaigns", headers=bearer(token))

    assert answer.status_code == 200
    assert await count("session", "used_at > now() - interval '1 minute'") == 1
