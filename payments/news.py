"""What a payment provider tells us, in our words; every provider's client answers with these."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

CURRENCY = "CNY"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidLine:
    """Money that came for one payment line."""

    line_id: UUID
    transaction_id: str
    amount_fen: int
    currency: str
    paid_at: datetime  # business time, as the provider saw it


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentNews:
    """Money came, for all lines of one payment or for some."""

    merchant_id: str
    app_id: str
    lines: tuple[PaidLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the provider answers when asked about a payment."""

    paid: PaymentNews | None
    payable: bool  # somebody could still pay it


class RefundOutcome(StrEnum):
    SUCCEEDED = "succeeded"
    PROCESSING = "processing"
    ABNORMAL = "abnormal"  # it will not arrive without a person's help


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNews:
    """Where a refund stands."""

    refund_id: UUID
    outcome: RefundOutcome
    provider_refund_id: str
    refund_fen: int
    settled_at: datetime | None
    merchant_id: str | None = None  # only notifies name it
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """A believed notify: its own id, what kind it is and what it says."""

    external_id: str
    kind: str
    news: PaymentNews | RefundNews
