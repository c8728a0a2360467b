"""Calls to a real server on its worst day: what we know afterwards is always true."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from kit.addresses import checked_address
from kit.breaker import BreakerState
from kit.outgoing import (
    AnswerLost,
    HostRefused,
    Limits,
    Outgoing,
    Partner,
    PartnerRefused,
    PartnerUnavailable,
)
from tests.store.rude_company import (
    Company,
    Reply,
    certificate,
    compressed,
    drip,
    garbage,
    half,
    hang,
    listening,
    reset,
    whole,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MIB = 1024 * 1024
SHORT = Limits(connect_seconds=0.5, read_seconds=0.2, total_seconds=0.6, body_bytes=MIB)


@pytest.fixture
async def company() -> AsyncIterator[Company]:
    async with listening() as made:
        yield made


@pytest.fixture
async def outgoing() -> AsyncIterator[Outgoing]:
    async with Outgoing(allowed_hosts=["localhost"], allow_private=True, limits=SHORT) as client:
        yield client


async def _order(outgoing: Outgoing, partner: Partner) -> object:
    answer = await outgoing.post(
        partner, "/purchase-orders", document={"client_ref": "po-1"}, idempotency_key="po-1"
    )
    return answer.document


async def test_a_document_arrives_with_its_key_and_signature(
    outgoing: Outgoing, company: Company
) -> None:
    signed = replace(company.partner, secret=SecretStr(SECRET))

    assert await _order(outgoing, signed) == {"status": "received"}

    assert company.heads[0].startswith("POST /api/purchase-orders HTTP/1.1")
    assert company.header("host") == f"localhost:{company.port}"
    assert company.header("idempotency-key") == "po-1"
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: str(company.header(name)) for name in names}
    assert headers["webhook-id"] == "po-1"
    assert Webhook(SECRET).verify(company.bodies[0], headers) == {"client_ref": "po-1"}


async def test_a_question_carries_its_parameters(outgoing: Outgoing, company: Company) -> None:
    company.reply = whole(b'{"items":[]}')

    answer = await outgoing.get(company.partner, "/purchase-orders", params={"client_ref": "a b&c"})

    assert answer.document == {"items": []}
    assert company.heads[0].startswith("GET /api/purchase-orders?client_ref=a")
    assert "b&c" not in company.heads[0].split("\r\n")[0]


async def test_not_modified_is_an_answer(outgoing: Outgoing, company: Company) -> None:
    company.reply = whole(b"", status="304 Not Modified")

    answer = await outgoing.get(company.partner, "/stock", headers={"If-None-Match": '"7"'})

    assert (answer.status, answer.document) == (304, None)
    assert company.header("if-none-match") == '"7"'


@pytest.mark.parametrize(
    "reply",
    [
        hang,
        drip,
        garbage,
        reset,
        half,
        compressed,
        whole(b"x" * 10 * MIB),
        whole(b"{not json"),
        whole(b"[" * 100_000),
    ],
    ids=["hang", "drip", "garbage", "reset", "half", "gzip", "10 MB", "not JSON", "deep JSON"],
)
async def test_after_sending_a_document_every_fault_is_an_unknown_effect(
    outgoing: Outgoing, company: Company, reply: Reply
) -> None:
    company.reply = reply
    started = time.monotonic()

    with pytest.raises(AnswerLost, match="leaf"):
        await _order(outgoing, company.partner)

    assert company.bodies == [b'{"client_ref":"po-1"}']
    assert time.monotonic() - started < 5


async def test_a_question_without_an_answer_is_only_unavailable(
    outgoing: Outgoing, company: Company
) -> None:
    company.reply = reset

    with pytest.raises(PartnerUnavailable):
        await outgoing.get(company.partner, "/stock")


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow Down", "408 Timeout"])
async def test_try_later_is_unavailable(outgoing: Outgoing, company: Company, status: str) -> None:
    company.reply = whole(b"", status=status)

    with pytest.raises(PartnerUnavailable, match=f"leaf answered {status[:3]}"):
        await _order(outgoing, company.partner)


@pytest.mark.parametrize("status", ["422 No", "409 Conflict", "302 Found"])
async def test_a_refusal_keeps_its_body_and_redirects_are_not_followed(
    outgoing: Outgoing, company: Company, status: str
) -> None:
    company.reply = whole(b'{"code":"unknown_sku"}', status=status)

    with pytest.raises(PartnerRefused) as refusal:
        await _order(outgoing, company.partner)

    assert refusal.value.status == int(status[:3])
    assert json.loads(refusal.value.body) == {"code": "unknown_sku"}
    assert len(company.heads) == 1


async def test_nobody_listening_means_nothing_was_sent(outgoing: Outgoing) -> None:
    with pytest.raises(PartnerUnavailable, match="Connect"):
        await _order(outgoing, Partner(code="leaf", url="http://localhost:1"))


async def test_after_failures_in_a_row_the_partner_is_left_alone(
    outgoing: Outgoing, company: Company
) -> None:
    company.reply = whole(b"", status="503 Busy")
    for _ in range(5):
        with pytest.raises(PartnerUnavailable, match="503"):
            await _order(outgoing, company.partner)

    with pytest.raises(PartnerUnavailable, match="next try in"):
        await _order(outgoing, company.partner)

    assert outgoing.breaker(company.partner).state is BreakerState.OPEN
    assert len(company.heads) == 5


async def test_refusals_do_not_open_the_breaker(outgoing: Outgoing, company: Company) -> None:
    company.reply = whole(b"{}", status="422 No")
    for _ in range(8):
        with pytest.raises(PartnerRefused):
            await _order(outgoing, company.partner)

    assert outgoing.breaker(company.partner).state is BreakerState.CLOSED


async def test_a_bulkhead_bounds_the_calls_under_way(outgoing: Outgoing, company: Company) -> None:
    partner = replace(company.partner, at_once=3)

    answers = await asyncio.gather(*(_order(outgoing, partner) for _ in range(20)))

    assert answers == [{"status": "received"}] * 20
    assert company.most_at_once <= 3


async def test_calls_beyond_the_pace_are_refused_unsent(
    outgoing: Outgoing, company: Company
) -> None:
    slow = replace(company.partner, per_second=0.5)
    await _order(outgoing, slow)

    with pytest.raises(PartnerUnavailable, match="too many calls are waiting for leaf"):
        await _order(outgoing, slow)

    assert len(company.heads) == 1


async def test_only_allowed_hosts_and_public_addresses_are_called(company: Company) -> None:
    async with Outgoing(allowed_hosts=["localhost"]) as strict:
        with pytest.raises(HostRefused, match="only be called by https"):
            await _order(strict, company.partner)
        with pytest.raises(HostRefused, match="not a public address"):
            await _order(strict, replace(company.partner, url=f"https://localhost:{company.port}"))
    async with Outgoing(allowed_hosts=["other"], allow_private=True) as stranger:
        with pytest.raises(HostRefused, match="localhost is not an allowed host"):
            await _order(stranger, company.partner)

    assert company.heads == []


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost:many",
        "https://localhost:99999",
        "https://[::1",
        "https://local\nhost",
        "https://xn--\u2603.example",
        "https://",
        "localhost",
        "",
    ],
)
async def test_an_address_that_is_none_is_never_called(outgoing: Outgoing, url: str) -> None:
    partner = Partner(code="leaf", url=url, secret=None)

    with pytest.raises(HostRefused, match=r"leaf|not an allowed host"):
        await _order(outgoing, partner)


@pytest.mark.parametrize(
    ("name", "trusted"), [("localhost", True), ("localhost", False), ("other.example", True)]
)
async def test_a_certificate_must_be_trusted_and_name_the_host(
    tmp_path: Path, name: str, *, trusted: bool
) -> None:
    certificate_file, key_file = certificate(name, tmp_path)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate_file, key_file)
    ours = ssl.create_default_context(cafile=certificate_file) if trusted else None
    client = Outgoing(allowed_hosts=["localhost"], allow_private=True, limits=SHORT, verify=ours)

    async with listening(theirs) as company, client:
        partner = replace(company.partner, url=f"https://localhost:{company.port}")
        if trusted and name == "localhost":
            assert await _order(client, partner) == {"status": "received"}
        else:
            with pytest.raises(PartnerUnavailable, match="certificate verify failed"):
                await _order(client, partner)
            assert company.heads == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  # an address to refuse
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
async def test_only_public_addresses_pass(address: str, *, public: bool) -> None:
    check = checked_address(address, 443, allowed=[address], private=False)

    if public:
        assert await check == address
    else:
        with pytest.raises(HostRefused):
            await check
