"""Builders of supply terms and needs for tests without a database."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from optimizer.schema import PriceBreak
from suppliers.needs import Bundle, Missing, UncoveredNeed
from suppliers.offers import Company, Terms
from suppliers.problems import SkuDemand, Ware
from suppliers.tables import PriceMode

NOW = datetime(2011, 12, 5, 4, 0, tzinfo=UTC)  # noon in Shanghai
WAYS: Mapping[str, Mapping[str, int]] = {
    "31": {"east": 800, "north": 1200},
    "11": {"north": 700, "east": 1500},
}
SHIP_BY = NOW + timedelta(days=5)


def need(
    number: int,
    *,
    group: int | None = None,
    sku: str = "tea",
    units: int = 1,
    province: str = "31",
    whole: bool = True,
    ship_by: datetime = SHIP_BY,
) -> UncoveredNeed:
    """Make an uncovered order; without a group it is alone in its own."""
    return UncoveredNeed(
        order_id=UUID(int=number),
        group_id=UUID(int=1000 + (number if group is None else group)),
        sku=sku,
        units=units,
        ways=WAYS.get(province, {}),
        ship_by=ship_by,
        whole=whole,
    )


def missing(number: int, units: int, *, sku: str = "tea", warehouse: str = "east") -> Missing:
    """Make an order whose units must all be bought."""
    order = need(number, sku=sku, units=units)
    return Missing(bundle=Bundle(sku=sku, orders=(order,)), warehouse=warehouse, units=units)


def terms(
    supplier: str = "jade",
    *,
    sku: str = "tea",
    moq: int = 1,
    pack: int = 1,
    capacity_per_day: int = 1000,
    lead_days: int = 2,
    hard_safety_days: int = 0,
    price_mode: PriceMode = PriceMode.ALL_UNITS,
    breaks: tuple[tuple[int, int], ...] = ((1, 1000),),
    max_units: int | None = None,
    commitment_left: int | None = None,
    open_units: int = 0,
    resting_until: datetime | None = None,
) -> Terms:
    """Make an agreement."""
    return Terms(
        agreement_id=UUID(int=sum(map(ord, supplier + sku))),
        supplier=supplier,
        sku=sku,
        moq=moq,
        pack=pack,
        max_units=max_units,
        capacity_per_day=capacity_per_day,
        lead_days=lead_days,
        hard_safety_days=hard_safety_days,
        price_mode=price_mode,
        commitment_left=commitment_left,
        valid_to=None,
        breaks=tuple(PriceBreak(from_units=units, price=price) for units, price in breaks),
        open_units=open_units,
        resting_until=resting_until,
    )


def company(
    code: str = "jade",
    *,
    min_order_value_fen: int = 0,
    fixed_order_cost_fen: int = 0,
    freight_fen: Mapping[str, int] | None = None,
) -> Company:
    """Make a supplier with a cut-off at 17:00 in Shanghai."""
    return Company(
        code=code,
        timezone="Asia/Shanghai",
        cut_off=time(17, 0),
        min_order_value_fen=min_order_value_fen,
        fixed_order_cost_fen=fixed_order_cost_fen,
        spend_tiers=(),
        freight_fen=freight_fen or {},
        price_tolerance_bp=0,
        over_delivery_bp=0,
        ack_sla_hours=24,
    )


def demand(
    *rows: Missing,
    offers: tuple[Terms, ...],
    max_excess: int = 0,
    safety: int = 0,
    moq_risk: bool = False,
    leftover: int = 0,
    forming: tuple[tuple[int, int], ...] = (),
) -> SkuDemand:
    """Make what is known of one SKU that must be bought."""
    return SkuDemand(
        ware=Ware(
            sku=offers[0].sku if offers else "tea",
            weight_grams=500,
            holding_fen=10,
            writeoff_fen=0,
            max_excess_units=max_excess,
            safety_units=safety,
            moq_risk_accepted=moq_risk,
        ),
        missing=rows,
        forming=forming,
        leftover=leftover,
        terms=offers,
    )
