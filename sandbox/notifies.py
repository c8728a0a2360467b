"""Notifies of the payment provider: signed, sealed, and repeated as WeChat Pay repeats them."""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from sandbox.behaviours import PaymentBehaviour
from sandbox.clock import BusinessClock
from sandbox.config import ProviderConfig
from sandbox.delivery import Courier, Letter
from sandbox.misbehaviour import Chances
from sandbox.trades import Prepay, Refund, RefundState
from sandbox.wechat import NOTIFY_PAUSES_SECONDS, Platform, china_time
from sandbox.wechat_pages import one_fen_less, refund_notice

_TENFOLD: Final = 10


class Notifier:
    """The provider's post."""

    def __init__(
        self,
        config: ProviderConfig,
        *,
        clock: BusinessClock,
        courier: Courier,
        chances: Chances,
        platform: Platform,
        counts: Counter[str],
        behaviour: Callable[[], PaymentBehaviour],
    ) -> None:
        self._config = config
        self._clock = clock
        self._courier = courier
        self._chances = chances
        self._platform = platform
        self._counts = counts
        self._behaviour = behaviour
        self._pauses_seconds = tuple(pause * config.retry_scale for pause in NOTIFY_PAUSES_SECONDS)

    def payment(self, prepay: Prepay, page: Mapping[str, Any]) -> None:
        """Tell the shop that a user paid, as badly as the behaviour says.

        Args:
            page: what the notify says inside.
        """
        strikes, behaviour = self._chances.strikes, self._behaviour()
        if strikes("notify_never", behaviour.notify_never):
            self._counts["notifies_kept_back"] += 1
            return
        if strikes("wrong_amount", behaviour.wrong_amount):
            self._payment(prepay, one_fen_less(page), once=True)
        if strikes("wrong_merchant", behaviour.wrong_merchant):
            key = "combine_mchid" if prepay.combined else "mchid"
            self._payment(prepay, {**page, key: "1900000000"}, once=True)
        late = behaviour.notify_late
        if strikes("notify_late", late):
            delay = timedelta(seconds=late.seconds)
            self._clock.after(delay, lambda: self._payment(prepay, page))
            return
        copies = 1
        if strikes("notify_twice", behaviour.notify_twice):
            copies = 2
        if strikes("notify_tenfold", behaviour.notify_tenfold):
            copies = _TENFOLD
        self._payment(prepay, page, copies=copies)

    def refund(self, refund: Refund) -> None:
        """Tell the shop what became of a refund, if it asked to be told."""
        if refund.terms.notify_url is None:
            return
        notice = refund_notice(refund, merchant_id=self._config.merchant_id)
        self._notify(
            f"REFUND.{refund.state}",
            refund.terms.notify_url,
            resource=self._platform.seal(notice, kind="refund", about="refund"),
            summary="退款成功" if refund.state is RefundState.SUCCESS else "退款异常",
            pauses_seconds=self._pauses_seconds,
        )

    def _payment(
        self,
        prepay: Prepay,
        page: Mapping[str, Any],
        *,
        once: bool = False,
        copies: int = 1,
    ) -> None:
        self._notify(
            "TRANSACTION.SUCCESS",
            prepay.notify_url,
            resource=self._platform.seal(page, kind="transaction", about="transaction"),
            summary="支付成功",
            pauses_seconds=() if once else self._pauses_seconds,
            copies=copies,
            # Two copies of one lane come one after the other; ten without a lane come at once.
            lane=None if copies == _TENFOLD else prepay.prepay_id,
        )

    def _notify(
        self,
        event_type: str,
        url: str,
        *,
        resource: Mapping[str, str],
        summary: str,
        pauses_seconds: tuple[float, ...],
        copies: int = 1,
        lane: str | None = None,
    ) -> None:
        content = msgspec.json.encode(
            {
                "id": str(uuid.uuid4()),
                "create_time": china_time(self._clock.now),
                "event_type": event_type,
                "resource_type": "encrypt-resource",
                "summary": summary,
                "resource": resource,
            }
        )

        def headers() -> Mapping[str, str]:
            return {"content-type": "application/json", **self._platform.sign(content)}

        self._counts["notifies"] += copies
        for _ in range(copies):
            self._courier.post(
                Letter(
                    url=url,
                    content=content,
                    headers=headers,
                    lane=lane,
                    pauses_seconds=pauses_seconds,
                )
            )
