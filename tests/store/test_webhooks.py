"""Partners' webhooks over HTTP: believed by signature, read strictly, kept once."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy import Connection, event, text
from standardwebhooks import Webhook

from api import webhook_schema
from api.webhook_events import EVENTS
from kit import inbox
from kit.db import engine, transaction
from kit.tables import Partner
from tests.store.groups_world import running_app

SECRET: Final = "whsec_" + b64encode(b"current secret of this partner..").decode()
PREVIOUS: Final = "whsec_" + b64encode(b"the secret it had before that...").decode()
STRANGE: Final = "whsec_" + b64encode(b"a secret that nobody was given..").decode()
DOCS: Final = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
EXAMPLE: Final = re.compile(
    r"^### (?P<name>\S+)\n.*?```json\n(?P<text>.*?)```", re.MULTILINE | re.DOTALL
)


def examples() -> Iterator[tuple[str, str, bytes]]:
    """Yield (partner's kind, event, body) of every example in the docs."""
    kind_of = {name: kind for kind, events in EVENTS.items() for name in events}
    for found in EXAMPLE.finditer(DOCS.read_text(encoding="utf-8")):
        yield kind_of[found["name"]], found["name"], found["text"].encode()


EXAMPLES: Final = list(examples())
COUNT: Final = next(body for _, name, body in EXAMPLES if name == "inventory.snapshot")


def signed(
    body: bytes, *, id_: str = "evt-1", secret: str = SECRET, late: timedelta = timedelta()
) -> dict[str, str]:
    """Return the headers of a webhook."""
    sent_at = datetime.now(UTC) - late
    return {
        "content-type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, sent_at, body.decode()),
    }


async def kept() -> list[inbox.Letter]:
    """Return everything that was taken in and not applied."""
    async with transaction() as session:
        return await inbox.claim(session)


@pytest.fixture
async def client(store: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application with one partner of each kind."""
    del store
    async with transaction() as session:
        for kind in EVENTS:
            session.add(Partner(kind=kind, code="east", secret=SECRET, previous_secret=PREVIOUS))
        session.add(Partner(kind="warehouses", code="new"))
        session.add(Partner(kind="warehouses", code="gone", secret=SECRET, active=False))
    async with running_app() as (_, speaking):
        yield speaking


async def send(
    client: httpx.AsyncClient,
    body: bytes = COUNT,
    *,
    headers: Mapping[str, str] | None = None,
    path: str = "warehouses/east",
) -> httpx.Response:
    """Post a webhook, signed well unless headers are given."""
    made = signed(body) if headers is None else headers
    return await client.post(f"/v1/webhooks/{path}", content=body, headers=dict(made))


def changed(**data: object) -> bytes:
    """Return a snapshot whose data differs from the example."""
    document = json.loads(COUNT)
    document["data"] |= data
    return json.dumps(document).encode()


def test_every_event_has_an_example_and_the_schemas_have_not_drifted() -> None:
    documented = [(kind, name) for kind, name, _ in EXAMPLES]

    assert documented == [(kind, name) for kind, events in EVENTS.items() for name in events]
    committed = webhook_schema.PATH.read_text(encoding="utf-8")
    assert committed == webhook_schema.written(), "run python -m api.webhook_schema --write"


@pytest.mark.parametrize(("kind", "name", "body"), EXAMPLES)
def test_examples_are_valid_and_a_field_more_or_less_is_not(
    kind: str, name: str, body: bytes
) -> None:
    document = webhook_schema.schema()
    schema = {**document["events"][kind][name], "$defs": document["$defs"]}
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    example: dict[str, Any] = json.loads(body)

    validator.validate(example)
    assert not validator.is_valid({**example, "type": "another"})
    assert not validator.is_valid({**example, "data": {**example["data"], "more": 1}})
    optional = {"asn_no"} if name == "receipt_advice.posted" else set()
    required = [field for field in example["data"] if field not in optional]
    for field in required:
        less = {key: value for key, value in example["data"].items() if key != field}
        assert not validator.is_valid({**example, "data": less}), field


@pytest.mark.parametrize(("kind", "name", "body"), EXAMPLES)
async def test_examples_are_taken_in_as_they_are(
    client: httpx.AsyncClient, kind: str, name: str, body: bytes
) -> None:
    answer = await send(client, body, path=f"{kind}/east")

    assert (answer.status_code, answer.content) == (202, b"")
    (letter,) = await kept()
    said = msgspec.json.decode(body)
    assert (letter.source, letter.external_id, letter.kind) == (f"{kind}:east", "evt-1", name)
    assert letter.occurred_at == datetime.fromisoformat(said["timestamp"])
    assert msgspec.convert(letter.body, EVENTS[kind][name]) == msgspec.convert(
        said["data"], EVENTS[kind][name]
    )


async def test_an_event_is_taken_in_once_however_often_it_comes(
    client: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(*(send(client) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]
    assert len(await kept()) == 1


async def test_the_same_id_of_another_partner_is_another_event(client: httpx.AsyncClient) -> None:
    carried = next(body for kind, _, body in EXAMPLES if kind == "carriers")

    assert (await send(client)).status_code == 202
    assert (await send(client, carried, path="carriers/east")).status_code == 202


async def test_both_live_secrets_are_good(client: httpx.AsyncClient) -> None:
    first = signed(COUNT, id_="a", secret=SECRET)
    second = signed(COUNT, id_="b", secret=PREVIOUS)
    both = signed(COUNT, id_="c", secret=STRANGE)
    both["webhook-signature"] += " " + signed(COUNT, id_="c")["webhook-signature"]

    answers = [await send(client, headers=headers) for headers in (first, second, both)]

    assert [answer.status_code for answer in answers] == [202, 202, 202]


def _refusals() -> dict[str, tuple[str, bytes, dict[str, str]]]:
    good = signed(COUNT)
    east = "warehouses/east"
    return {
        "no signature": (east, COUNT, {"content-type": "application/json"}),
        "a strange secret": (east, COUNT, signed(COUNT, secret=STRANGE)),
        "another body": (east, COUNT + b" ", good),
        "another id": (east, COUNT, {**good, "webhook-id": "evt-2"}),
        "an endless id": (east, COUNT, signed(COUNT, id_="x" * 256)),
        "an id with a space": (east, COUNT, signed(COUNT, id_="a b")),
        "six minutes old": (east, COUNT, signed(COUNT, late=timedelta(minutes=6))),
        "six minutes early": (east, COUNT, signed(COUNT, late=-timedelta(minutes=6))),
        "another time": (east, COUNT, {**good, "webhook-timestamp": "1"}),
        "no time": (east, COUNT, {**good, "webhook-timestamp": "soon"}),
        "an endless time": (east, COUNT, {**good, "webhook-timestamp": "inf"}),
        "no version": (east, COUNT, {**good, "webhook-signature": "x"}),
        "not base64": (east, COUNT, {**good, "webhook-signature": "v1,%%%"}),
        "not Latin": (east, COUNT, {**good, "webhook-signature": "v1,é"}),
        "another version": (
            east,
            COUNT,
            {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")},
        ),
        "not text": (east, b"\xff\xfe", good),
        "garbage": (east, b"{", good),
        "a partner nobody knows": ("warehouses/nobody", COUNT, good),
        "a partner of another kind": ("suppliers/nobody", COUNT, good),
        "a partner without a secret": ("warehouses/new", COUNT, good),
        "a partner that left": ("warehouses/gone", COUNT, good),
        "a partner that cannot be": ("warehouses/%00", COUNT, good),
        "an endless partner": ("warehouses/" + "x" * 3000, COUNT, good),
    }


async def test_whatever_is_not_believed_gets_the_same_answer(client: httpx.AsyncClient) -> None:
    answers = {
        name: await client.post(
            f"/v1/webhooks/{path}",
            content=body,
            headers={key.encode(): value.encode("latin-1") for key, value in headers.items()},
        )
        for name, (path, body, headers) in _refusals().items()
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(
        answers, 401
    )
    assert len({answer.content for answer in answers.values()}) == 1
    seen = {json.dumps(sorted(answer.headers.items())) for answer in answers.values()}
    assert len(seen) == 1
    assert next(iter(answers.values())).json()["code"] == "not_believed"
    assert await kept() == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (changed(more=1), "/data/more"),
        (changed(as_of="2011-12-05T09:00:00"), "/data/as_of"),
        (changed(as_of=1), "/data/as_of"),
        (changed(complete="no"), "/data/complete"),
        (changed(lines=[{"sku": "a", "on_hand": -1, "held": 0}]), "/data/lines/0/on_hand"),
        (changed(lines=[{"sku": "a", "on_hand": 1.0, "held": 0}]), "/data/lines/0/on_hand"),
        (changed(lines=[{"sku": "a", "on_hand": True, "held": 0}]), "/data/lines/0/on_hand"),
        (changed(lines=[{"sku": "a", "on_hand": "1", "held": 0}]), "/data/lines/0/on_hand"),
        (changed(lines=[{"sku": "a", "on_hand": 10**9, "held": 0}]), "/data/lines/0/on_hand"),
        (changed(lines=[{"sku": "a", "on_hand": 10**30, "held": 0}]), "/data/lines/0/on_hand"),
        (changed(lines=[{"sku": "a", "on_hand": 1, "held": 2}]), "/data/lines/0"),
        (changed(lines=[{"sku": "a", "on_hand": 1, "held": 0}] * 2), "/data"),
        (changed(lines=[{"sku": "\0", "on_hand": 1, "held": 0}]), "/data/lines/0/sku"),
        (changed(lines=[{"sku": "\ud800", "on_hand": 1, "held": 0}]), "/data/lines/0/sku"),
        (changed(lines=[{"on_hand": 1, "held": 0}]), "/data/lines/0/sku"),
        (COUNT.replace(b"inventory.snapshot", b"tracking.updated"), "/type"),
        (b'{"type": "inventory.snapshot", "data": {}}', "/timestamp"),
        (b"[]", ""),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_place(
    client: httpx.AsyncClient, body: bytes, pointer: str
) -> None:
    answer = await send(client, body)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert await kept() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"type": "inventory.snapshot", "type": "inventory.delta"}',
        changed(complete=float("nan")),
        b"[" * 5_000 + b"]" * 5_000,
    ],
)
async def test_what_is_not_strict_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await send(client, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


async def test_a_body_over_64_kib_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await send(client, COUNT + b" " * (64 * 1024))

    assert answer.status_code == 413


async def test_a_webhook_is_one_read_and_one_insert(client: httpx.AsyncClient) -> None:
    statements: list[str] = []

    def note(_: Connection, __: object, statement: str, *___: object) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    event.listen(engine().sync_engine, "before_cursor_execute", note)
    answer = await send(client)
    event.remove(engine().sync_engine, "before_cursor_execute", note)

    assert answer.status_code == 202
    assert statements == ["SELECT", "INSERT"]


async def test_the_read_is_by_the_primary_key(client: httpx.AsyncClient) -> None:
    del client
    async with transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = await connection.execute(
            text(
                "EXPLAIN SELECT secret, previous_secret FROM partner"
                " WHERE kind = 'warehouses' AND code = 'east' AND active"
            )
        )
        assert "partner_pkey" in str(plan.scalars().first())
