"""What suppliers could still deliver in time, told to the seat budgets."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from inventory import budgets
from inventory.promises import CapabilityRow, put_capabilities
from kit.clock import business_now
from suppliers.offers import Company, Terms, read_companies, read_terms, smallest_order

_DAY_SECONDS = 86_400


def days_to_sell(terms: Terms, *, ship_by_seconds: int | None, now: datetime) -> int:
    """Return the days of capacity that may be promised; 0 when the supplier cannot help in time.

    Lead days and hard safety days must fit into what is promised to buyers; of what is left one
    day of production counts at least. A supplier that has just refused counts for nothing.

    >>> from datetime import UTC
    >>> from uuid import UUID
    >>> from suppliers.tables import PriceMode
    >>> tea = Terms(agreement_id=UUID(int=1), supplier="S", sku="tea", moq=1, pack=1,
    ...             max_units=None, capacity_per_day=9, lead_days=2, hard_safety_days=1,
    ...             price_mode=PriceMode.ALL_UNITS, commitment_left=None, valid_to=None,
    ...             breaks=(), open_units=0, resting_until=None)
    >>> now = datetime(2011, 12, 5, tzinfo=UTC)
    >>> [days_to_sell(tea, ship_by_seconds=days * 86_400, now=now) for days in (2, 3, 7)]
    [0, 1, 4]
    """
    if ship_by_seconds is None or terms.rests(now):
        return 0
    spare_days = ship_by_seconds // _DAY_SECONDS - terms.lead_days - terms.hard_safety_days
    if spare_days < 0:
        return 0
    days = max(spare_days, 1)
    if terms.commitment_left is not None and terms.capacity_per_day:
        days = min(days, terms.commitment_left // terms.capacity_per_day)
    return days


async def refresh(session: AsyncSession, skus: Collection[str] | None = None) -> int:
    """Work the capability rows out again; return how many changed.

    A pair whose agreement ended, or whose supplier was switched off, keeps its row with nothing
    to sell. What a supplier rejected is forgotten when its rest is over.

    Args:
        skus: None is every SKU.
    """
    now = await business_now(session)
    wanted = None if skus is None else sorted(skus)
    connection = await session.connection()
    budget_rows = await connection.execute(text("SELECT sku, ship_by_seconds FROM seat_budget"))
    ship_by = {row.sku: row.ship_by_seconds for row in budget_rows}
    companies = await read_companies(session)
    terms = await read_terms(session, wanted)
    now_rows, lost = await _kept(session, wanted)
    rows = {pair: replace(row, days_to_sell=0) for pair, row in now_rows.items()}
    for agreed in terms:
        row = _row(agreed, companies[agreed.supplier], ship_by=ship_by, now=now)
        if row is not None:
            rows[row.supplier, row.sku] = row
    changed = [row for pair, row in rows.items() if now_rows.get(pair) != row]
    rested = lost - {(row.supplier, row.sku) for row in terms if row.rests(now)}
    await put_capabilities(session, changed)
    await _forget_lost(session, rested)
    return len(changed)


async def _kept(
    session: AsyncSession, skus: list[str] | None
) -> tuple[dict[tuple[str, str], CapabilityRow], set[tuple[str, str]]]:
    """Return the rows as they are, and the pairs with rejected units."""
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT supplier, sku, capacity_per_day, days_to_sell, lead_days, moq_units, valid_to,"
            " lost_units FROM supply_capability"
            " WHERE CAST(:skus AS text[]) IS NULL OR sku = ANY(CAST(:skus AS text[]))"
        ),
        {"skus": skus},
    )
    rows: dict[tuple[str, str], CapabilityRow] = {}
    lost: set[tuple[str, str]] = set()
    for row in found:
        rows[row.supplier, row.sku] = CapabilityRow(
            supplier=row.supplier,
            sku=row.sku,
            capacity_per_day=row.capacity_per_day,
            days_to_sell=row.days_to_sell,
            lead_days=row.lead_days,
            moq_units=row.moq_units,
            valid_to=row.valid_to,
        )
        if row.lost_units:
            lost.add((row.supplier, row.sku))
    return rows, lost


async def _forget_lost(session: AsyncSession, pairs: Collection[tuple[str, str]]) -> None:
    if not pairs:
        return
    ordered = sorted(pairs)
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE supply_capability c SET lost_units = 0"
            " FROM unnest(CAST(:suppliers AS text[]), CAST(:skus AS text[])) AS r (supplier, sku)"
            " WHERE c.supplier = r.supplier AND c.sku = r.sku"
        ),
        {
            "suppliers": [supplier for supplier, _ in ordered],
            "skus": [sku for _, sku in ordered],
        },
    )
    await budgets.mark_dirty(session, {sku for _, sku in ordered})


def _row(
    terms: Terms, company: Company, *, ship_by: Mapping[str, int | None], now: datetime
) -> CapabilityRow | None:
    smallest = smallest_order(terms, min_order_value_fen=company.min_order_value_fen)
    if smallest is None:
        return None
    return CapabilityRow(
        supplier=terms.supplier,
        sku=terms.sku,
        capacity_per_day=terms.capacity_per_day,
        days_to_sell=days_to_sell(terms, ship_by_seconds=ship_by.get(terms.sku), now=now),
        lead_days=terms.lead_days + terms.hard_safety_days,
        moq_units=smallest,
        valid_to=terms.valid_to,
    )
