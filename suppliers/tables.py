"""Tables of supply: suppliers, agreements with tiers, plans, purchase orders, receipts."""

from datetime import datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from kit.columns import UtcDateTime, text_enum
from kit.ids import new_id
from suppliers.states import PurchaseOrderState

_NOW = {"server_default": text("kit_now()")}


class PriceMode(StrEnum):
    ALL_UNITS = "all_units"
    INCREMENTAL = "incremental"


class Supplier(SQLModel, table=True):
    """A company we buy from, with the terms that hold for a whole order."""

    __tablename__ = "supplier"

    code: str = Field(primary_key=True)
    name: str
    currency: str = Field(default="CNY")
    timezone: str = Field(default="Asia/Shanghai")
    cut_off: time = Field(default=time(17, 0))  # local: later orders count from the next day
    min_order_value_fen: int = Field(default=0)
    fixed_order_cost_fen: int = Field(default=0)
    spend_tiers: list[dict[str, int]] = Field(default_factory=list, sa_type=JSONB)
    freight_fen: dict[str, int] = Field(default_factory=dict, sa_type=JSONB)  # a unit, by warehouse
    price_tolerance_bp: int = Field(default=0)
    over_delivery_bp: int = Field(default=0)
    ack_sla_hours: int = Field(default=24)
    active: bool = Field(default=True)


class SupplyAgreement(SQLModel, table=True):
    """What one supplier sells of one SKU and on which terms; one is valid at a time."""

    __tablename__ = "supply_agreement"
    __table_args__ = (
        UniqueConstraint("supplier", "sku", "version", name="agreement_version"),
        CheckConstraint("moq > 0 AND pack > 0", name="agreement_moq"),
        CheckConstraint("capacity_per_day >= 0", name="agreement_capacity"),
        CheckConstraint("max_units IS NULL OR max_units >= moq", name="agreement_max"),
        Index("agreement_sku", "sku"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    supplier: str = Field(foreign_key="supplier.code")
    sku: str = Field(foreign_key="product.sku")
    version: int = Field(default=1)
    moq: int = Field(default=1)
    pack: int = Field(default=1)  # units ordered are a multiple of it
    max_units: int | None = None  # most units in one order
    capacity_per_day: int
    lead_days: int
    hard_safety_days: int = Field(default=0)
    soft_safety_days: int = Field(default=0)
    cancel_window_hours: int = Field(default=0)
    price_mode: PriceMode = Field(default=PriceMode.ALL_UNITS, sa_type=text_enum(PriceMode))
    committed_units: int | None = None
    allowance_bp: int = Field(default=0)
    released_units: int = Field(default=0)
    valid_from: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    valid_to: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PriceTier(SQLModel, table=True):
    """From `min_units` on, a unit costs `unit_price_fen`."""

    __tablename__ = "price_tier"
    __table_args__ = (
        CheckConstraint("min_units > 0", name="price_tier_from"),
        CheckConstraint("unit_price_fen > 0", name="price_tier_price"),
    )

    agreement_id: UUID = Field(primary_key=True, foreign_key="supply_agreement.id")
    min_units: int = Field(primary_key=True)
    unit_price_fen: int


class PurchasePlan(SQLModel, table=True):
    """What the optimizer decided from what it was told, and why."""

    __tablename__ = "purchase_plan"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    key: str = Field(unique=True)
    status: str
    objective_e4: int | None = Field(default=None, sa_type=BigInteger)
    lower_bound_e4: int | None = Field(default=None, sa_type=BigInteger)
    proof: str = Field(default="")
    problem: dict[str, Any] = Field(sa_type=JSONB)
    result: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class SendState(StrEnum):
    UNSENT = "unsent"
    UNKNOWN = "unknown"  # sent, answer lost: ask by key before anything else
    SENT = "sent"


class PurchaseOrder(SQLModel, table=True):
    """One order to one supplier; the id is the idempotency key at the supplier."""

    __tablename__ = "purchase_order"
    __table_args__ = (
        CheckConstraint("total_fen >= 0", name="purchase_order_total"),
        UniqueConstraint("plan_key", name="purchase_order_plan_key"),
        Index(
            "purchase_order_to_send",
            "send_at",
            postgresql_where=text("state = 'approved'"),
        ),
        Index("purchase_order_state", "state", "id"),
        Index("purchase_order_overdue", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("purchase_order_rest", "rest_until", postgresql_where=text("rest_until IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    plan_key: str  # plan's key : supplier
    plan_id: UUID = Field(foreign_key="purchase_plan.id")
    supplier: str = Field(foreign_key="supplier.code")
    state: PurchaseOrderState = Field(
        default=PurchaseOrderState.DRAFT, sa_type=text_enum(PurchaseOrderState)
    )
    send_state: SendState = Field(default=SendState.UNSENT, sa_type=text_enum(SendState))
    total_fen: int = Field(sa_type=BigInteger)
    supplier_ref: str | None = None
    supplier_revision: int = Field(default=0)
    proposal: dict[str, Any] | None = Field(default=None, sa_type=JSONB)  # a change to answer
    replaces_po_id: UUID | None = None
    replanned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    rest_until: datetime | None = Field(default=None, sa_type=UtcDateTime)  # after a refusal
    approved_by: str | None = None
    approved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_reason: str | None = None
    attempts: int = Field(default=0)
    send_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )  # wall clock: a delivery retry
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # answer or goods expected
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class PurchaseOrderLine(SQLModel, table=True):
    """Units of one SKU for one warehouse.

    ordered = accepted + rejected + cancelled + unanswered and
    accepted = good + damaged + short_closed + open (invariants P1, P2).
    """

    __tablename__ = "purchase_order_line"
    __table_args__ = (
        UniqueConstraint("po_id", "line_no", name="purchase_order_line_no"),
        CheckConstraint(
            "ordered_units = accepted_units + rejected_units + cancelled_units + unanswered_units",
            name="purchase_order_line_ordered",
        ),
        CheckConstraint(
            "accepted_units = good_units + damaged_units + short_closed_units + open_units",
            name="purchase_order_line_accepted",
        ),
        CheckConstraint(
            "ordered_units > 0 AND accepted_units >= 0 AND rejected_units >= 0"
            " AND cancelled_units >= 0 AND unanswered_units >= 0 AND good_units >= 0"
            " AND damaged_units >= 0 AND short_closed_units >= 0 AND open_units >= 0",
            name="purchase_order_line_signs",
        ),
        Index("purchase_order_line_sku", "sku"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    po_id: UUID = Field(foreign_key="purchase_order.id")
    line_no: int
    agreement_id: UUID = Field(foreign_key="supply_agreement.id")
    sku: str
    warehouse: str
    unit_price_fen: int
    ordered_units: int
    unanswered_units: int
    accepted_units: int = Field(default=0)
    rejected_units: int = Field(default=0)
    cancelled_units: int = Field(default=0)
    open_units: int = Field(default=0)
    good_units: int = Field(default=0)
    damaged_units: int = Field(default=0)
    short_closed_units: int = Field(default=0)
    over_units: int = Field(default=0)  # received beyond what was accepted
    requested_at: datetime = Field(sa_type=UtcDateTime)
    promised_at: datetime = Field(sa_type=UtcDateTime)


class PurchaseOrderJournal(SQLModel, table=True):
    """What happened to a purchase order, append-only."""

    __tablename__ = "purchase_order_journal"
    __table_args__ = (Index("purchase_order_journal_po", "po_id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    po_id: UUID
    kind: str
    actor: str = Field(default="")
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    occurred_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class DespatchAdvice(SQLModel, table=True):
    """What a supplier says is on its way; revision n replaces n-1."""

    __tablename__ = "despatch_advice"

    po_id: UUID = Field(primary_key=True, foreign_key="purchase_order.id")
    asn_no: str = Field(primary_key=True)
    revision: int
    cancelled: bool = Field(default=False)
    expected_at: datetime = Field(sa_type=UtcDateTime)
    lines: list[dict[str, Any]] = Field(sa_type=JSONB)


class Receipt(SQLModel, table=True):
    """Goods counted at a warehouse; a number changes stock once."""

    __tablename__ = "receipt"
    __table_args__ = (
        UniqueConstraint("warehouse", "receipt_no", name="receipt_once"),
        Index("receipt_po", "po_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    warehouse: str
    receipt_no: str
    po_id: UUID = Field(foreign_key="purchase_order.id")
    asn_no: str | None = None
    lines: list[dict[str, Any]] = Field(sa_type=JSONB)
    received_at: datetime = Field(sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
