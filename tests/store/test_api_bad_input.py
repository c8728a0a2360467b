"""The table of bad input of the HTTP contract, row by row, and who may call what."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api import bodies
from api.deps import Identities
from api.groups import render
from api.limits import Limits
from groups import sessions
from groups.admission import Admission
from kit.batching import Overloaded, QueueExpired
from kit.db import engine, make_engine, transaction, use_engine
from kit.ids import new_id
from kit.settings import settings
from tests.store.groups_world import (
    ADDRESS,
    JSON,
    add_campaign,
    add_token,
    bearer,
    count,
    running_app,
)

pytestmark = pytest.mark.usefixtures("store")

SESSION = b'{"code": "dev:ann"}'


@pytest.fixture
async def app_and_client(store: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    del store
    async with running_app() as both:
        yield both


@pytest.fixture
def client(app_and_client: tuple[FastAPI, httpx.AsyncClient]) -> httpx.AsyncClient:
    return app_and_client[1]


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a refusal is a problem document of this kind, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert {key: problem[key] for key in ("status", "code")} == {"status": status, "code": code}
    assert set(problem) - {"errors"} == {"type", "title", "status", "code", "detail"}
    return problem


async def join(
    client: httpx.AsyncClient, token: str, body: bytes, *, key: str = "k", **headers: str
) -> httpx.Response:
    return await client.post(
        f"/v1/groups/{new_id()}/orders",
        content=body,
        headers={**bearer(token, key=key), **JSON, **headers},
    )


def seat_body(**changes: object) -> bytes:
    return json.dumps({"address": dict(ADDRESS), **changes}).encode()


async def test_a_missing_or_odd_idempotency_key_is_refused(client: httpx.AsyncClient) -> None:
    token, _ = await add_token("ann")
    path = f"/v1/groups/{new_id()}/orders"

    missing = await client.post(path, content=seat_body(), headers={**bearer(token), **JSON})
    odd = [await join(client, token, seat_body(), key=key) for key in ("", " ", "a b", "k" * 256)]
    high = await client.post(
        path,
        content=seat_body(),
        headers=[
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
            (b"idempotency-key", "钥匙".encode()),
        ],
    )

    assert_problem(missing, 400, "idempotency_key_missing")
    for answer in (*odd, high):
        assert_problem(answer, 400, "idempotency_key_invalid")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"code": NaN}',
        b'{"code": Infinity}',
        b'{"code": -Infinity}',
        b'{"code": "a", "code": "b"}',
        b'{"code": "\xff"}',
        b'\xef\xbb\xbf{"code": "a"}',
        b"[" * 20_000,
        b'{"code": "a"} {}',
    ],
)
async def test_what_is_not_strict_json_is_malformed(client: httpx.AsyncClient, body: bytes) -> None:
    token, _ = await add_token("ann")
    answer = await client.post("/v1/sessions", content=body, headers=JSON)
    hot = await join(client, token, body.replace(b'"code"', b'"quantity"'))

    if body:
        assert_problem(answer, 400, "malformed_json")
    else:
        assert_problem(answer, 422, "validation")
    assert_problem(hot, 400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (seat_body(unknown=1), "/unknown"),
        (seat_body(quantity=0), "/quantity"),
        (seat_body(quantity=-1), "/quantity"),
        (seat_body(quantity=10**9), "/quantity"),
        (seat_body(quantity="1"), "/quantity"),
        (seat_body(quantity=1.0), "/quantity"),
        (seat_body(quantity=True), "/quantity"),
        (seat_body(quantity=None), "/quantity"),
        (seat_body(quantity=10**30), "/quantity"),
        (seat_body().replace(b"{", b'{"quantity": 1e9, ', 1), "/quantity"),
        (seat_body().replace(b"{", b'{"quantity": 1e999, ', 1), "/quantity"),
        (seat_body(coupon_id=str(new_id())), "/coupon_id"),
        (seat_body(coupon_id=5), "/coupon_id"),
        (b"{}", "/address"),
        (b"[]", ""),
        (b"null", ""),
        (seat_body(address={**ADDRESS, "name": "a\0b"}), "/address/name"),
        (
            seat_body(address={**ADDRESS, "name": "X"}).replace(b'"X"', b'"\\ud800"'),
            "/address/name",
        ),
        (seat_body(address={**ADDRESS, "province": "Atlantis"}), "/address/province"),
        (seat_body(address={**ADDRESS, "city": " "}), "/address/city"),
        (seat_body(address={**ADDRESS, "city": "110100"}), "/address/city"),
        (seat_body(address={**ADDRESS, "city": "4403"}), "/address/city"),
        (seat_body(address={**ADDRESS, "detail": ""}), "/address/detail"),
        (seat_body(address={**ADDRESS, "phone": "call me"}), "/address/phone"),
        (seat_body(address={**ADDRESS, "x~/y": "z"}), "/address/x~0~1y"),
        (seat_body(address={"province": "广东"}), "/address/city"),
        (seat_body(address={**ADDRESS, "detail": "d" * 201}), "/address/detail"),
    ],
)
async def test_what_cannot_be_meant_is_named_by_a_json_pointer(
    client: httpx.AsyncClient, body: bytes, pointer: str
) -> None:
    token, _ = await add_token("ann")

    problem = assert_problem(await join(client, token, body), 422, "validation")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert await count("idempotent_answer") == 0


async def test_a_hidden_second_key_is_found_by_its_colon(client: httpx.AsyncClient) -> None:
    token, _ = await add_token("ann")
    twice = seat_body().replace(b'"city"', b'"city": "x", "city"')
    colons_in_text = seat_body(address={**ADDRESS, "detail": "gate: 3, floor: 2"})

    assert_problem(await join(client, token, twice), 400, "malformed_json")
    assert_problem(await join(client, token, colons_in_text), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"code": "dev:a", "more": 1}', "/more"),
        (b'{"code": "dev:a\\u0000"}', "/code"),
        (b'{"code": "\\udfff"}', "/code"),
        (b'{"code": 9223372036854775808}', "/code"),
        (b'{"code": 1e999}', "/code"),
        (b'{"code": ""}', "/code"),
        (b'{"a~/b": "\\u0000", "code": "x"}', "/a~0~1b"),
        (b"[]", ""),
    ],
)
async def test_other_routes_name_what_is_wrong_as_well(
    client: httpx.AsyncClient, body: bytes, pointer: str
) -> None:
    answer = await client.post("/v1/sessions", content=body, headers=JSON)

    problem = assert_problem(answer, 422, "validation")

    assert problem["errors"][0]["pointer"] == pointer


async def test_a_code_of_nobody_logs_nobody_in(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = await client.post("/v1/sessions", json={"code": "wx-code"})
    nameless = await client.post("/v1/sessions", json={"code": "dev:"})
    monkeypatch.setenv("CARAVAN_ENV", "production")
    settings.cache_clear()
    developer = await client.post("/v1/sessions", json={"code": "dev:ann"})

    for answer in (unknown, nameless, developer):
        assert_problem(answer, 422, "login_refused")
    assert await count("buyer") == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=gbk", "", "json"])
async def test_a_body_that_is_not_json_is_415(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/v1/sessions", content=SESSION, headers={"Content-Type": kind})

    assert_problem(answer, 415, "content_type")


@pytest.mark.parametrize("kind", ["application/json;charset=UTF-8", "Application/JSON"])
async def test_json_may_say_its_charset(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/v1/sessions", content=SESSION, headers={"Content-Type": kind})

    assert answer.status_code == 201


async def test_any_content_encoding_is_415(client: httpx.AsyncClient) -> None:
    for coding in ("gzip", "br", "x"):
        answer = await client.post(
            "/v1/sessions", content=SESSION, headers={**JSON, "Content-Encoding": coding}
        )
        assert_problem(answer, 415, "content_encoding")


async def test_a_large_body_is_413_whether_announced_or_streamed(
    client: httpx.AsyncClient,
) -> None:
    token, _ = await add_token("ann")
    large = b'{"code": "' + b"a" * bodies.BODY_BYTES + b'"}'

    async def drops() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1024

    announced = await client.post("/v1/sessions", content=large, headers=JSON)
    streamed = await client.post("/v1/sessions", content=drops(), headers=JSON)
    hot = await join(client, token, large)
    webhook = await client.post(
        "/v1/webhooks/suppliers/x", content=b" " * (bodies.WEBHOOK_BYTES + 1), headers=JSON
    )

    for answer in (announced, streamed, hot, webhook):
        assert_problem(answer, 413, "body_too_large")
        assert answer.headers["connection"] == "close"


async def test_a_body_that_does_not_end_is_408(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b'{"code":'
        await never.wait()

    answer = await client.post("/v1/sessions", content=stuck(), headers=JSON)

    assert_problem(answer, 408, "body_timeout")


async def test_who_is_not_known_is_401_and_who_may_not_is_403(client: httpx.AsyncClient) -> None:
    async with transaction() as session:
        operator = await sessions.ops_token(session, "olga")
    path = f"/v1/groups/{new_id()}/orders"

    strangers = [
        await client.post(path, content=seat_body(), headers={**JSON, **headers})
        for headers in (
            {},
            {"Authorization": "Bearer nobody", "Idempotency-Key": "k"},
            {"Authorization": "Basic YTpi", "Idempotency-Key": "k"},
            {"Authorization": "Bearer", "Idempotency-Key": "k"},
        )
    ]
    wrong = await join(client, operator, seat_body())

    for answer in strangers:
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert_problem(wrong, 403, "forbidden")


async def test_what_is_not_there_is_the_same_404_by_any_name(client: httpx.AsyncClient) -> None:
    token, _ = await add_token("ann")
    draft = await add_campaign(state="draft")
    names = [str(new_id()), str(draft), "nonsense", "0", "9" * 40, "%00", "..%2f"]
    answers = [
        await client.get(path.format(name), headers=bearer(token))
        for path in ("/v1/groups/{}", "/v1/campaigns/{}", "/v1/campaigns/{}/groups")
        for name in names
    ]
    joins = [await join(client, token, seat_body())]

    problems = [assert_problem(answer, 404, "not_found") for answer in (*answers, *joins)]

    assert all(problem["title"] == "Not Found" for problem in problems)


async def test_unknown_paths_are_404_and_wrong_methods_405_with_allow(
    client: httpx.AsyncClient,
) -> None:
    nowhere = await client.get("/v1/nowhere")
    slashed = await client.get("/v1/campaigns/")
    deleted = await client.delete("/v1/groups")
    patched = await client.patch(f"/v1/groups/{new_id()}", json={})
    posted = await client.post("/healthz")

    assert_problem(nowhere, 404, "not_found")
    assert_problem(slashed, 404, "not_found")
    for answer, allow in ((deleted, "POST"), (patched, "GET, HEAD"), (posted, "GET")):
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allow


async def test_too_many_requests_are_429_and_say_when_to_come_back(
    app_and_client: tuple[FastAPI, httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, client = app_and_client
    token, _ = await add_token("ann")
    limits: Limits = app.state.limits
    monkeypatch.setattr(limits, "_wall", lambda: 1_000_000_050.0)
    monkeypatch.setattr("api.limits.USER_REQUESTS_A_WINDOW", 3)
    monkeypatch.setattr(Limits.take, "__kwdefaults__", {"limit": 3})

    answers = [await join(client, token, seat_body(), key=str(n)) for n in range(5)]

    for answer in answers[:3]:
        assert_problem(answer, 404, "not_found")
    for answer in answers[3:]:
        assert_problem(answer, 429, "too_many_requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize("reason", [Overloaded("full"), QueueExpired("waited")])
async def test_an_overload_is_503_and_the_key_is_safe_to_repeat(
    app_and_client: tuple[FastAPI, httpx.AsyncClient], reason: Exception
) -> None:
    app, client = app_and_client
    campaign_id = await add_campaign()
    token, _ = await add_token("ann")
    working: Admission = app.state.admission

    class Refusing(Admission):
        async def take_seat(self, ask: object) -> Any:
            del ask
            raise reason

    async def open_one() -> httpx.Response:
        return await client.post(
            "/v1/groups",
            content=seat_body(campaign_id=str(campaign_id)),
            headers={**bearer(token, key="k"), **JSON},
        )

    app.state.admission = Refusing(render)
    refused = await open_one()
    app.state.admission = working
    taken = await open_one()

    assert refused.status_code == 503
    assert refused.json()["code"] in {"overloaded", "queue_expired"}
    assert refused.headers["retry-after"] == "1"
    assert taken.status_code == 201


async def test_a_database_that_is_down_is_503_and_the_same_key_works_later(
    app_and_client: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    app, client = app_and_client
    campaign_id = await add_campaign()
    token, _ = await add_token("ann")
    body = seat_body(campaign_id=str(campaign_id))
    headers = {**bearer(token, key="k"), **JSON}
    working = engine()
    nowhere = make_engine("postgresql://nobody@127.0.0.1:1/nothing")

    use_engine(nowhere)
    down = [
        await client.post("/v1/groups", content=body, headers=headers),
        await client.get("/v1/campaigns", headers=bearer(token)),
        await client.get("/readyz"),
        await client.post("/v1/sessions", json={"code": "dev:bob"}),
    ]
    alive = await client.get("/healthz")
    use_engine(working)
    await nowhere.dispose()
    later = await client.post("/v1/groups", content=body, headers=headers)

    for answer in down:
        assert_problem(answer, 503, "database_down")
        assert int(answer.headers["retry-after"]) >= 1
    assert alive.status_code == 200
    assert later.status_code == 201
    assert isinstance(app.state.identities, Identities)


async def test_metrics_are_for_operators_away_from_home(store: str) -> None:
    del store
    async with running_app() as (app, client):
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://far.test") as far:
            here = await client.get("/metrics")
            stranger = await far.get("/metrics")
            async with transaction() as session:
                operator = await sessions.ops_token(session, "olga")
            known = await far.get("/metrics", headers=bearer(operator))

    assert here.status_code == 200
    assert "caravan_seat_answers" in here.text
    assert_problem(stranger, 401, "unauthenticated")
    assert known.status_code == 200
