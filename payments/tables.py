"""Tables of money: payments, their lines, refunds and the double-entry ledger."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from kit.columns import UtcDateTime, text_enum
from kit.ids import new_id

_NOW = {"server_default": text("kit_now()")}


class PaymentState(StrEnum):
    PENDING = "pending"  # made here; money may come
    CLOSED = "closed"  # expired or closed at the provider; no money came
    CAPTURED = "captured"  # money came for at least one line


class Payment(SQLModel, table=True):
    """One attempt to pay one order, or several at once; our id is the provider's number."""

    __tablename__ = "payment"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="payment_amount"),
        Index("payment_poll", "poll_at", postgresql_where=text("state = 'pending'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    provider: str
    state: PaymentState = Field(default=PaymentState.PENDING, sa_type=text_enum(PaymentState))
    amount_fen: int = Field(sa_type=BigInteger)
    combined: bool = Field(default=False)
    prepay_id: str | None = None
    expires_at: datetime = Field(sa_type=UtcDateTime)
    poll_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    polls: int = Field(default=0)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class LineState(StrEnum):
    PENDING = "pending"
    CLOSED = "closed"
    CAPTURED = "captured"  # belongs to a live seat, or is being refunded with its order
    ORPHANED = "orphaned"  # money without a seat: refunded automatically


class PaymentLine(SQLModel, table=True):
    """The part of a payment that belongs to one order; captured, failed and refunded alone."""

    __tablename__ = "payment_line"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="payment_line_amount"),
        Index(
            "payment_line_one_live",
            "order_id",
            unique=True,
            postgresql_where=text("state = 'pending'"),
        ),
        Index("payment_line_order", "order_id"),
        Index("payment_line_payment", "payment_id"),
        UniqueConstraint("transaction_id", name="payment_line_transaction"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    payment_id: UUID = Field(foreign_key="payment.id")
    order_id: UUID
    amount_fen: int = Field(sa_type=BigInteger)
    state: LineState = Field(default=LineState.PENDING, sa_type=text_enum(LineState))
    transaction_id: str | None = None
    captured_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LedgerTransaction(SQLModel, table=True):
    """One balanced posting, named by what caused it so that it is posted once."""

    __tablename__ = "ledger_transaction"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    kind: str
    reference: str = Field(unique=True)
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class Account(StrEnum):
    PROVIDER = "provider"  # money the payment provider holds for us
    DEPOSITS = "deposits"  # buyers' money on orders not yet shipped
    REFUNDS_DUE = "refunds_due"  # owed back to buyers
    SALES = "sales"  # earned when the parcel left


class LedgerEntry(SQLModel, table=True):
    """One side of a posting; debits are positive, credits negative."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        CheckConstraint("amount_fen <> 0", name="ledger_entry_amount"),
        Index("ledger_entry_order", "order_id", "account"),
        Index("ledger_entry_transaction", "transaction_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    transaction_id: UUID = Field(foreign_key="ledger_transaction.id")
    account: Account = Field(sa_type=text_enum(Account))
    order_id: UUID
    amount_fen: int = Field(sa_type=BigInteger)


class RefundKind(StrEnum):
    WHOLE = "whole"
    DIFFERENCE = "difference"


class RefundState(StrEnum):
    QUEUED = "queued"
    ACCEPTED = "accepted"  # the provider works on it; poll or notify decides
    SUCCEEDED = "succeeded"
    ATTENTION = "refund_attention"


class Refund(SQLModel, table=True):
    """Money on its way back to one member; the id is the refund number across retries."""

    __tablename__ = "refund"
    __table_args__ = (
        CheckConstraint("amount_fen > 0", name="refund_amount"),
        UniqueConstraint("line_id", "kind", name="refund_once_per_line"),
        Index("refund_due", "due_at", postgresql_where=text("state IN ('queued','accepted')")),
        Index("refund_order", "order_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    line_id: UUID = Field(foreign_key="payment_line.id")
    order_id: UUID
    kind: RefundKind = Field(sa_type=text_enum(RefundKind))
    amount_fen: int = Field(sa_type=BigInteger)
    reason: str
    state: RefundState = Field(default=RefundState.QUEUED, sa_type=text_enum(RefundState))
    provider_refund_id: str | None = None
    attempts: int = Field(default=0)
    due_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )  # wall clock: a delivery retry
    last_error: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PaymentAnomaly(SQLModel, table=True):
    """A notify that named a wrong amount, merchant, currency or order: recorded, not applied."""

    __tablename__ = "payment_anomaly"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    provider: str
    external_id: str
    reason: str
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    recorded_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
