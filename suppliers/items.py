"""What a supplier says of its own price list and capacity: a new version of the agreement."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.clock import business_now
from kit.errors import Unprocessable
from suppliers.agreements import Agreement, agreement_of, save_agreements


class ItemRefused(Unprocessable):
    """The supplier does not sell that to us, or its terms contradict themselves."""

    code = "supplier.item_refused"


async def change_prices(
    session: AsyncSession,
    supplier: str,
    sku: str,
    *,
    breaks: Sequence[tuple[int, int]],
    valid_from: datetime,
) -> None:
    """Let a new price list, of (from units, fen), hold from `valid_from` on, at the earliest now.

    Raises:
        ItemRefused: there is no agreement, or the list is empty or out of order.
    """
    ascending = all(lower[0] < upper[0] for lower, upper in pairwise(breaks))
    if not breaks or not ascending or any(units < 1 or fen < 1 for units, fen in breaks):
        raise ItemRefused(f"{sku}: a price list ascends and its prices are above 0")
    agreement = await _valid(session, supplier, sku)
    start = max(valid_from, await business_now(session))
    await save_agreements(session, [replace(agreement, tiers=tuple(breaks))], now=start)


async def change_capacity(
    session: AsyncSession, supplier: str, sku: str, *, capacity_per_day: int
) -> None:
    """Let another capacity hold from now on.

    Raises:
        ItemRefused: there is no agreement, or the capacity is negative.
    """
    if capacity_per_day < 0:
        raise ItemRefused(f"{sku}: a capacity is not negative")
    agreement = await _valid(session, supplier, sku)
    changed = replace(agreement, capacity_per_day=capacity_per_day)
    await save_agreements(session, [changed], now=await business_now(session))


async def _valid(session: AsyncSession, supplier: str, sku: str) -> Agreement:
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "SELECT a.*, (SELECT jsonb_agg(jsonb_build_array(t.min_units, t.unit_price_fen)"
                "  ORDER BY t.min_units) FROM price_tier t WHERE t.agreement_id = a.id) AS tiers"
                " FROM supply_agreement a WHERE a.supplier = :supplier AND a.sku = :sku"
                " AND (a.valid_to IS NULL OR a.valid_to > kit_now())"
                " ORDER BY a.version DESC LIMIT 1"
            ),
            {"supplier": supplier, "sku": sku},
        )
    ).one_or_none()
    if row is None:
        raise ItemRefused(f"{supplier} has no agreement for {sku}")
    return agreement_of(row)
