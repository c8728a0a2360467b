"""Save many rows in one statement and learn which of them were news."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, column, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Keys of rows that were not there before, and of rows that said something else."""

    added: frozenset[Key] = frozenset()
    changed: frozenset[Key] = frozenset()

    @property
    def touched(self) -> frozenset[Key]:
        return self.added | self.changed


async def upsert(
    session: AsyncSession,
    model: type[SQLModel],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
) -> Saved:
    """Insert rows, or bring those with the same key up to date; equal rows are not written.

    Columns that the rows do not name keep what they have, or get their default in SQL.

    Args:
        rows: values as JSON has them (times and enums as text), all with the same columns and
            each with a key of its own.
        key: columns of the primary key.
    """
    if not rows:
        return Saved()
    table = SQLModel.metadata.tables[str(model.__tablename__)]
    names = list(rows[0])
    rest = [name for name in names if name not in key]
    news = (
        func.jsonb_to_recordset(bindparam("rows", type_=JSONB))
        .table_valued(*(column(name, table.c[name].type) for name in names))
        .render_derived(with_types=True)
    )
    # In the order of their keys, so that two writers of the same rows do not deadlock.
    ordered = select(*(news.c[name] for name in names)).order_by(*(news.c[name] for name in key))
    statement = insert(table).from_select(names, ordered, include_defaults=False)
    written = statement.on_conflict_do_update(
        index_elements=list(key),
        set_={name: statement.excluded[name] for name in rest},
        where=or_(*(table.c[name].is_distinct_from(statement.excluded[name]) for name in rest)),
    ).returning(
        *(table.c[name] for name in key),
        # A row that was just inserted has never been locked or replaced.
        literal_column("(xmax = 0)").label("added"),
    )
    connection = await session.connection()
    touched = (await connection.execute(written, {"rows": [dict(row) for row in rows]})).all()
    return Saved(
        added=frozenset(tuple(row)[:-1] for row in touched if row.added),
        changed=frozenset(tuple(row)[:-1] for row in touched if not row.added),
    )
