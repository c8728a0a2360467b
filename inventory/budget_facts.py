"""What a seat budget is computed from, read for many SKUs at once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory.formula import Capability, Facts, Inbound, Stock

_FACTS: Final = text(
    """
    SELECT b.sku, b.budget_units, b.claimed_units, b.cap_seats, b.taken_seats, b.ship_by_seconds,
        p.safety_units, p.max_excess_units, p.moq_risk_accepted, kit_now() AS now,
        coalesce(stock.on_hand, 0) AS on_hand, coalesce(stock.held, 0) AS held,
        coalesce(stock.reserved, 0) AS reserved, coalesce(review.units, 0) AS disputed,
        coalesce(inbound.rows, '[]') AS inbound, coalesce(capability.rows, '[]') AS capabilities
    FROM seat_budget b
    JOIN product p USING (sku)
    LEFT JOIN (SELECT sku, sum(on_hand) AS on_hand, sum(held) AS held, sum(reserved) AS reserved
        FROM stock_level WHERE sku = ANY(CAST(:skus AS text[])) GROUP BY sku) stock USING (sku)
    LEFT JOIN (SELECT sku, sum(greatest(0, -units)) AS units
        FROM discrepancy WHERE state = 'open' AND kind = 'review'
        AND sku = ANY(CAST(:skus AS text[])) GROUP BY sku) review USING (sku)
    LEFT JOIN (SELECT sku, jsonb_agg(jsonb_build_object('units', units,
            'pegged_units', pegged_units, 'promised_at', promised_at)) AS rows
        FROM supply_promise WHERE state = 'open'
        AND sku = ANY(CAST(:skus AS text[])) GROUP BY sku) inbound USING (sku)
    LEFT JOIN (SELECT sku, jsonb_agg(jsonb_build_object('supplier', supplier,
            'capacity_per_day', capacity_per_day, 'days_to_sell', days_to_sell,
            'lead_days', lead_days, 'moq_units', moq_units, 'open_units', open_units,
            'lost_units', lost_units, 'valid_to', valid_to) ORDER BY supplier) AS rows
        FROM supply_capability WHERE sku = ANY(CAST(:skus AS text[]))
        GROUP BY sku) capability USING (sku)
    WHERE b.sku = ANY(CAST(:skus AS text[]))
    ORDER BY b.sku
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A budget as it stands, and the facts to compute it from."""

    facts: Facts
    now: datetime
    budget_units: int
    cap_seats: int | None
    taken_seats: int


async def read(session: AsyncSession, skus: Collection[str]) -> list[Standing]:
    """Return the facts of the existing budgets of `skus`, ascending.

    One statement, hence one moment: goods that move from inbound to stock are counted once.
    """
    connection = await session.connection()
    rows = await connection.execute(_FACTS, {"skus": sorted(set(skus))})
    return [_standing(row) for row in rows]


def _standing(row: Row[Any]) -> Standing:
    facts = Facts(
        sku=row.sku,
        claimed_units=row.claimed_units,
        ship_by_seconds=row.ship_by_seconds,
        safety_units=row.safety_units,
        max_excess_units=row.max_excess_units,
        moq_risk_accepted=row.moq_risk_accepted,
        stock=Stock(
            on_hand=row.on_hand, held=row.held, reserved=row.reserved, disputed=row.disputed
        ),
        inbound=[Inbound(**_timed(line, "promised_at")) for line in row.inbound],
        capabilities=[Capability(**_timed(line, "valid_to")) for line in row.capabilities],
    )
    return Standing(
        facts=facts,
        now=row.now,
        budget_units=row.budget_units,
        cap_seats=row.cap_seats,
        taken_seats=row.taken_seats,
    )


def _timed(line: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a row that went through JSON with its time as a time again."""
    moment = line[name]
    return {**line, name: None if moment is None else datetime.fromisoformat(moment)}
