"""Bodies of WeChat Pay API v3: what we read of the provider's, and what we send.

Unknown fields are ignored, as the provider adds some every year.
Source: pay.weixin.qq.com, JSAPI and combined payment, refunds, notifies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from kit.errors import CaravanError
from payments.news import (
    CURRENCY,
    PaidLine,
    PaymentNews,
    RefundNews,
    RefundOutcome,
    Standing,
)

Message = TypeVar("Message")

# Our numbers are ids as 32 hex digits; anything else is not ours.
_Number = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
_Instant = Annotated[datetime, Meta(tz=True)]
_DESCRIPTION_CHARACTERS: Final = 40
_PAID: Final = frozenset({"SUCCESS", "REFUND"})  # REFUND: paid, and some of it went back since
_PAYABLE: Final = frozenset({"NOTPAY", "USERPAYING"})
_OUTCOMES: Final = {
    "SUCCESS": RefundOutcome.SUCCEEDED,
    "PROCESSING": RefundOutcome.PROCESSING,
    "ABNORMAL": RefundOutcome.ABNORMAL,
    "CLOSED": RefundOutcome.ABNORMAL,
}


class NotUnderstood(CaravanError):
    """The provider said it, but it is not a message of this protocol about something of ours."""

    code: ClassVar[str] = "not_understood"


class _Amount(Struct, frozen=True):
    total: int
    currency: str = CURRENCY


class _Trade(Struct, frozen=True):
    appid: str
    mchid: str
    out_trade_no: _Number
    trade_state: str
    transaction_id: str | None = None
    success_time: _Instant | None = None
    amount: _Amount | None = None


class _SubAmount(Struct, frozen=True):
    total_amount: int
    currency: str = CURRENCY


class _SubTrade(Struct, frozen=True):
    mchid: str
    out_trade_no: _Number
    trade_state: str
    transaction_id: str | None = None
    success_time: _Instant | None = None
    amount: _SubAmount | None = None


class _CombinedTrade(Struct, frozen=True):
    combine_appid: str
    combine_mchid: str
    combine_out_trade_no: _Number
    sub_orders: tuple[_SubTrade, ...]


class _RefundAmount(Struct, frozen=True):
    refund: int


class _RefundAnswer(Struct, frozen=True):
    refund_id: str
    out_refund_no: _Number
    status: str
    amount: _RefundAmount
    success_time: _Instant | None = None


class _RefundNotice(Struct, frozen=True):
    mchid: str
    refund_id: str
    out_refund_no: _Number
    refund_status: str
    amount: _RefundAmount
    success_time: _Instant | None = None


class _Prepaid(Struct, frozen=True):
    prepay_id: str


class _Complaint(Struct, frozen=True):
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepayLine:
    """One order of a payment to be made."""

    line_id: UUID
    amount_fen: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepayTerms:
    """A payment to be made; repeated with the same id it is the same payment."""

    payment_id: UUID
    openid: str
    expires_at: datetime  # business time
    lines: Sequence[PrepayLine]

    @property
    def combined(self) -> bool:
        return len(self.lines) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundTerms:
    """Money to be sent back; repeated with the same id it is the same refund."""

    refund_id: UUID
    transaction_id: str
    refund_fen: int
    total_fen: int
    reason: str


def prepay_body(
    terms: PrepayTerms, *, merchant_id: str, app_id: str, notify_url: str
) -> dict[str, Any]:
    """Return the body of a prepay: JSAPI for one order, combined for 2 to 10."""
    expires = terms.expires_at.astimezone(UTC).isoformat(timespec="seconds")
    if not terms.combined:
        (line,) = terms.lines
        return {
            "appid": app_id,
            "mchid": merchant_id,
            "description": line.description[:_DESCRIPTION_CHARACTERS],
            "out_trade_no": line.line_id.hex,
            "time_expire": expires,
            "notify_url": notify_url,
            "amount": {"total": line.amount_fen, "currency": CURRENCY},
            "payer": {"openid": terms.openid},
        }
    return {
        "combine_appid": app_id,
        "combine_mchid": merchant_id,
        "combine_out_trade_no": terms.payment_id.hex,
        "combine_payer_info": {"openid": terms.openid},
        "time_expire": expires,
        "notify_url": notify_url,
        "sub_orders": [
            {
                "mchid": merchant_id,
                "attach": "caravan",
                "amount": {"total_amount": line.amount_fen, "currency": CURRENCY},
                "out_trade_no": line.line_id.hex,
                "description": line.description[:_DESCRIPTION_CHARACTERS],
            }
            for line in terms.lines
        ],
    }


def refund_body(terms: RefundTerms, *, notify_url: str) -> dict[str, Any]:
    """Return the body of a refund; the same for every repetition."""
    return {
        "transaction_id": terms.transaction_id,
        "out_refund_no": terms.refund_id.hex,
        "reason": terms.reason[:_DESCRIPTION_CHARACTERS],
        "notify_url": notify_url,
        "amount": {
            "refund": terms.refund_fen,
            "total": terms.total_fen,
            "currency": CURRENCY,
        },
    }


def read_prepay_id(body: bytes) -> str:
    """Return the prepay id of an answer."""
    return read(body, _Prepaid).prepay_id


def read_complaint(body: bytes) -> tuple[str, str]:
    """Return (code, message) of a refusal; empty when it says neither."""
    try:
        complaint = msgspec.json.decode(body, type=_Complaint)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ""
    return complaint.code, complaint.message


def read_payment(body: bytes) -> Standing:
    """Return where a payment stands; one order and several look different."""
    shape = read(body, dict[str, Any])
    if "combine_out_trade_no" in shape:
        combined = read(body, _CombinedTrade)
        foreign = {sub.mchid for sub in combined.sub_orders} - {combined.combine_mchid}
        return _standing(
            # A part for another merchant makes the whole message another merchant's.
            merchant_id=foreign.pop() if foreign else combined.combine_mchid,
            app_id=combined.combine_appid,
            states=[sub.trade_state for sub in combined.sub_orders],
            lines=[
                _paid_line(
                    sub.out_trade_no,
                    sub.transaction_id,
                    sub.success_time,
                    amount=_Amount(sub.amount.total_amount, sub.amount.currency)
                    if sub.amount is not None
                    else None,
                )
                for sub in combined.sub_orders
                if sub.trade_state in _PAID
            ],
        )
    trade = read(body, _Trade)
    paid = trade.trade_state in _PAID
    return _standing(
        merchant_id=trade.mchid,
        app_id=trade.appid,
        states=[trade.trade_state],
        lines=[
            _paid_line(
                trade.out_trade_no,
                trade.transaction_id,
                trade.success_time,
                amount=trade.amount,
            )
        ]
        if paid
        else [],
    )


def read_refund(body: bytes) -> RefundNews:
    """Return where a refund stands, from the answer to its call or its query."""
    answer = read(body, _RefundAnswer)
    return RefundNews(
        refund_id=UUID(hex=answer.out_refund_no),
        outcome=_outcome(answer.status),
        provider_refund_id=answer.refund_id,
        refund_fen=answer.amount.refund,
        settled_at=answer.success_time,
        note=answer.status,
    )


def read_refund_notice(body: bytes) -> RefundNews:
    """Return where a refund stands, from the inside of a notify."""
    notice = read(body, _RefundNotice)
    return RefundNews(
        refund_id=UUID(hex=notice.out_refund_no),
        outcome=_outcome(notice.refund_status),
        provider_refund_id=notice.refund_id,
        refund_fen=notice.amount.refund,
        settled_at=notice.success_time,
        merchant_id=notice.mchid,
        note=notice.refund_status,
    )


def read(body: bytes, kind: type[Message]) -> Message:
    """Return the body as `kind`, or raise `NotUnderstood`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotUnderstood(str(error)) from error


def _standing(
    *, merchant_id: str, app_id: str, states: Sequence[str], lines: Sequence[PaidLine]
) -> Standing:
    news = PaymentNews(merchant_id=merchant_id, app_id=app_id, lines=tuple(lines))
    return Standing(
        paid=news if lines else None, payable=any(state in _PAYABLE for state in states)
    )


def _paid_line(
    number: str,
    transaction_id: str | None,
    paid_at: datetime | None,
    *,
    amount: _Amount | None,
) -> PaidLine:
    if transaction_id is None or paid_at is None or amount is None:
        raise NotUnderstood("paid, without a transaction, a time or an amount")
    return PaidLine(
        line_id=UUID(hex=number),
        transaction_id=transaction_id,
        amount_fen=amount.total,
        currency=amount.currency,
        paid_at=paid_at.astimezone(UTC),
    )


def _outcome(status: str) -> RefundOutcome:
    try:
        return _OUTCOMES[status]
    except KeyError:
        raise NotUnderstood(f"unknown refund status {status!r}") from None
