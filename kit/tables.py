"""Tables that carry no business word: clock, idempotency, inbox, outbox, wake-ups, leases."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Interval, LargeBinary, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from kit.columns import UtcDateTime, text_enum
from kit.ids import new_id


class KitClock(SQLModel, table=True):
    """One row: how far business time is ahead of the wall clock."""

    __tablename__ = "kit_clock"
    __table_args__ = (CheckConstraint("one", name="kit_clock_one_row"),)

    one: bool = Field(default=True, primary_key=True)
    ahead: timedelta = Field(default=timedelta(0), sa_type=Interval)


class IdempotentAnswer(SQLModel, table=True):
    """The terminal answer once given under (owner, route, key); kept at least 7 days."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (Index("idempotent_answer_age", "created_at"),)

    owner: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: bytes = Field(sa_type=LargeBinary)
    status: int
    answer: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )


class InboxState(StrEnum):
    RECEIVED = "received"
    APPLIED = "applied"
    PARKED = "parked"


class InboxMessage(SQLModel, table=True):
    """A partner's message, taken in once per (source, external_id)."""

    __tablename__ = "inbox_message"
    __table_args__ = (
        UniqueConstraint("source", "external_id", name="inbox_once"),
        Index("inbox_waiting", "id", postgresql_where=text("state = 'received'")),
        Index("inbox_parked", "id", postgresql_where=text("state = 'parked'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    source: str
    external_id: str
    kind: str
    body: dict[str, Any] = Field(sa_type=JSONB)
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    state: InboxState = Field(default=InboxState.RECEIVED, sa_type=text_enum(InboxState))
    attempts: int = Field(default=0)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = None


class OutboxMessage(SQLModel, table=True):
    """A fact told to the world after its transaction committed; order is kept per key."""

    __tablename__ = "outbox_message"
    __table_args__ = (
        Index(
            "outbox_unsent",
            "id",
            postgresql_where=text("sent_at IS NULL AND dead_at IS NULL"),
        ),
        Index(
            "outbox_unsent_by_key",
            "key",
            "id",
            postgresql_where=text("sent_at IS NULL AND dead_at IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    topic: str
    key: str
    body: dict[str, Any] = Field(sa_type=JSONB)
    occurred_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("kit_now()")}
    )
    created_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    due_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    attempts: int = Field(default=0)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    dead_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None


class WakeUp(SQLModel, table=True):
    """A flow is wanted for a key; asking twice before it ran is asking once."""

    __tablename__ = "wake_up"
    __table_args__ = (Index("wake_up_due", "due_at"),)

    flow: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    reason: str = Field(default="")
    asked: int = Field(default=1)
    created_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    due_at: datetime = Field(
        sa_type=UtcDateTime, sa_column_kwargs={"server_default": text("now()")}
    )
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Lease(SQLModel, table=True):
    """Who may work on a business key until when (wall time); a doubled run finds it taken."""

    __tablename__ = "lease"

    name: str = Field(primary_key=True)
    holder: UUID
    until: datetime = Field(sa_type=UtcDateTime)


class Partner(SQLModel, table=True):
    """Another company's endpoint and the two live secrets it signs with."""

    __tablename__ = "partner"

    kind: str = Field(primary_key=True)
    code: str = Field(primary_key=True)
    url: str | None = None
    secret: str | None = None
    previous_secret: str | None = None
    calls_per_second: float = Field(default=50.0)
    calls_at_once: int = Field(default=8)
    active: bool = Field(default=True)
