"""Tables of demand: users, sessions, campaigns with their versions, groups, orders, journal."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from groups.states import (
    CampaignState,
    GroupState,
    LatePayment,
    Mode,
    OrderState,
    WarehousePolicy,
)
from kit.columns import UtcDateTime, text_enum
from kit.ids import new_id

_NOW = {"server_default": text("kit_now()")}
_LIVE = "state IN ('reserved','paid','confirmed','won','allocated','shipped','delivered')"


class User(SQLModel, table=True):
    """A buyer, as the login provider knows them."""

    __tablename__ = "buyer"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    openid: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class Session(SQLModel, table=True):
    """A bearer token, kept as its SHA-256; wall clock: 2 h idle, 7 days at most."""

    __tablename__ = "session"

    token_hash: bytes = Field(sa_type=LargeBinary, primary_key=True)
    user_id: UUID | None = Field(default=None, foreign_key="buyer.id")
    role: str = Field(default="buyer")  # buyer | ops
    actor: str | None = None  # the operator's name
    created_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    used_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    expires_at: datetime = Field(sa_type=UtcDateTime)


class Campaign(SQLModel, table=True):
    """What the shop sells in groups; its terms are in the version that is current."""

    __tablename__ = "campaign"
    __table_args__ = (Index("campaign_listing", "state", "id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    code: str = Field(unique=True)
    sku: str = Field(foreign_key="product.sku")
    state: CampaignState = Field(default=CampaignState.ACTIVE, sa_type=text_enum(CampaignState))
    version: int = Field(default=1)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class CampaignVersion(SQLModel, table=True):
    """Terms that never change; a running group keeps those it was opened with."""

    __tablename__ = "campaign_version"
    __table_args__ = (
        CheckConstraint("capacity BETWEEN 2 AND 1000", name="campaign_capacity"),
        CheckConstraint("min_size BETWEEN 1 AND capacity", name="campaign_min_size"),
        CheckConstraint("price_fen > 0", name="campaign_price"),
        CheckConstraint("list_price_fen >= price_fen", name="campaign_list_price"),
        CheckConstraint("units_per_seat > 0", name="campaign_units"),
        CheckConstraint("window_seconds > 0", name="campaign_window"),
        CheckConstraint("seat_ttl_seconds > 0", name="campaign_seat_ttl"),
    )

    campaign_id: UUID = Field(primary_key=True, foreign_key="campaign.id")
    version: int = Field(primary_key=True)
    title: str
    mode: Mode = Field(sa_type=text_enum(Mode))
    capacity: int
    min_size: int
    window_seconds: int = Field(default=86_400)
    seat_ttl_seconds: int = Field(default=900)
    per_user_limit: int = Field(default=1)  # counts quantity
    seat_cap: int | None = None  # participants over all groups of the product
    units_per_seat: int = Field(default=1)
    list_price_fen: int
    price_fen: int  # what a member pays up front, per quantity
    tiers: list[dict[str, int]] = Field(default_factory=list, sa_type=JSONB)
    winners: int | None = None  # lottery
    late_payment_policy: LatePayment = Field(sa_type=text_enum(LatePayment))
    warehouse_policy: WarehousePolicy = Field(sa_type=text_enum(WarehousePolicy))
    ship_within_seconds: int
    allow_merge: bool = Field(default=False)
    terms: str = Field(default="")
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class Group(SQLModel, table=True):
    """Members who buy together; counts of held and paid seats live here, under its lock.

    The terms are copied from the campaign's version, so that joining reads one row.
    """

    __tablename__ = "buying_group"
    __table_args__ = (
        CheckConstraint("held_seats >= 0 AND paid_seats >= 0", name="group_seats"),
        CheckConstraint("held_seats + paid_seats <= capacity", name="group_capacity"),
        Index("group_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "group_joinable",
            "campaign_id",
            "id",
            postgresql_where=text("state IN ('draft','open')"),
        ),
        Index("group_sku_state", "sku", "state"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    campaign_id: UUID = Field(foreign_key="campaign.id")
    version: int
    sku: str
    mode: Mode = Field(sa_type=text_enum(Mode))
    state: GroupState = Field(default=GroupState.DRAFT, sa_type=text_enum(GroupState))
    capacity: int
    min_size: int
    price_fen: int
    units_per_seat: int
    per_user_limit: int
    seat_ttl_seconds: int
    ship_within_seconds: int
    late_payment_policy: LatePayment = Field(sa_type=text_enum(LatePayment))
    warehouse_policy: WarehousePolicy = Field(sa_type=text_enum(WarehousePolicy))
    leader_id: UUID
    held_seats: int = Field(default=0)
    paid_seats: int = Field(default=0)
    progress: int = Field(default=0)  # rises with every visible change; SSE's sequence number
    opened_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    deadline_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # what the clerk looks for
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # when it became terminal
    ship_by: datetime | None = Field(default=None, sa_type=UtcDateTime)
    final_price_fen: int | None = None  # tiered: the price everybody pays in the end
    merged_into: UUID | None = None
    planned_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # last allocation


class Order(SQLModel, table=True):
    """A member's seat: one live order per user and group."""

    __tablename__ = "buyer_order"
    __table_args__ = (
        CheckConstraint("quantity > 0 AND units > 0 AND amount_fen > 0", name="order_amounts"),
        CheckConstraint("claim_units >= 0", name="order_claim"),
        Index("order_one_live", "group_id", "user_id", unique=True, postgresql_where=text(_LIVE)),
        Index("order_user_campaign", "user_id", "campaign_id", postgresql_where=text(_LIVE)),
        Index("order_user", "user_id", "id"),
        Index("order_group", "group_id"),
        Index("order_expiry", "reserved_until", postgresql_where=text("state = 'reserved'")),
        Index(
            "order_expiry_sku",
            "sku",
            "reserved_until",
            postgresql_where=text("state = 'reserved'"),
        ),
        Index(
            "order_uncovered", "sku", "id", postgresql_where=text("state IN ('confirmed','won')")
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    group_id: UUID = Field(foreign_key="buying_group.id")
    campaign_id: UUID
    user_id: UUID
    sku: str
    quantity: int
    units: int
    price_fen: int
    amount_fen: int = Field(sa_type=BigInteger)
    state: OrderState = Field(default=OrderState.RESERVED, sa_type=text_enum(OrderState))
    claim_units: int  # units of the seat budget this order holds; 0 once reserved, pegged or dead
    province: str  # adcode
    city: str  # adcode
    address: dict[str, Any] = Field(sa_type=JSONB)
    reserved_until: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    paid_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    confirmed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    shipped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_reason: str | None = None


class OrderJournal(SQLModel, table=True):
    """What happened to an order, append-only."""

    __tablename__ = "order_journal"
    __table_args__ = (Index("order_journal_order", "order_id"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    order_id: UUID
    group_id: UUID
    kind: str
    occurred_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    detail: dict[str, Any] = Field(
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")}
    )
