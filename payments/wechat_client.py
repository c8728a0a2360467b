"""The client of WeChat Pay API v3; every call is keyed by our number, so repeating it is safe."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from uuid import UUID

import httpx
import msgspec

from kit.breaker import Breaker, BreakerOpen
from kit.errors import Conflict, Unavailable
from payments.keys import PayKeys
from payments.news import Notify, RefundNews, Standing
from payments.wechat import Envelope, NotBelieved, Seal
from payments.wechat_messages import (
    NotUnderstood,
    PrepayTerms,
    RefundTerms,
    prepay_body,
    read_complaint,
    read_payment,
    read_prepay_id,
    read_refund,
    read_refund_notice,
    refund_body,
)

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 10.0
TOTAL_SECONDS: Final = 15.0
CONNECTIONS: Final = 32
BODY_BYTES: Final = 256 * 1024
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_REDIRECT: Final = 300
_NOT_FOUND: Final = 404
_PAID_CODES: Final = frozenset({"ORDERPAID", "ORDER_PAID"})
_SUCCESS: Final = "TRANSACTION.SUCCESS"


class ProviderDown(Unavailable):
    """The provider does not answer, or not in a way that can be believed."""

    code: ClassVar[str] = "payment_provider_down"


class ProviderBusy(Unavailable):
    """The provider asks for a slower pace; nothing was done."""

    code: ClassVar[str] = "payment_provider_busy"


class ProviderRefused(Conflict):
    """The provider understood and refuses."""

    code: ClassVar[str] = "payment_refused"

    def __init__(self, *, status: int, reason: str, message: str) -> None:
        super().__init__(f"the payment provider refuses: {reason or status} {message}".rstrip())
        self.status, self.reason = status, reason


class WechatPay:
    """One merchant's connection; use it as long as the process lives, then `close` it.

    Args:
        url: where `/v3/...` begins.
        notify_url: where the provider shall tell us.
    """

    def __init__(self, keys: PayKeys, *, url: str, notify_url: str) -> None:
        self._seal = Seal(keys)
        self._notify_url = notify_url
        self._base = httpx.URL(url.rstrip("/"))
        self._breaker = Breaker("the payment provider", monotonic=time.monotonic)
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=READ_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    @property
    def merchant_id(self) -> str:
        return self._seal.merchant_id

    @property
    def app_id(self) -> str:
        return self._seal.app_id

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # --- calls ------------------------------------------------------------------------

    async def prepay(self, terms: PrepayTerms) -> str:
        """Return the prepay id of a payment; the same for every repetition."""
        path = "/v3/combine-transactions/jsapi" if terms.combined else "/v3/pay/transactions/jsapi"
        body = prepay_body(
            terms,
            merchant_id=self.merchant_id,
            app_id=self.app_id,
            notify_url=self._notify_url,
        )
        return read_prepay_id(await self._call("POST", path, body))

    async def query(self, payment_id: UUID, line_id: UUID, *, combined: bool) -> Standing | None:
        """Return where a payment stands, or None when the provider never heard of it."""
        if combined:
            path = f"/v3/combine-transactions/out-trade-no/{payment_id.hex}"
        else:
            path = f"/v3/pay/transactions/out-trade-no/{line_id.hex}?mchid={self.merchant_id}"
        try:
            return read_payment(await self._call("GET", path))
        except ProviderRefused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise

    async def shut(self, payment_id: UUID, line_ids: list[UUID], *, combined: bool) -> bool:
        """Let nobody pay this any more; return False when it is paid already."""
        if combined:
            path = f"/v3/combine-transactions/out-trade-no/{payment_id.hex}/close"
            parts = [
                {"mchid": self.merchant_id, "out_trade_no": line_id.hex} for line_id in line_ids
            ]
            body: dict[str, Any] = {"combine_appid": self.app_id, "sub_orders": parts}
        else:
            path = f"/v3/pay/transactions/out-trade-no/{line_ids[0].hex}/close"
            body = {"mchid": self.merchant_id}
        try:
            await self._call("POST", path, body)
        except ProviderRefused as refused:
            if refused.reason in _PAID_CODES:
                return False
            if refused.status != _NOT_FOUND:
                raise
        return True

    async def refund(self, terms: RefundTerms) -> RefundNews:
        """Send money back; accepted is not refunded."""
        body = refund_body(terms, notify_url=self._notify_url)
        return read_refund(await self._call("POST", "/v3/refund/domestic/refunds", body))

    async def query_refund(self, refund_id: UUID) -> RefundNews:
        """Return where a refund stands."""
        return read_refund(await self._call("GET", f"/v3/refund/domestic/refunds/{refund_id.hex}"))

    # --- what comes in ----------------------------------------------------------------

    def pay_params(self, prepay_id: str) -> dict[str, str]:
        """Return what the mini-program hands to `wx.requestPayment`."""
        return self._seal.pay_params(prepay_id, now_seconds=int(time.time()))

    def hear(self, headers: Mapping[str, str], body: bytes) -> Notify:
        """Return a notify that is proven to be the provider's, said now.

        Args:
            headers: names in lower case.
            body: the raw bytes.

        Raises:
            NotBelieved: signature, serial, age or encryption is wrong.
            NotUnderstood: it is the provider's, but not a message we know.
        """
        self._seal.check(headers, body, now_seconds=time.time())
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotBelieved("not a notify") from error
        content = self._seal.open(envelope.resource)
        if envelope.event_type == _SUCCESS:
            paid = read_payment(content).paid
            if paid is None:
                raise NotUnderstood("a notify of success about something not paid")
            return Notify(external_id=envelope.id, kind=envelope.event_type, news=paid)
        if envelope.event_type.startswith("REFUND."):
            news = read_refund_notice(content)
            return Notify(external_id=envelope.id, kind=envelope.event_type, news=news)
        raise NotUnderstood(f"unknown event {envelope.event_type!r}")

    # --- one exchange -----------------------------------------------------------------

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        content = b"" if body is None else msgspec.json.encode(body)
        try:
            return await self._breaker.call(
                lambda: self._exchange(method, path, content), counts=(ProviderDown,)
            )
        except BreakerOpen as rest:
            raise ProviderDown(str(rest)) from rest

    async def _exchange(self, method: str, path: str, content: bytes) -> bytes:
        url = httpx.URL(f"{self._base}{path}")
        headers = {
            "Authorization": self._seal.authorization(
                method=method,
                target=url.raw_path.decode("ascii"),
                body=content,
                now_seconds=int(time.time()),
            ),
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                status, answered, body = await self._send(method, url, headers, content)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ProviderDown(f"{method} {path}: {type(error).__name__} {error}") from error
        if status >= _SERVER_ERROR:
            raise ProviderDown(f"{method} {path} was answered {status}")
        if status == _TOO_MANY:
            raise ProviderBusy(f"{method} {path} was answered {status}")
        try:
            self._seal.check(answered, body, now_seconds=time.time())
        except NotBelieved as doubt:
            raise ProviderDown(f"{method} {path}: the answer is not believed: {doubt}") from doubt
        if status >= _REDIRECT:
            reason, message = read_complaint(body)
            raise ProviderRefused(status=status, reason=reason, message=message)
        return body

    async def _send(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        request = self._client.build_request(method, url, headers=dict(headers), content=content)
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # A kept connection was closed under us; the number makes one repetition harmless.
            response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > BODY_BYTES:
                    raise ProviderDown(f"the answer is longer than {BODY_BYTES} bytes")
        finally:
            await response.aclose()
        answered = {name.lower(): value for name, value in response.headers.items()}
        return response.status_code, answered, bytes(body)
