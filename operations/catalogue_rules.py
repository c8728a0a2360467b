"""What must be true between the fields of a catalogue, and between it and what is known already."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final, TypeVar

from groups.campaigns import SavedCampaign
from groups.compliance import list_price_allowed
from operations.catalogue_document import (
    ANYWHERE,
    Agreement,
    Campaign,
    CampaignMode,
    Catalogue,
    Supplier,
    Warehouse,
)

Place = tuple[str | int, ...]
Broken = tuple[Place, str]
Entry = TypeVar("Entry")

# A municipality or province and its cities share the first two digits of their adcodes.
_PROVINCE_DIGITS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the database knows of the things that a document refers to."""

    skus: Collection[str] = ()
    warehouses: Collection[str] = ()
    carriers: Collection[str] = ()
    campaigns: Mapping[str, SavedCampaign]
    median_unit_fen: Mapping[str, Decimal]
    """Median selling price of a unit in the last 30 days, by SKU; none sold, no entry."""


def broken_rules(catalogue: Catalogue, known: Known) -> list[Broken]:
    """Return every place that breaks a rule, with the rule in words."""
    return [
        *_twice(catalogue),
        *_network_references(catalogue, known),
        *_product_references(catalogue, known),
        *_each(catalogue.warehouses, "warehouses", _warehouse),
        *_each(catalogue.suppliers, "suppliers", _supplier),
        *_each(catalogue.campaigns, "campaigns", _campaign),
        *_campaign_history(catalogue, known),
    ]


def _each(
    entries: Sequence[Entry], section: str, rules: Callable[[Entry, Place], Iterator[Broken]]
) -> Iterator[Broken]:
    for number, entry in enumerate(entries):
        yield from rules(entry, (section, number))


def _twice(catalogue: Catalogue) -> Iterator[Broken]:
    yield from _repeats(("products",), "sku", [each.sku for each in catalogue.products])
    for section in ("carriers", "warehouses", "suppliers", "campaigns"):
        codes = [each.code for each in getattr(catalogue, section)]
        yield from _repeats((section,), "code", codes)
    for number, supplier in enumerate(catalogue.suppliers):
        place = ("suppliers", number, "agreements")
        yield from _repeats(place, "sku", [each.sku for each in supplier.agreements])


def _repeats(place: Place, field: str, names: Sequence[str]) -> Iterator[Broken]:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if name in first:
            rule = f"{name} stands twice: also in {'.'.join(map(str, place))}[{first[name]}]"
            yield (*place, number, field), rule
        first.setdefault(name, number)


def _network_references(catalogue: Catalogue, known: Known) -> Iterator[Broken]:
    carriers = {each.code for each in catalogue.carriers} | set(known.carriers)
    warehouses = {each.code for each in catalogue.warehouses} | set(known.warehouses)
    for number, warehouse in enumerate(catalogue.warehouses):
        for index, lane in enumerate(warehouse.lanes):
            if lane.carrier not in carriers:
                place = ("warehouses", number, "lanes", index, "carrier")
                yield place, f"there is no carrier {lane.carrier}"
    for number, supplier in enumerate(catalogue.suppliers):
        for code in supplier.freight_fen:
            if code not in warehouses:
                yield ("suppliers", number, "freight_fen", code), f"there is no warehouse {code}"


def _product_references(catalogue: Catalogue, known: Known) -> Iterator[Broken]:
    skus = {each.sku for each in catalogue.products} | set(known.skus)
    for number, supplier in enumerate(catalogue.suppliers):
        for index, agreement in enumerate(supplier.agreements):
            if agreement.sku not in skus:
                place = ("suppliers", number, "agreements", index, "sku")
                yield place, f"there is no product {agreement.sku}"
    for number, campaign in enumerate(catalogue.campaigns):
        if campaign.sku not in skus:
            yield ("campaigns", number, "sku"), f"there is no product {campaign.sku}"


def _warehouse(warehouse: Warehouse, at: Place) -> Iterator[Broken]:
    if warehouse.city[:_PROVINCE_DIGITS] != warehouse.province[:_PROVINCE_DIGITS]:
        rule = f"{warehouse.city} is not in the province {warehouse.province}"
        yield (*at, "city"), rule
    seen: dict[tuple[str, str], int] = {}
    for index, lane in enumerate(warehouse.lanes):
        for number, province in enumerate(lane.provinces):
            first = seen.setdefault((lane.carrier, province), index)
            if first != index or lane.provinces.index(province) != number:
                place = (*at, "lanes", index, "provinces", number)
                name = "all other provinces" if province == ANYWHERE else province
                yield place, f"{lane.carrier} has a lane to {name} already, in lanes[{first}]"


def _supplier(supplier: Supplier, at: Place) -> Iterator[Broken]:
    spend = [tier.min_spend_fen for tier in supplier.spend_tiers]
    yield from _ascends((*at, "spend_tiers"), "min_spend_fen", spend)
    for index, agreement in enumerate(supplier.agreements):
        yield from _agreement(agreement, (*at, "agreements", index))


def _agreement(agreement: Agreement, at: Place) -> Iterator[Broken]:
    most = agreement.max_units
    if most is not None and agreement.moq > most:
        yield (*at, "moq"), f"the MOQ {agreement.moq} is above max_units {most}"
    for field, units in (("moq", agreement.moq), ("max_units", most)):
        if units is not None and units % agreement.pack:
            yield (*at, field), f"{units} is not a multiple of the pack of {agreement.pack}"
    first = agreement.tiers[0].min_units
    if first != agreement.moq:
        place = (*at, "tiers", 0, "min_units")
        yield place, f"the first tier starts at the MOQ {agreement.moq}, not at {first}"
    tiers = agreement.tiers
    yield from _ascends((*at, "tiers"), "min_units", [tier.min_units for tier in tiers])
    prices = [tier.unit_price_fen for tier in tiers]
    yield from _ordered(
        (*at, "tiers"),
        "unit_price_fen",
        prices,
        lambda low, high: low >= high,
        "a larger quantity does not cost more per unit",
    )
    if most is not None and tiers[-1].min_units > most:
        place = (*at, "tiers", len(tiers) - 1, "min_units")
        yield place, f"no order reaches {tiers[-1].min_units} units: max_units is {most}"
    if agreement.allowance_bp and agreement.committed_units is None:
        yield (*at, "allowance_bp"), "an allowance belongs to committed_units, which is missing"


def _campaign(campaign: Campaign, at: Place) -> Iterator[Broken]:
    if campaign.upfront_fen is None:
        yield (*at, "price_fen"), "a price is missing"
    elif campaign.list_price_fen < campaign.upfront_fen:
        rule = f"the list price is below the price of {campaign.upfront_fen} fen"
        yield (*at, "list_price_fen"), rule
    if campaign.mode is CampaignMode.FIXED:
        yield from _fixed(campaign, at)
    else:
        yield from _tiered(campaign, at)


def _fixed(campaign: Campaign, at: Place) -> Iterator[Broken]:
    if campaign.tiers:
        yield (*at, "tiers"), "only a tiered campaign has price steps"
    if campaign.min_size not in {None, campaign.capacity}:
        yield (*at, "min_size"), f"a fixed group completes at its capacity of {campaign.capacity}"


def _tiered(campaign: Campaign, at: Place) -> Iterator[Broken]:
    steps = campaign.tiers
    if not steps:
        yield (*at, "tiers"), "a tiered campaign has price steps"
        return
    if steps[0].members != campaign.first_members:
        place = (*at, "tiers", 0, "members")
        yield place, f"the first step starts at min_size {campaign.first_members}"
    if steps[0].price_fen != campaign.upfront_fen:
        place = (*at, "tiers", 0, "price_fen")
        yield place, f"the first step costs what is paid up front, {campaign.upfront_fen} fen"
    yield from _ascends((*at, "tiers"), "members", [step.members for step in steps])
    prices = [step.price_fen for step in steps]
    yield from _ordered(
        (*at, "tiers"),
        "price_fen",
        prices,
        lambda low, high: low > high,
        "each step is cheaper than the one before it",
    )
    if steps[-1].members > campaign.capacity:
        place = (*at, "tiers", len(steps) - 1, "members")
        yield place, f"no group reaches {steps[-1].members} members: capacity {campaign.capacity}"


def _campaign_history(catalogue: Catalogue, known: Known) -> Iterator[Broken]:
    """Yield what the past forbids; a campaign that stays as it is was judged before."""
    for number, campaign in enumerate(catalogue.campaigns):
        at: Place = ("campaigns", number)
        before = known.campaigns.get(campaign.code)
        if before is not None and before.sku != campaign.sku:
            rule = f"{campaign.code} sells {before.sku}; end it and make another campaign"
            yield (*at, "sku"), rule
        price_fen = campaign.upfront_fen
        if price_fen is None or _same_prices(campaign, before):
            continue
        median = known.median_unit_fen.get(campaign.sku)
        reference = Decimal(price_fen) if median is None else median * campaign.units_per_seat
        if not list_price_allowed(campaign.list_price_fen, reference_fen=reference):
            said = "the price it sells at" if median is None else "the 30-day median price"
            rule = f"a list price stays below 130 % of {said}, {reference.normalize():f} fen"
            yield (*at, "list_price_fen"), rule


def _same_prices(campaign: Campaign, before: SavedCampaign | None) -> bool:
    if before is None:
        return False
    now = (campaign.list_price_fen, campaign.upfront_fen, campaign.units_per_seat)
    terms = before.terms
    return now == (terms.list_price_fen, terms.price_fen, terms.units_per_seat)


def _ascends(place: Place, field: str, values: Iterable[int]) -> Iterator[Broken]:
    return _ordered(
        place, field, values, lambda low, high: low < high, "steps ascend, each from a new number"
    )


def _ordered(
    place: Place,
    field: str,
    values: Iterable[int],
    fits: Callable[[int, int], bool],
    rule: str,
) -> Iterator[Broken]:
    for number, (before, value) in enumerate(pairwise(values), start=1):
        if not fits(before, value):
            yield (*place, number, field), f"{value} follows {before}: {rule}"
