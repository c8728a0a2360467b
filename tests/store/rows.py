"""What the database holds, for tests that look beneath the functions they call."""

from typing import Any

from sqlalchemy import text

from kit.db import transaction


async def sql(statement: str, /, **values: Any) -> list[Any]:
    """Run one statement in a transaction of its own and return its rows."""
    async with transaction() as session:
        connection = await session.connection()
        result = await connection.execute(text(statement), values)
        return list(result) if result.returns_rows else []


async def count_of(statement: str, /, **values: Any) -> int:
    """Return the one number a query finds."""
    ((count,),) = await sql(statement, **values)
    return int(count)
