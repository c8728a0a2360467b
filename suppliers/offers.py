"""What each supplier sells of each SKU right now, read from its valid agreement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.money import share_bp
from optimizer.schema import Offer, PriceBreak
from optimizer.tiers import price_tiers
from suppliers.order_marks import REST
from suppliers.tables import PriceMode

DAY: Final = timedelta(days=1)
_ANY_UNITS: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One agreement that is valid now, and what it was used for already."""

    agreement_id: UUID
    supplier: str
    sku: str
    moq: int
    pack: int
    max_units: int | None
    capacity_per_day: int
    lead_days: int
    hard_safety_days: int
    price_mode: PriceMode
    commitment_left: int | None
    valid_to: datetime | None
    breaks: tuple[PriceBreak, ...]
    open_units: int  # ordered and still to come
    resting_until: datetime | None

    def offer(self, *, capacity_units: int) -> Offer:
        """Return the terms as the optimizer reads them."""
        return Offer(
            supplier=self.supplier,
            product=self.sku,
            scheme="incremental" if self.price_mode is PriceMode.INCREMENTAL else "all_units",
            moq=self.moq,
            pack=self.pack,
            capacity=capacity_units,
            breaks=self.breaks,
        )

    def capacity_units(self, *, days: int) -> int:
        """Return the most that one order may ask for when `days` of production can be used."""
        limits = [self.capacity_per_day * days - self.open_units]
        limits += [] if self.max_units is None else [self.max_units]
        limits += [] if self.commitment_left is None else [self.commitment_left]
        return max(min(limits), 0) // self.pack * self.pack

    def rests(self, now: datetime) -> bool:
        """Return whether it is too early to ask again after a refusal."""
        return self.resting_until is not None and now < self.resting_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A supplier's terms that hold for whole orders."""

    code: str
    timezone: str
    cut_off: time
    min_order_value_fen: int
    fixed_order_cost_fen: int
    spend_tiers: tuple[tuple[int, int], ...]  # (from fen, rebate in basis points), ascending
    freight_fen: Mapping[str, int]  # a unit, by warehouse; empty: everywhere, free
    price_tolerance_bp: int
    over_delivery_bp: int
    ack_sla_hours: int

    def order_day(self, now: datetime) -> datetime:
        """Return the moment from which lead days count for an order given now.

        Orders after the local cut-off count from the next day.
        """
        local = now.astimezone(ZoneInfo(self.timezone))
        return now if local.time() < self.cut_off else now + DAY

    def freight_to(self, warehouses: Sequence[str]) -> dict[str, int]:
        """Return the freight of a unit to those of the warehouses that are delivered to."""
        if not self.freight_fen:
            return dict.fromkeys(warehouses, 0)
        return {name: self.freight_fen[name] for name in warehouses if name in self.freight_fen}


def smallest_order(terms: Terms, *, min_order_value_fen: int) -> int | None:
    """Return the fewest units that can be ordered alone: MOQ, whole packs, minimum order value.

    None when not even the agreement's largest order reaches the minimum value.

    >>> from uuid import UUID
    >>> tea = Terms(agreement_id=UUID(int=1), supplier="S", sku="tea", moq=10, pack=4,
    ...             max_units=None, capacity_per_day=9, lead_days=1, hard_safety_days=0,
    ...             price_mode=PriceMode.ALL_UNITS, commitment_left=None, valid_to=None,
    ...             breaks=(PriceBreak(from_units=1, price=100),), open_units=0,
    ...             resting_until=None)
    >>> smallest_order(tea, min_order_value_fen=0), smallest_order(tea, min_order_value_fen=1300)
    (12, 16)
    """
    most = terms.max_units if terms.max_units is not None else _ANY_UNITS
    for tier in price_tiers(terms.offer(capacity_units=most), useful_units=most):
        needed = -(-(min_order_value_fen - tier.intercept) // tier.price)
        units = max(tier.lo, -(-needed // terms.pack) * terms.pack)
        if units <= tier.hi:
            return units
    return None


async def read_companies(session: AsyncSession) -> dict[str, Company]:
    """Return the active suppliers by code."""
    connection = await session.connection()
    rows = await connection.execute(text("SELECT * FROM supplier WHERE active ORDER BY code"))
    return {row.code: _company(row) for row in rows}


async def read_company(session: AsyncSession, code: str) -> Company:
    """Return one supplier, active or not."""
    connection = await session.connection()
    row = await connection.execute(
        text("SELECT * FROM supplier WHERE code = :code"), {"code": code}
    )
    return _company(row.one())


def _company(row: Row[Any]) -> Company:
    return Company(
        code=row.code,
        timezone=row.timezone,
        cut_off=row.cut_off,
        min_order_value_fen=row.min_order_value_fen,
        fixed_order_cost_fen=row.fixed_order_cost_fen,
        spend_tiers=tuple(
            sorted((tier["min_spend_fen"], tier["rebate_bp"]) for tier in row.spend_tiers)
        ),
        freight_fen=row.freight_fen,
        price_tolerance_bp=row.price_tolerance_bp,
        over_delivery_bp=row.over_delivery_bp,
        ack_sla_hours=row.ack_sla_hours,
    )


async def read_terms(session: AsyncSession, skus: Sequence[str] | None = None) -> list[Terms]:
    """Return the agreements of active suppliers that are valid now, latest version of each pair.

    Args:
        skus: None is every SKU.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "WITH valid AS (SELECT DISTINCT ON (a.supplier, a.sku) a.*"
            "  FROM supply_agreement a JOIN supplier s ON s.code = a.supplier AND s.active"
            "  WHERE a.valid_from <= kit_now() AND (a.valid_to IS NULL OR a.valid_to > kit_now())"
            "  AND (CAST(:skus AS text[]) IS NULL OR a.sku = ANY(CAST(:skus AS text[])))"
            "  ORDER BY a.supplier, a.sku, a.version DESC),"
            " used AS (SELECT p.supplier, l.sku, sum(l.unanswered_units + l.open_units) AS units"
            "  FROM purchase_order_line l JOIN purchase_order p ON p.id = l.po_id"
            "  WHERE l.unanswered_units + l.open_units > 0 GROUP BY p.supplier, l.sku),"
            " refused AS (SELECT p.supplier, l.sku, max(p.rest_until) AS rest_until"
            "  FROM purchase_order p JOIN purchase_order_line l ON l.po_id = p.id"
            "  WHERE p.rest_until > kit_now() AND l.rejected_units + l.cancelled_units > 0"
            "  GROUP BY p.supplier, l.sku)"
            " SELECT v.*, coalesce(u.units, 0) AS used_units, r.rest_until,"
            " (SELECT jsonb_agg(jsonb_build_array(t.min_units, t.unit_price_fen)"
            "  ORDER BY t.min_units) FROM price_tier t WHERE t.agreement_id = v.id) AS breaks"
            " FROM valid v LEFT JOIN used u USING (supplier, sku)"
            " LEFT JOIN refused r USING (supplier, sku) ORDER BY v.supplier, v.sku"
        ),
        {"skus": None if skus is None else list(skus)},
    )
    return [
        Terms(
            agreement_id=row.id,
            supplier=row.supplier,
            sku=row.sku,
            moq=row.moq,
            pack=row.pack,
            max_units=row.max_units,
            capacity_per_day=row.capacity_per_day,
            lead_days=row.lead_days,
            hard_safety_days=row.hard_safety_days,
            price_mode=PriceMode(row.price_mode),
            commitment_left=_commitment_left(
                row.committed_units, allowance_bp=row.allowance_bp, released=row.released_units
            ),
            valid_to=row.valid_to,
            breaks=tuple(PriceBreak(from_units=n, price=fen) for n, fen in row.breaks),
            open_units=row.used_units,
            resting_until=_resting_until(row.rest_until, agreed_at=row.valid_from),
        )
        for row in rows
        if row.breaks
    ]


def _commitment_left(committed: int | None, *, allowance_bp: int, released: int) -> int | None:
    if committed is None:
        return None
    return max(committed + share_bp(committed, basis_points=allowance_bp) - released, 0)


def _resting_until(rest_until: datetime | None, *, agreed_at: datetime) -> datetime | None:
    """Return the end of the rest after a refusal; newer terms are a new start."""
    if rest_until is None or rest_until - REST < agreed_at:
        return None
    return rest_until
