"""Tables of goods: products, movements, levels, reservations, pegs and seat budgets."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from inventory.states import Bucket, MovementType
from kit.columns import UtcDateTime, text_enum
from kit.ids import new_id

__all__ = [
    "Bucket",
    "BudgetMark",
    "Discrepancy",
    "DiscrepancyState",
    "FeedSource",
    "MovementType",
    "Peg",
    "PegState",
    "Product",
    "PromiseState",
    "Reservation",
    "ReservationState",
    "SeatBudget",
    "SnapshotLine",
    "StockLevel",
    "StockMovement",
    "SupplyCapability",
    "SupplyPromise",
]

_NOW = {"server_default": text("kit_now()")}


class Product(SQLModel, table=True):
    """Something that can be sold, counted in base units."""

    __tablename__ = "product"
    __table_args__ = (
        CheckConstraint("weight_grams > 0", name="product_weight"),
        CheckConstraint("volume_cm3 > 0", name="product_volume"),
    )

    sku: str = Field(primary_key=True)
    name: str
    weight_grams: int
    volume_cm3: int
    safety_units: int = Field(default=0, ge=0)
    holding_fen: int = Field(default=0)  # a unit bought ahead, until it is sold
    writeoff_fen: int = Field(default=0)  # a unit never sold
    max_excess_units: int = Field(default=0)  # most units bought beyond what is needed
    shelf_life_days: int | None = None
    moq_risk_accepted: bool = Field(default=False)  # sell ahead even if MOQ exceeds max_excess


class StockMovement(SQLModel, table=True):
    """One change of one bucket, never edited; `seq` has no holes per (sku, warehouse).

    hold and unhold are two rows: -n available and +n held, or the reverse.
    """

    __tablename__ = "stock_movement"
    __table_args__ = (
        UniqueConstraint("sku", "warehouse", "seq", name="stock_movement_seq"),
        CheckConstraint("qty_delta <> 0", name="stock_movement_moves"),
        Index("stock_movement_time", "sku", "warehouse", "occurred_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sku: str = Field(foreign_key="product.sku")
    warehouse: str
    seq: int = Field(sa_type=BigInteger)
    bucket: Bucket = Field(sa_type=text_enum(Bucket))
    qty_delta: int
    kind: MovementType = Field(sa_type=text_enum(MovementType))
    reference: str
    idempotency_key: str = Field(unique=True)
    actor: str
    reason: str = Field(default="")
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class StockLevel(SQLModel, table=True):
    """Projection of the movements of one (sku, warehouse).

    on_hand counts everything there, held the part of it that cannot be sold, reserved the part
    promised to orders.
    """

    __tablename__ = "stock_level"
    __table_args__ = (
        CheckConstraint("on_hand >= 0", name="stock_level_on_hand"),
        CheckConstraint("held >= 0", name="stock_level_held"),
        CheckConstraint("reserved >= 0", name="stock_level_reserved"),
    )

    sku: str = Field(primary_key=True, foreign_key="product.sku")
    warehouse: str = Field(primary_key=True)
    on_hand: int = Field(default=0)
    held: int = Field(default=0)
    reserved: int = Field(default=0)
    last_seq: int = Field(default=0, sa_type=BigInteger)


class ReservationState(StrEnum):
    LIVE = "live"
    SHIPPED = "shipped"
    DISSOLVED = "dissolved"


class Reservation(SQLModel, table=True):
    """Units in one warehouse that belong to one order until they ship or dissolve."""

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint("units > 0", name="reservation_units"),
        Index(
            "reservation_one_live",
            "order_id",
            unique=True,
            postgresql_where=text("state = 'live'"),
        ),
        Index(
            "reservation_live_place",
            "sku",
            "warehouse",
            postgresql_where=text("state = 'live'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    order_id: UUID
    sku: str = Field(foreign_key="product.sku")
    warehouse: str
    units: int
    state: ReservationState = Field(
        default=ReservationState.LIVE, sa_type=text_enum(ReservationState)
    )
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PromiseState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class SupplyPromise(SQLModel, table=True):
    """Units of a sent purchase order line on their way to a warehouse.

    Suppliers write it when an order is sent, answered, received or cancelled; `units` is what is
    still to come, `pegged_units` the part of it that belongs to orders already.
    """

    __tablename__ = "supply_promise"
    __table_args__ = (
        CheckConstraint("units >= 0", name="supply_promise_units"),
        CheckConstraint("pegged_units >= 0", name="supply_promise_pegged"),
        Index("supply_promise_sku", "sku", postgresql_where=text("state = 'open'")),
    )

    line_id: UUID = Field(primary_key=True)  # the purchase order line
    sku: str = Field(foreign_key="product.sku")
    warehouse: str
    units: int
    pegged_units: int = Field(default=0)
    promised_at: datetime = Field(sa_type=UtcDateTime)
    state: PromiseState = Field(default=PromiseState.OPEN, sa_type=text_enum(PromiseState))


class SupplyCapability(SQLModel, table=True):
    """What one supplier could still deliver of one SKU, as suppliers last worked it out."""

    __tablename__ = "supply_capability"

    supplier: str = Field(primary_key=True)
    sku: str = Field(primary_key=True, foreign_key="product.sku")
    capacity_per_day: int
    days_to_sell: int  # days of capacity that may be counted for one planning window
    lead_days: int  # including hard safety days
    moq_units: int
    open_units: int = Field(default=0)  # ordered and unanswered or accepted: no longer capability
    lost_units: int = Field(default=0)  # rejected: capability that is not coming back
    valid_to: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PegState(StrEnum):
    LIVE = "live"
    RESERVED = "reserved"
    DISSOLVED = "dissolved"


class Peg(SQLModel, table=True):
    """Inbound units of a purchase order line that belong to one order."""

    __tablename__ = "peg"
    __table_args__ = (
        CheckConstraint("units > 0", name="peg_units"),
        Index("peg_one_live", "order_id", unique=True, postgresql_where=text("state = 'live'")),
        Index("peg_live_line", "line_id", postgresql_where=text("state = 'live'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    order_id: UUID
    line_id: UUID = Field(foreign_key="supply_promise.line_id")
    sku: str = Field(foreign_key="product.sku")
    warehouse: str
    units: int
    state: PegState = Field(default=PegState.LIVE, sa_type=text_enum(PegState))
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SeatBudget(SQLModel, table=True):
    """The hot row: how many units of a SKU may still be promised, and how many are.

    There is no CHECK claimed <= budget: supply may fall below what was promised. The guard is the
    WHERE of the UPDATE that claims.
    """

    __tablename__ = "seat_budget"
    __table_args__ = (
        CheckConstraint("claimed_units >= 0", name="seat_budget_claimed"),
        CheckConstraint("taken_seats >= 0", name="seat_budget_taken"),
        Index("seat_budget_recompute", "recompute_at"),
    )

    sku: str = Field(primary_key=True, foreign_key="product.sku")
    budget_units: int = Field(default=0)
    claimed_units: int = Field(default=0)
    cap_seats: int | None = None
    taken_seats: int = Field(default=0)
    ship_by_seconds: int | None = None  # shortest promise of the active campaigns, from success
    recompute_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    computed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    parts: dict[str, Any] = Field(
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")}
    )


class BudgetMark(SQLModel, table=True):
    """A SKU whose stock or supply changed since its budget was last computed.

    Rows of their own: whoever receives or ships marks without touching the hot budget row, so a
    mark never waits for a join, and no lock order can be broken by it.
    """

    __tablename__ = "budget_mark"

    sku: str = Field(primary_key=True)
    mark: UUID = Field(default_factory=new_id, primary_key=True)
    marked_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )  # wall clock


class FeedSource(SQLModel, table=True):
    """How far an external stock system was heard."""

    __tablename__ = "feed_source"

    warehouse: str = Field(primary_key=True)
    last_snapshot_as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_complete_as_of: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_event_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_heard_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # wall clock
    etag: str | None = None
    last_error: str | None = None


class SnapshotLine(SQLModel, table=True):
    """The last snapshot applied to one (sku, warehouse), so that parts may come one by one."""

    __tablename__ = "snapshot_line"

    warehouse: str = Field(primary_key=True)
    sku: str = Field(primary_key=True, foreign_key="product.sku")
    as_of: datetime = Field(sa_type=UtcDateTime)
    on_hand: int
    held: int


class DiscrepancyState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


class Discrepancy(SQLModel, table=True):
    """Physical stock fell below what was promised, or a feed differs beyond the review limit."""

    __tablename__ = "discrepancy"
    __table_args__ = (
        Index(
            "discrepancy_open_place",
            "sku",
            "warehouse",
            "kind",
            unique=True,
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    sku: str = Field(foreign_key="product.sku")
    warehouse: str
    kind: str  # shortage | review
    units: int
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    state: DiscrepancyState = Field(
        default=DiscrepancyState.OPEN, sa_type=text_enum(DiscrepancyState)
    )
    opened_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
