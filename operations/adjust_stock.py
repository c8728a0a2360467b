"""A person corrects stock: what was found, lost, put aside or given free again, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import ledger
from inventory.ledger import Bucket, Movement, MovementType
from kit import clock, outbox
from kit.errors import NotFound


class UnknownWarehouse(NotFound):
    """No warehouse by that code was ever loaded."""

    code: ClassVar[str] = "unknown_warehouse"


class Act(StrEnum):
    """adjust: units of a bucket are more or fewer; hold and unhold move them between buckets."""

    ADJUST = "adjust"
    HOLD = "hold"
    UNHOLD = "unhold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A correction of one SKU in one warehouse.

    units: signed for adjust; positive for hold and unhold, whose bucket is given by the act.
    """

    sku: str
    warehouse: str
    act: Act
    units: int
    bucket: Bucket = Bucket.AVAILABLE


async def adjust_stock(
    session: AsyncSession,
    adjustments: Sequence[Adjustment],
    *,
    key: str,
    actor: str,
    reason: str,
) -> int:
    """Book corrections in the caller's transaction; return how many movements were new.

    Args:
        key: the same key again books nothing.

    Raises:
        UnknownProduct: a SKU is no product.
        UnknownWarehouse: nobody loaded the warehouse.
        BelowZero: more would go than is there.
    """
    await _check_warehouses(session, sorted({line.warehouse for line in adjustments}))
    now = await clock.business_now(session)
    movements = [
        Movement(
            sku=line.sku,
            warehouse=line.warehouse,
            bucket=bucket,
            qty_delta=units,
            kind=MovementType(line.act.value),
            reference=f"adjustment:{key}",
            key=f"adjust:{key}:{number}:{bucket.value}",
            actor=actor,
            reason=reason,
            occurred_at=now,
        )
        for number, line in enumerate(adjustments, 1)
        for bucket, units in _moves(line)
    ]
    booked = await ledger.book(session, movements)
    if booked:
        skus = sorted({line.sku for line in adjustments})
        body = {"skus": skus, "sku_count": len(skus), "actor": actor}
        fact = outbox.Fact(topic="stock.changed", key=f"adjustment:{key}", body=body)
        await outbox.emit(session, [fact])
    return booked


def _moves(line: Adjustment) -> list[tuple[Bucket, int]]:
    if line.act is Act.ADJUST:
        return [(line.bucket, line.units)]
    aside = line.units if line.act is Act.HOLD else -line.units
    return [(Bucket.AVAILABLE, -aside), (Bucket.HELD, aside)]


async def _check_warehouses(session: AsyncSession, codes: Sequence[str]) -> None:
    connection = await session.connection()
    rows = await connection.execute(
        text("SELECT code FROM warehouse WHERE code = ANY(CAST(:codes AS text[]))"),
        {"codes": list(codes)},
    )
    unknown = set(codes) - {row.code for row in rows}
    if unknown:
        raise UnknownWarehouse(f"unknown warehouse {', '.join(sorted(unknown)[:5])}")
