"""Column types shared by every table: aware times, enums stored as their values, JSON."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy import Enum as SqlEnum
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that refuses naive times and always answers in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is not None and value.tzinfo is None:
            msg = f"naive time {value} where an aware one belongs"
            raise ValueError(msg)
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC)


def text_enum(states: type[StrEnum]) -> Any:
    """Return a column type that stores the values of `states` as text, with a CHECK.

    SQLModel's default stores the members' names in a native type, which no later
    migration can shrink.
    """
    return SqlEnum(
        states,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=states.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
        validate_strings=True,
    )
