"""A small shop for tests of the sandbox: it signs calls, believes webhooks and remembers them."""

import asyncio
import base64
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.config import SandboxConfig
from sandbox.keys import SandboxKeys, generate_keys
from sandbox.serve import running, serving

MORNING = datetime(2011, 12, 5, 9, 0, tzinfo=UTC)
COMPANIES = ("suppliers/jade", "suppliers/reed", "warehouses/east", "carriers/swift")


@cache
def keys() -> SandboxKeys:
    """Make one set of keys for all tests; making RSA keys takes a while."""
    return generate_keys(COMPANIES)


@dataclass(frozen=True, slots=True)
class Heard:
    """A webhook the shop believed."""

    sender: str  # such as suppliers/jade
    event_id: str
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class Shop:
    """What the shop heard, and how it answers what comes next."""

    heard: list[Heard] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)  # every status given, in order
    fail_next: list[int] = field(default_factory=list)  # statuses for the next webhooks
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, true: Callable[["Shop"], bool]) -> None:
        """Wait until something is true of what was heard."""
        async with asyncio.timeout(15), self.changed:
            await self.changed.wait_for(lambda: true(self))

    async def count(self, number: int) -> list[Heard]:
        """Wait for so many webhooks and return them."""
        await self.until(lambda shop: len(shop.heard) >= number)
        return self.heard

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of all webhooks of a kind."""
        return [heard.data for heard in self.heard if heard.kind == kind]

    def kinds(self) -> list[str]:
        """Return the kinds in the order they were heard."""
        return [heard.kind for heard in self.heard]

    async def take(self, request: Request) -> Response:
        """POST /v1/webhooks/{kind}/{code}."""
        body = await request.body()
        sender = f"{request.path_params['kind']}/{request.path_params['code']}"
        status = 413 if len(body) > 64 * 1024 else self._judge(sender, request, body)
        async with self.changed:
            self.answered.append(status)
            self.changed.notify_all()
        return Response(status_code=status)

    def _judge(self, sender: str, request: Request, body: bytes) -> int:
        if self.fail_next:
            return self.fail_next.pop(0)
        if sender == "payments/sandbox":
            heard = open_notify(request, body)
        else:
            try:
                document = Webhook(keys().secrets[sender]).verify(body, dict(request.headers))
            except WebhookVerificationError:
                return 401
            event_id = request.headers["webhook-id"]
            heard = Heard(sender, event_id, document["type"], document["data"])
        self.heard.append(heard)
        return 202


def open_notify(request: Request, body: bytes) -> Heard:
    """Verify and decrypt a notify of the provider; a wrong signature raises."""
    check_platform_signature(request.headers, body)
    document = msgspec.json.decode(body)
    resource = document["resource"]
    assert document["resource_type"] == "encrypt-resource"
    assert resource["algorithm"] == "AEAD_AES_256_GCM"
    inside = AESGCM(keys().apiv3_key.encode()).decrypt(
        resource["nonce"].encode(),
        base64.b64decode(resource["ciphertext"]),
        resource["associated_data"].encode(),
    )
    return Heard(
        "payments/sandbox", document["id"], document["event_type"], msgspec.json.decode(inside)
    )


def check_platform_signature(headers: Any, body: bytes) -> None:
    """Verify an answer or notify of the provider; raises InvalidSignature."""
    assert headers["wechatpay-serial"] == keys().platform_serial
    key = load_pem_public_key(keys().platform_public_key.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    timestamp, nonce = headers["wechatpay-timestamp"], headers["wechatpay-nonce"]
    key.verify(
        base64.b64decode(headers["wechatpay-signature"]),
        f"{timestamp}\n{nonce}\n".encode() + body + b"\n",
        padding.PKCS1v15(),
        SHA256(),
    )


@cache
def _merchant_key() -> rsa.RSAPrivateKey:
    key = load_pem_private_key(keys().merchant_private_key.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def merchant_headers(method: str, target: str, body: bytes) -> dict[str, str]:
    """Sign a call to the provider as WeChat Pay asks it of merchants."""
    timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
    message = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
    signature = base64.b64encode(
        _merchant_key().sign(message, padding.PKCS1v15(), SHA256())
    ).decode()
    return {
        "Content-Type": "application/json",
        "Authorization": f'WECHATPAY2-SHA256-RSA2048 mchid="{keys().merchant_id}",'
        f'nonce_str="{nonce}",signature="{signature}",timestamp="{timestamp}",'
        f'serial_no="{keys().merchant_serial}"',
    }


@dataclass(frozen=True, slots=True)
class Partners:
    """The sandbox companies as the shop reaches them."""

    client: httpx.AsyncClient
    shop: Shop
    shop_url: str

    async def pay(self, method: str, target: str, content: Any = None) -> httpx.Response:
        """Call the provider with the merchant's signature."""
        body = b"" if content is None else msgspec.json.encode(content)
        target = f"/pay{target}"
        return await self.client.request(
            method, target, content=body, headers=merchant_headers(method, target, body)
        )

    async def call(
        self, company: str, method: str, path: str, content: Any = None, **headers: str
    ) -> httpx.Response:
        """Call a company with its signature, such as `call("carriers/swift", "POST", "/rates")`."""
        body = b"" if content is None else msgspec.json.encode(content)
        call_id, now = f"msg_{secrets.token_hex(8)}", datetime.now(UTC)
        signed = {
            "content-type": "application/json",
            "webhook-id": call_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(keys().secrets[company]).sign(call_id, now, body.decode()),
        }
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(
            method, f"/{company}{path}", content=body, headers=signed | more
        )

    async def sandbox(self, method: str, path: str, content: Any = None) -> Any:
        """Call one of the sandbox's own routes and return its answer."""
        body = None if content is None else msgspec.json.encode(content)
        answer = await self.client.request(method, f"/sandbox{path}", content=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def move(self, to: datetime) -> Any:
        """Move the companies' business clock."""
        return await self.sandbox("POST", "/clock", {"to": to.isoformat()})

    async def run_dry(self) -> None:
        """Move on until nothing is due any more and everything was delivered."""
        time_now = await self.sandbox("GET", "/clock")
        while time_now["next_due_at"] is not None:
            time_now = await self.sandbox("POST", "/clock", {"to": time_now["next_due_at"]})
        await self.settled()

    async def settled(self) -> None:
        """Wait until every webhook was answered 2xx or given up."""
        async with asyncio.timeout(15):
            while (await self.sandbox("GET", "/clock"))["backlog"]:
                async with self.shop.changed:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.shop.changed.wait(), timeout=0.05)


@contextlib.asynccontextmanager
async def partners(document: dict[str, Any]) -> AsyncIterator[Partners]:
    """Run the companies of a configuration, and a shop that listens to them."""
    shop = Shop()
    route = Route("/v1/webhooks/{kind}/{code}", shop.take, methods=["POST"])
    async with serving(Starlette(routes=[route])) as shop_url:
        config = SandboxConfig.model_validate(
            {
                "caravan_url": shop_url,
                "start": MORNING,
                "delivery": {"first_pause_seconds": 0.01, "longest_pause_seconds": 0.05},
                **document,
            }
        )
        async with (
            running(config) as url,
            httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False) as client,
        ):
            yield Partners(client, shop, shop_url)
