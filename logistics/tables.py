"""Tables of fulfilment: warehouses, carriers, lanes, allocations, waves, shipments, tracking."""

from datetime import datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from kit.columns import UtcDateTime, text_enum
from kit.ids import new_id

_NOW = {"server_default": text("kit_now()")}


class WarehouseKind(StrEnum):
    OWN = "own"
    THIRD_PARTY = "third_party"
    LOCAL = "local"
    SUPPLIER_DIRECT = "supplier_direct"


class Warehouse(SQLModel, table=True):
    """A place that ships parcels to the provinces it serves."""

    __tablename__ = "warehouse"
    __table_args__ = (CheckConstraint("daily_parcels >= 0", name="warehouse_capacity"),)

    code: str = Field(primary_key=True)
    name: str
    kind: WarehouseKind = Field(default=WarehouseKind.OWN, sa_type=text_enum(WarehouseKind))
    province: str  # adcode
    city: str  # adcode
    lon: float
    lat: float
    timezone: str = Field(default="Asia/Shanghai")
    cut_off: time = Field(default=time(18, 0))  # local: parcels after it leave the next day
    handling_hours: int = Field(default=2)
    daily_parcels: int
    wave_cost_fen: int = Field(default=0)
    on_hold: bool = Field(default=False)


class Carrier(SQLModel, table=True):
    """A company that moves parcels."""

    __tablename__ = "carrier"

    code: str = Field(primary_key=True)
    name: str
    active: bool = Field(default=True)
    max_parcel_grams: int = Field(default=30_000)


class Lane(SQLModel, table=True):
    """What a carrier charges from a warehouse to a province: first weight, then steps."""

    __tablename__ = "lane"
    __table_args__ = (
        CheckConstraint("first_grams > 0 AND step_grams > 0", name="lane_weights"),
        CheckConstraint("first_fen >= 0 AND step_fen >= 0", name="lane_prices"),
        CheckConstraint("days >= 0", name="lane_days"),
        Index("lane_province", "province"),
    )

    warehouse: str = Field(primary_key=True, foreign_key="warehouse.code")
    carrier: str = Field(primary_key=True, foreign_key="carrier.code")
    province: str = Field(primary_key=True)  # adcode
    first_grams: int
    first_fen: int
    step_grams: int
    step_fen: int
    days: int


class FulfilmentPlan(SQLModel, table=True):
    """What one allocation run decided, and why."""

    __tablename__ = "fulfilment_plan"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    status: str
    proof: str = Field(default="")
    groups: int
    orders: int
    uncovered_orders: int
    cost_fen: int
    nearest_cost_fen: int | None = None  # baseline: nearest warehouse with stock
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class WaveState(StrEnum):
    OPEN = "open"
    LOCKED = "locked"
    MANIFESTED = "manifested"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Wave(SQLModel, table=True):
    """Parcels that leave one warehouse with one carrier at one cut-off."""

    __tablename__ = "wave"
    __table_args__ = (
        UniqueConstraint("warehouse", "carrier", "cut_off_at", "number", name="wave_slot"),
        CheckConstraint("parcels >= 0", name="wave_parcels"),
        Index("wave_due", "cut_off_at", postgresql_where=text("state = 'open'")),
        Index("wave_under_way", "id", postgresql_where=text("state IN ('locked','manifested')")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    warehouse: str = Field(foreign_key="warehouse.code")
    carrier: str = Field(foreign_key="carrier.code")
    cut_off_at: datetime = Field(sa_type=UtcDateTime)
    number: int = Field(default=1)  # a late wave for the same cut-off
    state: WaveState = Field(default=WaveState.OPEN, sa_type=text_enum(WaveState))
    parcels: int = Field(default=0)
    manifested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    shipped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class ShipmentState(StrEnum):
    PLANNED = "planned"  # allocated, still movable
    LOCKED = "locked"  # in a locked wave
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    RETURNED = "returned"
    LOST = "lost"
    CANCELLED = "cancelled"


class LabelState(StrEnum):
    NONE = "none"
    UNKNOWN = "unknown"
    PURCHASED = "purchased"
    VOIDED = "voided"


class TrackingStatus(StrEnum):
    """In ascending rank; a status never falls, delivered, returned and lost are terminal."""

    NONE = "none"
    LABEL_CREATED = "label_created"
    COLLECTED = "collected"
    IN_TRANSIT = "in_transit"
    EXCEPTION = "exception"
    OUT_FOR_DELIVERY = "out_for_delivery"
    LOST = "lost"
    RETURNED = "returned"
    DELIVERED = "delivered"


class Shipment(SQLModel, table=True):
    """One parcel; the id is the idempotency key of its label."""

    __tablename__ = "shipment"
    __table_args__ = (
        CheckConstraint("weight_grams > 0", name="shipment_weight"),
        Index("shipment_wave", "wave_id"),
        Index("shipment_tracking", "carrier", "tracking_no", unique=True),
        Index("shipment_movable", "warehouse", postgresql_where=text("state = 'planned'")),
        Index(
            "shipment_label_left_over",
            "id",
            postgresql_where=text("state = 'cancelled' AND label_state IN ('purchased','unknown')"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    wave_id: UUID | None = Field(default=None, foreign_key="wave.id")
    warehouse: str = Field(foreign_key="warehouse.code")
    carrier: str = Field(foreign_key="carrier.code")
    province: str
    city: str
    weight_grams: int
    state: ShipmentState = Field(default=ShipmentState.PLANNED, sa_type=text_enum(ShipmentState))
    label_state: LabelState = Field(default=LabelState.NONE, sa_type=text_enum(LabelState))
    label_id: str | None = None
    tracking_no: str | None = None
    price_fen: int | None = None
    label_error: str | None = None  # why the carrier last refused
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)  # no earlier cut-off
    tracking: TrackingStatus = Field(default=TrackingStatus.NONE, sa_type=text_enum(TrackingStatus))
    promised_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    shipped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)


class ShipmentOrder(SQLModel, table=True):
    """Which orders travel in a parcel; rows of a cancelled shipment stay as history."""

    __tablename__ = "shipment_order"
    __table_args__ = (Index("shipment_order_order", "order_id"),)

    shipment_id: UUID = Field(primary_key=True, foreign_key="shipment.id")
    order_id: UUID = Field(primary_key=True)
    group_id: UUID
    sku: str
    units: int


class TrackingEvent(SQLModel, table=True):
    """What a carrier said of a parcel, stored once."""

    __tablename__ = "tracking_event"
    __table_args__ = (Index("tracking_event_shipment", "shipment_id"),)

    carrier: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    shipment_id: UUID = Field(foreign_key="shipment.id")
    status: TrackingStatus = Field(sa_type=text_enum(TrackingStatus))
    place: str = Field(default="")
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime, sa_column_kwargs=_NOW)
