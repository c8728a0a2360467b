"""What the rooms save of a catalogue document: their rows and terms, made of its parts."""

from collections.abc import Sequence
from typing import Any

from groups import campaigns
from groups.states import LatePayment, Mode
from logistics.geography import CAPITALS
from operations.catalogue_document import (
    ANYWHERE,
    Campaign,
    Carrier,
    Catalogue,
    Supplier,
    Warehouse,
)
from suppliers.agreements import Agreement, Pair


def lane_rows(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the lanes province by province; '*' means those that its carrier does not name."""
    named: dict[str, set[str]] = {}
    for lane in warehouse.lanes:
        named.setdefault(lane.carrier, set()).update(lane.provinces)
    return [
        {
            "warehouse": warehouse.code,
            "province": province,
            **lane.model_dump(exclude={"provinces"}),
        }
        for lane in warehouse.lanes
        for entry in lane.provinces
        for province in (
            [code for code in CAPITALS if code not in named[lane.carrier]]
            if entry == ANYWHERE
            else [entry]
        )
    ]


def supplier_row(supplier: Supplier) -> dict[str, Any]:
    """Return a supplier's row."""
    columns = supplier.model_dump(exclude={"endpoint", "agreements"})
    if supplier.spend_tiers and supplier.spend_tiers[0].min_spend_fen > 0:
        # The ladder begins where nothing is earned yet.
        columns["spend_tiers"] = [{"min_spend_fen": 0, "rebate_bp": 0}, *columns["spend_tiers"]]
    return columns


def agreements_of(catalogue: Catalogue) -> tuple[list[Agreement], list[Pair]]:
    """Return the agreements that shall be valid, and the pairs whose agreement ends."""
    valid, ended = [], []
    for supplier in catalogue.suppliers:
        for each in supplier.agreements:
            if each.ended:
                ended.append(Pair(supplier.code, each.sku))
                continue
            tiers = tuple((tier.min_units, tier.unit_price_fen) for tier in each.tiers)
            columns = each.model_dump(exclude={"ended", "tiers"})
            valid.append(Agreement(supplier=supplier.code, tiers=tiers, **columns))
    return valid, ended


def campaign_terms(campaign: Campaign) -> campaigns.CampaignTerms:
    """Return a campaign's terms with the defaults that follow from its mode."""
    assert campaign.upfront_fen is not None  # noqa: S101 - a broken rule otherwise
    columns = campaign.model_dump(exclude={"code", "sku", "state"})
    columns |= {
        "mode": Mode(campaign.mode),
        "late_payment_policy": LatePayment(campaign.late_payment_policy),
        "min_size": campaign.first_members,
        "price_fen": campaign.upfront_fen,
        "tiers": tuple((step.members, step.price_fen) for step in campaign.tiers),
    }
    return campaigns.CampaignTerms(
        code=campaign.code,
        sku=campaign.sku,
        state=campaign.state,
        terms=campaigns.Terms(**columns),
    )


def endpoint_rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return where companies are called; their secrets are none of the document's business."""
    sections: Sequence[tuple[str, Sequence[Supplier | Warehouse | Carrier]]] = (
        ("suppliers", catalogue.suppliers),
        ("warehouses", catalogue.warehouses),
        ("carriers", catalogue.carriers),
    )
    return [
        {"kind": kind, "code": company.code, "url": company.endpoint.url}
        for kind, companies in sections
        for company in companies
        if company.endpoint is not None
    ]
