"""Runs every invariant over one snapshot of the database."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from kit.db import transaction
from kit.settings import settings
from operations.audit import events, goods, groups, logistics, money, supply
from operations.audit.invariant import Invariant

INVARIANTS: Final[tuple[Invariant, ...]] = (
    *money.INVARIANTS,
    *goods.INVARIANTS,
    *groups.INVARIANTS,
    *supply.INVARIANTS,
    *logistics.INVARIANTS,
    *events.INVARIANTS,
)
# A broken rule tends to break for many rows at once; nobody reads more than these.
MOST_ROWS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A row that breaks an invariant."""

    invariant: str
    row: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was checked, and what breaks it: at most a hundred rows for each invariant."""

    checked: tuple[str, ...]
    violations: tuple[Violation, ...]


async def audit() -> AuditReport:
    """Check every invariant from the rows of one moment; nothing is changed or locked."""
    found: list[Violation] = []
    async with transaction(long=True) as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )
        # Whole tables are compared: with statistics from a smaller yesterday the planner would
        # look rows up one by one.
        await connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
        await connection.exec_driver_sql("SET LOCAL work_mem = '64MB'")
        for invariant in INVARIANTS:
            rows = await connection.execute(
                text(
                    f"SELECT row, detail FROM ({invariant.breaches}) AS breach"  # noqa: S608 - constants
                    " ORDER BY row, detail LIMIT :most"
                ),
                _parameters(invariant),
            )
            found += [
                Violation(invariant=invariant.name, row=row.row, detail=row.detail) for row in rows
            ]
    return AuditReport(
        checked=tuple(invariant.name for invariant in INVARIANTS), violations=tuple(found)
    )


def _parameters(invariant: Invariant) -> dict[str, int]:
    parameters = {"most": MOST_ROWS}
    if ":grace_seconds" in invariant.breaches:
        parameters["grace_seconds"] = settings().closing_grace_seconds
    return parameters
