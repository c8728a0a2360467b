"""Saves suppliers and their agreements: changed terms are a new version, the old one ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id
from kit.upserts import Saved, upsert
from suppliers.tables import PriceMode, PriceTier, Supplier, SupplyAgreement


class Pair(NamedTuple):
    """Who sells what."""

    supplier: str
    sku: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Terms of one supplier for one SKU, as the supplier offers them."""

    supplier: str
    sku: str
    moq: int
    pack: int
    max_units: int | None
    capacity_per_day: int
    lead_days: int
    hard_safety_days: int
    soft_safety_days: int
    cancel_window_hours: int
    price_mode: PriceMode
    committed_units: int | None
    allowance_bp: int
    tiers: tuple[tuple[int, int], ...]  # (from units, unit price in fen), ascending

    @property
    def pair(self) -> Pair:
        return Pair(self.supplier, self.sku)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAgreements:
    """What became of agreements."""

    added: frozenset[Pair]
    changed: frozenset[Pair]
    ended: frozenset[Pair]

    @property
    def touched(self) -> frozenset[Pair]:
        return self.added | self.changed | self.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    id: UUID
    version: int  # the highest there ever was
    released_units: int
    terms: Agreement | None  # None: every version has ended


async def save_suppliers(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> Saved:
    """Save suppliers by code; rows hold columns of `supplier`, times as text."""
    return await upsert(session, Supplier, rows, key=["code"])


async def save_agreements(
    session: AsyncSession,
    agreements: Sequence[Agreement],
    *,
    ended: Sequence[Pair] = (),
    now: datetime,
) -> SavedAgreements:
    """Make `agreements` the valid ones of their pairs from `now` on, and end those in `ended`.

    Equal terms are left alone. Purchase orders keep the version they were made under; a new
    version goes on counting the units that were released under the one before it.

    Args:
        now: business time.
    """
    current = await _current(session, [each.pair for each in agreements] + list(ended))
    before = {pair: found.terms for pair, found in current.items() if found.terms is not None}
    fresh = [each for each in agreements if before.get(each.pair) != each]
    over = [pair for pair in ended if pair in before]
    replaced = [each.pair for each in fresh if each.pair in before]
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE supply_agreement SET valid_to = CAST(:now AS timestamptz)"
            " WHERE id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"now": now, "ids": [current[pair].id for pair in (*replaced, *over)]},
    )
    await _insert(session, fresh, current=current, now=now)
    return SavedAgreements(
        added=frozenset(each.pair for each in fresh if each.pair not in before),
        changed=frozenset(replaced),
        ended=frozenset(over),
    )


async def skus_of(session: AsyncSession, suppliers: Sequence[str]) -> frozenset[str]:
    """Return the SKUs that suppliers have, or had, an agreement for."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT sku FROM supply_agreement"
            " WHERE supplier = ANY(CAST(:suppliers AS text[]))"
        ),
        {"suppliers": list(suppliers)},
    )
    return frozenset(row.sku for row in rows)


async def _current(session: AsyncSession, pairs: Sequence[Pair]) -> dict[Pair, _Current]:
    """Return the newest version of each pair, locked; `terms` are those of a valid one."""
    connection = await session.connection()
    wanted = {
        "suppliers": [pair.supplier for pair in pairs],
        "skus": [pair.sku for pair in pairs],
    }
    await connection.execute(
        text(
            "SELECT 1 FROM supply_agreement WHERE (supplier, sku) IN (SELECT * FROM"
            " unnest(CAST(:suppliers AS text[]), CAST(:skus AS text[])))"
            " ORDER BY supplier, sku, version FOR UPDATE"
        ),
        wanted,
    )
    rows = await connection.execute(
        text(
            "WITH newest AS (SELECT DISTINCT ON (a.supplier, a.sku) a.* FROM supply_agreement a"
            "  WHERE (a.supplier, a.sku) IN (SELECT * FROM"
            "   unnest(CAST(:suppliers AS text[]), CAST(:skus AS text[])))"
            "  ORDER BY a.supplier, a.sku, a.version DESC),"
            " ladder AS (SELECT t.agreement_id, jsonb_agg(jsonb_build_array("
            "   t.min_units, t.unit_price_fen) ORDER BY t.min_units) AS tiers"
            "  FROM price_tier t JOIN newest n ON n.id = t.agreement_id GROUP BY t.agreement_id)"
            " SELECT n.*, coalesce(l.tiers, '[]') AS tiers FROM newest n"
            " LEFT JOIN ladder l ON l.agreement_id = n.id"
        ),
        wanted,
    )
    return {
        Pair(row.supplier, row.sku): _Current(
            id=row.id,
            version=row.version,
            released_units=row.released_units,
            terms=None if row.valid_to is not None else agreement_of(row),
        )
        for row in rows
    }


def agreement_of(row: Row[Any]) -> Agreement:
    """Return the terms in a row of an agreement that carries its tiers."""
    return Agreement(
        supplier=row.supplier,
        sku=row.sku,
        moq=row.moq,
        pack=row.pack,
        max_units=row.max_units,
        capacity_per_day=row.capacity_per_day,
        lead_days=row.lead_days,
        hard_safety_days=row.hard_safety_days,
        soft_safety_days=row.soft_safety_days,
        cancel_window_hours=row.cancel_window_hours,
        price_mode=PriceMode(row.price_mode),
        committed_units=row.committed_units,
        allowance_bp=row.allowance_bp,
        tiers=tuple((min_units, price_fen) for min_units, price_fen in row.tiers or ()),
    )


async def _insert(
    session: AsyncSession,
    agreements: Sequence[Agreement],
    *,
    current: Mapping[Pair, _Current],
    now: datetime,
) -> None:
    ids = {each.pair: str(new_id()) for each in agreements}
    await upsert(
        session,
        SupplyAgreement,
        [
            {
                "id": ids[each.pair],
                "supplier": each.supplier,
                "sku": each.sku,
                "version": before.version + 1 if before else 1,
                "moq": each.moq,
                "pack": each.pack,
                "max_units": each.max_units,
                "capacity_per_day": each.capacity_per_day,
                "lead_days": each.lead_days,
                "hard_safety_days": each.hard_safety_days,
                "soft_safety_days": each.soft_safety_days,
                "cancel_window_hours": each.cancel_window_hours,
                "price_mode": each.price_mode.value,
                "committed_units": each.committed_units,
                "allowance_bp": each.allowance_bp,
                "released_units": before.released_units if before and before.terms else 0,
                "valid_from": now.isoformat(),
            }
            for each in agreements
            for before in (current.get(each.pair),)
        ],
        key=["id"],
    )
    await upsert(
        session,
        PriceTier,
        [
            {"agreement_id": ids[each.pair], "min_units": units, "unit_price_fen": price_fen}
            for each in agreements
            for units, price_fen in each.tiers
        ],
        key=["agreement_id", "min_units"],
    )
