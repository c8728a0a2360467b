"""Rows of the audited shop while it is built, and the ids by which tests speak of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlmodel import SQLModel

from kit.ids import new_id

THEN = datetime(2011, 12, 5, 8, tzinfo=UTC)
DAY = timedelta(days=1)
# Open groups must not be overdue by the clock of whoever runs the tests.
FAR = datetime(2100, 1, 1, tzinfo=UTC)
PRICE_FEN = 1000


@dataclass(slots=True)
class World:
    """The rows of the shop; `ids` names those that tests speak of."""

    ids: dict[str, UUID] = field(default_factory=dict)
    rows: list[SQLModel] = field(default_factory=list)

    def id(self, name: str) -> UUID:
        return self.ids.setdefault(name, new_id())

    def add(self, *rows: SQLModel) -> None:
        self.rows.extend(rows)
