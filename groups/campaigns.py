"""Saves campaigns: a change of terms is a new version, and running groups keep theirs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.compliance import REFERENCE_DAYS
from groups.states import CampaignState, LatePayment, Mode, WarehousePolicy
from groups.tables import Campaign, CampaignVersion
from kit.ids import new_id
from kit.upserts import upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one version of a campaign says."""

    title: str
    mode: Mode
    capacity: int
    min_size: int
    window_seconds: int
    seat_ttl_seconds: int
    per_user_limit: int
    seat_cap: int | None
    units_per_seat: int
    list_price_fen: int
    price_fen: int
    tiers: tuple[tuple[int, int], ...]  # (members, price in fen), ascending in members
    late_payment_policy: LatePayment
    warehouse_policy: WarehousePolicy
    ship_within_seconds: int
    terms: str


_NAMES: Final = tuple(field.name for field in fields(Terms))


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTerms:
    """A campaign as it should be."""

    code: str
    sku: str
    state: CampaignState
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCampaign:
    """A campaign as it is, with its current terms."""

    id: UUID
    code: str
    sku: str
    state: CampaignState
    version: int
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCampaigns:
    """Codes of campaigns that are new, and of those whose terms or state changed."""

    added: frozenset[str]
    changed: frozenset[str]


async def current(session: AsyncSession, codes: Collection[str]) -> dict[str, SavedCampaign]:
    """Return the campaigns of these codes with their current terms."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT v.*, c.id, c.code, c.sku, c.state FROM campaign c"
            " JOIN campaign_version v ON v.campaign_id = c.id AND v.version = c.version"
            " WHERE c.code = ANY(CAST(:codes AS text[]))"
        ),
        {"codes": list(codes)},
    )
    return {
        row.code: SavedCampaign(
            id=row.id,
            code=row.code,
            sku=row.sku,
            state=CampaignState(row.state),
            version=row.version,
            terms=_terms(row),
        )
        for row in rows
    }


def _terms(row: Row[Any]) -> Terms:
    values = {name: getattr(row, name) for name in _NAMES}
    values |= {
        "mode": Mode(row.mode),
        "late_payment_policy": LatePayment(row.late_payment_policy),
        "warehouse_policy": WarehousePolicy(row.warehouse_policy),
        "tiers": tuple((step["members"], step["price_fen"]) for step in row.tiers),
    }
    return Terms(**values)


async def save(
    session: AsyncSession,
    campaigns: Sequence[CampaignTerms],
    *,
    before: Mapping[str, SavedCampaign],
) -> SavedCampaigns:
    """Save campaigns by code; equal ones are left alone.

    Args:
        before: `current` of the same codes, read in this transaction by its only writer.
    """
    added = [each for each in campaigns if each.code not in before]
    kept = [(each, before[each.code]) for each in campaigns if each.code in before]
    changed = [
        (each, old) for each, old in kept if (each.terms, each.state) != (old.terms, old.state)
    ]
    heads = [(each, new_id(), 1) for each in added]
    heads += [(each, old.id, old.version + (each.terms != old.terms)) for each, old in changed]
    await upsert(
        session,
        Campaign,
        [
            {
                "id": str(campaign_id),
                "code": each.code,
                "sku": each.sku,
                "state": each.state.value,
                "version": version,
            }
            for each, campaign_id, version in heads
        ],
        key=["id"],
    )
    await upsert(
        session,
        CampaignVersion,
        [
            {"campaign_id": str(campaign_id), "version": version, **_columns(each.terms)}
            for each, campaign_id, version in heads
        ],
        key=["campaign_id", "version"],
    )
    return SavedCampaigns(
        added=frozenset(each.code for each in added),
        changed=frozenset(each.code for each, _ in changed),
    )


def _columns(terms: Terms) -> dict[str, Any]:
    columns = {name: getattr(terms, name) for name in _NAMES}
    columns["tiers"] = [
        {"members": members, "price_fen": price_fen} for members, price_fen in terms.tiers
    ]
    return columns


async def median_unit_prices(session: AsyncSession, skus: Collection[str]) -> dict[str, Decimal]:
    """Return the median price in fen at which a unit of each SKU sold in the last 30 days."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT sku, percentile_disc(0.5) WITHIN GROUP"
            " (ORDER BY amount_fen::numeric / units) AS median_fen FROM buyer_order"
            " WHERE sku = ANY(CAST(:skus AS text[]))"
            " AND paid_at >= kit_now() - :days * interval '1 day' GROUP BY sku"
        ),
        {"skus": list(skus), "days": REFERENCE_DAYS},
    )
    return {row.sku: row.median_fen for row in rows}
