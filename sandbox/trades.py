"""The provider's books: what may be paid, what was paid, and what went back."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sandbox.refusal import Refusal
from sandbox.wire import CombinePrepay, JsapiPrepay, RefundOrder


class TradeState(StrEnum):
    """As WeChat Pay names them."""

    NOTPAY = "NOTPAY"
    SUCCESS = "SUCCESS"
    CLOSED = "CLOSED"
    REFUND = "REFUND"


class RefundState(StrEnum):
    """As WeChat Pay names them."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    ABNORMAL = "ABNORMAL"


@dataclass(slots=True, kw_only=True)
class Trade:
    """One order of the merchant."""

    out_trade_no: str
    total_fen: int
    attach: str
    payer_openid: str
    notify_url: str
    expires_at: datetime | None
    state: TradeState = TradeState.NOTPAY
    transaction_id: str | None = None
    paid_at: datetime | None = None
    refunding_fen: int = 0  # asked back, whatever became of it


@dataclass(slots=True, kw_only=True)
class Prepay:
    """A page where a user can pay one order, or several at once."""

    prepay_id: str
    number: str  # out_trade_no, or combine_out_trade_no
    combined: bool
    openid: str
    notify_url: str
    trades: tuple[Trade, ...]
    terms: JsapiPrepay | CombinePrepay  # a repetition must say the same


@dataclass(slots=True, kw_only=True)
class Refund:
    """Money on its way back."""

    refund_id: str
    trade: Trade
    terms: RefundOrder
    created_at: datetime
    state: RefundState = RefundState.PROCESSING
    settled_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Books:
    """Everything the provider knows. Rules only: no network, `now` is an argument.

    Args:
        mark: makes numbers of different runs different.
    """

    mark: str
    prepays: dict[str, Prepay] = field(default_factory=dict)  # by prepay_id
    singles: dict[str, Prepay] = field(default_factory=dict)  # by out_trade_no
    combines: dict[str, Prepay] = field(default_factory=dict)  # by combine_out_trade_no
    trades: dict[str, Trade] = field(default_factory=dict)  # by out_trade_no
    paid: dict[str, Trade] = field(default_factory=dict)  # by transaction_id
    refunds: dict[str, Refund] = field(default_factory=dict)  # by out_refund_no
    counts: Counter[str] = field(default_factory=Counter)

    def prepay(self, terms: JsapiPrepay, *, now: datetime) -> Prepay:
        """Open one order for payment; the same terms again open nothing new."""
        known = self.singles.get(terms.out_trade_no)
        if known is None and terms.out_trade_no in self.trades:
            raise _used(terms.out_trade_no)
        if known is not None:
            return _repeated(known, terms=terms, now=now)
        _check_expiry(terms.time_expire, now=now)
        trade = Trade(
            out_trade_no=terms.out_trade_no,
            total_fen=terms.amount.total,
            attach=terms.attach,
            payer_openid=terms.payer.openid,
            notify_url=terms.notify_url,
            expires_at=terms.time_expire,
        )
        return self._open(terms, number=terms.out_trade_no, trades=(trade,))

    def combine(self, terms: CombinePrepay, *, now: datetime) -> Prepay:
        """Open several orders for one payment."""
        known = self.combines.get(terms.combine_out_trade_no)
        if known is not None:
            return _repeated(known, terms=terms, now=now)
        _check_expiry(terms.time_expire, now=now)
        numbers = [order.out_trade_no for order in terms.sub_orders]
        if len(set(numbers)) < len(numbers):
            raise Refusal(400, "PARAM_ERROR", "an out_trade_no stands there twice")
        for number in numbers:
            if number in self.trades:
                raise _used(number)
        trades = tuple(
            Trade(
                out_trade_no=order.out_trade_no,
                total_fen=order.amount.total_amount,
                attach=order.attach,
                payer_openid=terms.combine_payer_info.openid,
                notify_url=terms.notify_url,
                expires_at=terms.time_expire,
            )
            for order in terms.sub_orders
        )
        return self._open(terms, number=terms.combine_out_trade_no, trades=trades)

    def find(self, number: str, *, combined: bool) -> Prepay:
        """Return the payment of that number, or say that there is none."""
        found = (self.combines if combined else self.singles).get(number)
        if found is None:
            raise Refusal(404, "ORDER_NOT_EXIST", f"no order {number}")
        return found

    def pay(self, prepay: Prepay, *, openid: str, at: datetime, late: bool) -> None:
        """Take the user's money for every order of the page.

        Args:
            at: business time of the payment.
            late: confirmed in time, but the bank clears after `time_expire`.
        """
        if openid != prepay.openid:
            raise Refusal(403, "OPENID_MISMATCH", "another user opened this payment")
        for trade in prepay.trades:
            if trade.state in {TradeState.SUCCESS, TradeState.REFUND}:
                raise Refusal(409, "ORDERPAID", "paid already")
            if trade.state is TradeState.CLOSED:
                raise Refusal(409, "ORDER_CLOSED", "the merchant closed it")
            if not late and expired(trade, now=at):
                raise Refusal(409, "ORDER_CLOSED", "its time has passed")
        for trade in prepay.trades:
            self.counts["paid"] += 1
            self.counts["captured_fen"] += trade.total_fen
            trade.transaction_id = f"4200{self.mark}{at:%Y%m%d}{self.counts['paid']:010d}"
            trade.state, trade.paid_at = TradeState.SUCCESS, at
            self.paid[trade.transaction_id] = trade

    def close(self, prepay: Prepay) -> None:
        """Let nobody pay this any more; closing twice is closing once."""
        if any(trade.paid_at is not None for trade in prepay.trades):
            raise Refusal(400, "ORDERPAID", "paid already, refund it instead")
        for trade in prepay.trades:
            if trade.state is TradeState.NOTPAY:
                self.counts["closed"] += 1
            trade.state = TradeState.CLOSED

    def refund(self, terms: RefundOrder, *, now: datetime) -> tuple[Refund, bool]:
        """Take a refund; tell whether it is new."""
        known = self.refunds.get(terms.out_refund_no)
        if known is not None:
            if known.terms != terms:
                raise Refusal(400, "INVALID_REQUEST", "out_refund_no was used otherwise")
            return known, False
        trade = self._refundable(terms)
        if terms.amount.currency != "CNY" or terms.amount.total != trade.total_fen:
            raise Refusal(400, "PARAM_ERROR", "total is not the order's")
        if trade.refunding_fen + terms.amount.refund > trade.total_fen:
            raise Refusal(400, "INVALID_REQUEST", "more would go back than was paid")
        trade.refunding_fen += terms.amount.refund
        trade.state = TradeState.REFUND
        self.counts["refunds"] += 1
        refund = Refund(
            refund_id=f"5030{self.mark}{now:%Y%m%d}{self.counts['refunds']:010d}",
            trade=trade,
            terms=terms,
            created_at=now,
        )
        self.refunds[terms.out_refund_no] = refund
        return refund, True

    def settle(self, refund: Refund, *, abnormal: bool, now: datetime) -> None:
        """Let a refund reach the user, or not."""
        refund.settled_at = now
        if abnormal:
            refund.state = RefundState.ABNORMAL
            self.counts["refunds_abnormal"] += 1
            return
        refund.state = RefundState.SUCCESS
        self.counts["refunds_settled"] += 1
        self.counts["refunded_fen"] += refund.terms.amount.refund

    def _open(
        self, terms: JsapiPrepay | CombinePrepay, *, number: str, trades: tuple[Trade, ...]
    ) -> Prepay:
        if any(currency != "CNY" for currency in _currencies(terms)):
            raise Refusal(400, "PARAM_ERROR", "the currency is CNY")
        combined = isinstance(terms, CombinePrepay)
        self.counts["prepays"] += 1
        prepay = Prepay(
            prepay_id=f"wx{self.mark}{self.counts['prepays']:024d}",
            number=number,
            combined=combined,
            openid=trades[0].payer_openid,
            notify_url=terms.notify_url,
            trades=trades,
            terms=terms,
        )
        self.prepays[prepay.prepay_id] = prepay
        (self.combines if combined else self.singles)[number] = prepay
        self.trades.update((trade.out_trade_no, trade) for trade in trades)
        return prepay

    def _refundable(self, terms: RefundOrder) -> Trade:
        if (terms.transaction_id is None) == (terms.out_trade_no is None):
            raise Refusal(400, "PARAM_ERROR", "name transaction_id or out_trade_no")
        found = (
            self.paid.get(terms.transaction_id)
            if terms.transaction_id is not None
            else self.trades.get(terms.out_trade_no or "")
        )
        if found is None:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "no such order")
        if found.paid_at is None:
            raise Refusal(403, "TRADE_ERROR", "it was not paid")
        return found


def expired(trade: Trade, *, now: datetime) -> bool:
    """Tell whether the time to pay has passed."""
    return trade.expires_at is not None and now >= trade.expires_at


def state_at(trade: Trade, *, now: datetime) -> TradeState:
    """Return the state a query shows; an unpaid order past its time is closed."""
    if trade.state is TradeState.NOTPAY and expired(trade, now=now):
        return TradeState.CLOSED
    return trade.state


def _currencies(terms: JsapiPrepay | CombinePrepay) -> list[str]:
    if isinstance(terms, JsapiPrepay):
        return [terms.amount.currency]
    return [order.amount.currency for order in terms.sub_orders]


def _check_expiry(expires_at: datetime | None, *, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise Refusal(400, "PARAM_ERROR", "time_expire has passed")


def _repeated(known: Prepay, *, terms: JsapiPrepay | CombinePrepay, now: datetime) -> Prepay:
    if any(trade.paid_at is not None for trade in known.trades):
        raise Refusal(400, "ORDERPAID", "paid already")
    if any(state_at(trade, now=now) is TradeState.CLOSED for trade in known.trades):
        raise Refusal(400, "ORDER_CLOSED", "closed, take another number")
    if known.terms != terms:
        raise _used(known.number)
    return known


def _used(number: str) -> Refusal:
    return Refusal(403, "OUT_TRADE_NO_USED", f"{number} was used with other terms")
