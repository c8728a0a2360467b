"""The payment provider: WeChat Pay API v3 over HTTP, its notifies, and the user's phone."""

import time
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from sandbox.answers import Door, json_answer, parse
from sandbox.behaviours import PaymentBehaviour
from sandbox.clock import BusinessClock
from sandbox.config import ProviderConfig
from sandbox.delivery import Courier
from sandbox.misbehaviour import Chances
from sandbox.notifies import Notifier
from sandbox.refusal import Refusal
from sandbox.trades import Books, Prepay, Refund
from sandbox.wechat import Merchant, Platform
from sandbox.wechat_pages import combined_page, refund_page, trade_page
from sandbox.wire import Close, CombineClose, CombinePrepay, JsapiPrepay, PhonePayment, RefundOrder

_PARAM: Final[dict[str, Any]] = {"status": 400, "code": "PARAM_ERROR"}


class Provider:
    """One provider with one merchant."""

    def __init__(
        self,
        config: ProviderConfig,
        *,
        clock: BusinessClock,
        courier: Courier,
        chances: Chances,
        mark: str,
    ) -> None:
        self._config = config
        self._clock = clock
        self.chances = chances
        self.behaviour: PaymentBehaviour = config.behaviour
        self._books = Books(mark=mark)
        self._merchant = Merchant(
            merchant_id=config.merchant_id,
            serial=config.merchant_serial,
            public_key_pem=config.merchant_public_key,
        )
        self._platform = Platform(
            serial=config.platform_serial,
            private_key_pem=config.platform_private_key,
            apiv3_key=config.apiv3_key,
        )
        self._notifier = Notifier(
            config,
            clock=clock,
            courier=courier,
            chances=chances,
            platform=self._platform,
            counts=self._books.counts,
            behaviour=lambda: self.behaviour,
        )
        self._door = Door(
            clock=clock,
            chances=chances,
            counts=self._books.counts,
            faults=lambda: self.behaviour.answers,
            believe=self._believe,
            present=self._signed,
        )
        self.counts = self._books.counts

    # --- the merchant's calls ---------------------------------------------------------

    async def prepay(self, request: Request) -> Response:
        """POST /v3/pay/transactions/jsapi."""

        def handle(body: bytes) -> Response:
            terms = parse(body, JsapiPrepay, **_PARAM)
            self._check_merchant(terms.mchid, terms.appid)
            _check_notify_url(terms.notify_url)
            prepay = self._books.prepay(terms, now=self._clock.now)
            return json_answer({"prepay_id": prepay.prepay_id})

        return await self._door.answer(request, call="prepay", handle=handle)

    async def combine(self, request: Request) -> Response:
        """POST /v3/combine-transactions/jsapi."""

        def handle(body: bytes) -> Response:
            terms = parse(body, CombinePrepay, **_PARAM)
            self._check_merchant(terms.combine_mchid, terms.combine_appid)
            for order in terms.sub_orders:
                self._check_merchant(order.mchid, terms.combine_appid)
            _check_notify_url(terms.notify_url)
            prepay = self._books.combine(terms, now=self._clock.now)
            return json_answer({"prepay_id": prepay.prepay_id})

        return await self._door.answer(request, call="combine", handle=handle)

    async def query(self, request: Request) -> Response:
        """GET .../out-trade-no/{no}, of one order or of a combined payment."""
        combined = _combined(request)

        def handle(_: bytes) -> Response:
            if not combined and request.query_params.get("mchid") != self._config.merchant_id:
                raise Refusal(400, "PARAM_ERROR", "mchid is missing or not yours")
            prepay = self._books.find(request.path_params["number"], combined=combined)
            return json_answer(self._page(prepay))

        return await self._door.answer(request, call="query", handle=handle)

    async def close(self, request: Request) -> Response:
        """POST .../out-trade-no/{no}/close, of one order or of a combined payment."""
        combined = _combined(request)

        def handle(body: bytes) -> Response:
            prepay = self._books.find(request.path_params["number"], combined=combined)
            if combined:
                self._check_parts(prepay, parse(body, CombineClose, **_PARAM))
            else:
                terms = parse(body, Close, **_PARAM)
                self._check_merchant(terms.mchid, self._config.app_id)
            self._books.close(prepay)
            return Response(status_code=204)

        return await self._door.answer(request, call="close", handle=handle)

    async def refund(self, request: Request) -> Response:
        """POST /v3/refund/domestic/refunds."""

        def handle(body: bytes) -> Response:
            terms = parse(body, RefundOrder, **_PARAM)
            if terms.notify_url is not None:
                _check_notify_url(terms.notify_url)
            refund, new = self._books.refund(terms, now=self._clock.now)
            if new:
                delay = timedelta(seconds=self.behaviour.refund_seconds)
                self._clock.after(delay, lambda: self._settle(refund))
            return json_answer(refund_page(refund))

        return await self._door.answer(request, call="refund", handle=handle)

    async def refund_query(self, request: Request) -> Response:
        """GET /v3/refund/domestic/refunds/{out_refund_no}."""

        def handle(_: bytes) -> Response:
            refund = self._books.refunds.get(request.path_params["number"])
            if refund is None:
                raise Refusal(404, "RESOURCE_NOT_EXISTS", "no such refund")
            return json_answer(refund_page(refund))

        return await self._door.answer(request, call="refund_query", handle=handle)

    # --- the user's phone -------------------------------------------------------------

    def phone(self, prepay_id: str, payment: PhonePayment) -> dict[str, Any]:
        """Let a user pay, or be declined.

        Raises:
            Refusal: the provider does not let this user pay this.
        """
        prepay = self._books.prepays.get(prepay_id)
        if prepay is None:
            raise Refusal(404, "ORDER_NOT_EXIST", f"no payment {prepay_id}")
        declined = payment.outcome == "declined" or self.chances.strikes(
            "declined", self.behaviour.declined
        )
        if declined:
            self.counts["declined"] += 1
            return {"outcome": "declined", "transactions": []}
        self._books.pay(
            prepay,
            openid=payment.openid,
            at=payment.at or self._clock.now,
            late=payment.outcome == "late",
        )
        self._notifier.payment(prepay, self._page(prepay))
        self._clock.settle()
        return {
            "outcome": "paid",
            "transactions": [
                {"out_trade_no": trade.out_trade_no, "transaction_id": trade.transaction_id}
                for trade in prepay.trades
            ],
        }

    def _settle(self, refund: Refund) -> None:
        abnormal = self.chances.strikes("refund_abnormal", self.behaviour.refund_abnormal)
        self._books.settle(refund, abnormal=abnormal, now=self._clock.now)
        self._notifier.refund(refund)

    # --- trust ------------------------------------------------------------------------

    def _believe(self, request: Request, body: bytes) -> None:
        target = request.scope["raw_path"].decode("ascii")
        query = request.scope["query_string"].decode("ascii")
        self._merchant.check(
            request.headers.get("authorization", ""),
            method=request.method,
            target=f"{target}?{query}" if query else target,
            body=body,
            now_seconds=time.time(),
        )

    def _signed(self, answer: Response) -> Response:
        answer.headers.update(self._platform.sign(bytes(answer.body)))
        return answer

    def _check_merchant(self, merchant_id: str, app_id: str) -> None:
        if merchant_id != self._config.merchant_id or app_id != self._config.app_id:
            raise Refusal(400, "APPID_MCHID_NOT_MATCH", "appid and mchid are not one shop's")

    def _check_parts(self, prepay: Prepay, terms: CombineClose) -> None:
        for order in terms.sub_orders:
            self._check_merchant(order.mchid, terms.combine_appid)
        named = {order.out_trade_no for order in terms.sub_orders}
        if named != {trade.out_trade_no for trade in prepay.trades}:
            raise Refusal(400, "PARAM_ERROR", "sub_orders are not those of the payment")

    def _page(self, prepay: Prepay) -> dict[str, Any]:
        page = combined_page if prepay.combined else trade_page
        return page(
            prepay,
            merchant_id=self._config.merchant_id,
            app_id=self._config.app_id,
            now=self._clock.now,
        )


def _combined(request: Request) -> bool:
    return "/combine-transactions/" in request.scope["path"]


def _check_notify_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Refusal(400, "PARAM_ERROR", "notify_url is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise Refusal(400, "PARAM_ERROR", "notify_url is an absolute URL without a query")
