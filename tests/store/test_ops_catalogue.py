"""Catalogue and audit over HTTP: what operations send, and what they are told."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from groups import sessions
from kit.db import transaction
from operations.audit.report import INVARIANTS
from tests.conftest import ROOT
from tests.store.audit_world import build
from tests.store.groups_world import bearer, running_app

CATALOGUE = "/v1/ops/catalogue"
YAML = {"content-type": "application/yaml"}
EXAMPLE = (ROOT / "examples" / "catalogue.yaml").read_bytes()


@pytest.fixture
async def client(store: str) -> AsyncIterator[httpx.AsyncClient]:
    """Speak as an operator."""
    del store
    async with transaction() as session:
        token = await sessions.ops_token(session, "olga")
    async with running_app() as (_, speaking):
        speaking.headers.update(bearer(token))
        yield speaking


async def test_the_example_is_loaded_once_and_sold(client: httpx.AsyncClient) -> None:
    first = await client.post(CATALOGUE, content=EXAMPLE, headers=YAML)
    again = await client.post(CATALOGUE, content=EXAMPLE, headers=YAML)

    assert first.status_code == again.status_code == 200
    assert first.json()["changed"]
    assert first.json()["sections"]["campaigns"] == {
        "added": 9,
        "changed": 0,
        "unchanged": 0,
        "removed": 0,
    }
    assert not again.json()["changed"]


async def test_json_is_taken_as_well(client: httpx.AsyncClient) -> None:
    document = {"carriers": [{"code": "quick", "name": "Quick"}]}

    answer = await client.post(CATALOGUE, json=document)

    assert answer.json()["sections"]["carriers"]["added"] == 1


async def test_a_broken_catalogue_is_answered_with_every_problem(
    client: httpx.AsyncClient,
) -> None:
    broken = EXAMPLE.replace(b"moq: 48", b"moq: 4800").replace(b"sku: bowl-set-4", b"sku: bowl", 1)

    answer = await client.post(CATALOGUE, content=broken, headers=YAML)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "catalogue_invalid"
    assert {error["pointer"] for error in problem["errors"]} == {
        "/suppliers/0/agreements/0/tiers/0/min_units",
        "/suppliers/0/agreements/5/sku",
        "/campaigns/5/sku",
    }
    assert all(error["detail"].startswith("line ") for error in problem["errors"])


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a: [", "application/yaml", 422),
        (b'{"products": []', "application/json", 422),
        (b"products: []", "text/plain", 415),
        (b"products: []", "", 415),
    ],
)
async def test_what_is_no_catalogue_is_refused(
    client: httpx.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    answer = await client.post(CATALOGUE, content=content, headers={"content-type": kind})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_catalogue_beyond_64_mib_is_refused(client: httpx.AsyncClient) -> None:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b" " * 1024 * 1024

    answer = await client.post(CATALOGUE, content=flood(), headers=YAML)

    assert answer.status_code == 413


@pytest.mark.parametrize(("method", "path"), [("POST", CATALOGUE), ("GET", "/v1/ops/audit")])
async def test_buyers_and_strangers_are_sent_away(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    login = await client.post("/v1/sessions", json={"code": "dev:ann"})

    as_buyer = await client.request(method, path, headers=bearer(login.json()["token"]))
    as_nobody = await client.request(method, path, headers={"authorization": ""})

    assert (as_buyer.status_code, as_nobody.status_code) == (403, 401)


async def test_the_audit_names_what_it_checked_and_what_is_wrong(
    client: httpx.AsyncClient,
) -> None:
    async with transaction() as session:
        await build(session)
    clean = (await client.get("/v1/ops/audit")).json()
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE stock_level SET reserved = 2")

    dirty = (await client.get("/v1/ops/audit")).json()

    assert clean == {"checked": [each.name for each in INVARIANTS], "violations": []}
    assert json.dumps(dirty["violations"]) == json.dumps(
        [
            {
                "invariant": "S2",
                "row": "stock_level tea east",
                "detail": "2 reserved, live reservations are for 1",
            }
        ]
    )
