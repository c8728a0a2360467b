"""A product with everything that decides its plan: sites, optional units, priced offers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from optimizer.evaluate import forming_cost_e4, purchase_cost, tier_start
from optimizer.schema import (
    E4,
    Coverage,
    Offer,
    OrderLine,
    ProcurementPlan,
    ProcurementProblem,
    Product,
    Shipment,
)
from optimizer.tiers import Tier, price_tiers
from optimizer.transport import ship

EXCESS: Final = -1
"""Position of the slot that is not a forming segment but plain excess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Optional units at a site and what covering one of them costs (e4, may be negative)."""

    cost_e4: int
    units: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One warehouse that demands the product; `slots` from the cheapest to the dearest."""

    warehouse: str
    must: int
    slots: tuple[Slot, ...]

    @property
    def most(self) -> int:
        return self.must + sum(slot.units for slot in self.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedOffer:
    """An offer reduced to useful quantities; `freight` is aligned with the product's sites."""

    offer: Offer
    tiers: tuple[Tier, ...]
    freight: tuple[int | None, ...]

    @property
    def most(self) -> int:
        return self.tiers[-1].hi


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductNeed:
    """One product, its sites and the offers that can serve them."""

    product: Product
    sites: tuple[Site, ...]
    offers: tuple[PricedOffer, ...]

    @property
    def must(self) -> int:
        return sum(site.must for site in self.sites)

    @property
    def most(self) -> int:
        return sum(site.most for site in self.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPlan:
    """Units per offer of one product, where they go and what that costs without rebates.

    `cost_e4` holds purchase, freight, excess and forming; `purchases` cents per offer.
    """

    units: tuple[int, ...]
    purchases: tuple[int, ...]
    cost_e4: int
    shipments: tuple[tuple[int, ...], ...]
    covered: tuple[tuple[int, ...], ...]


def product_needs(
    problem: ProcurementProblem, *, beyond_useful: bool = False
) -> tuple[ProductNeed, ...]:
    """Return one need per product, in the order of the problem.

    `beyond_useful` keeps for every offer the smallest quantity its supplier accepts, even where
    the sites could not hold it: what an explanation of the impossible has to look at.
    """
    lanes = {supplier.id: supplier.freight_per_unit for supplier in problem.suppliers}
    products = {product.id: product for product in problem.products}
    sites: dict[str, list[Site]] = {name: [] for name in products}
    for demand in problem.demands:
        product = products[demand.product]
        slots = [
            Slot(cost_e4=forming_cost_e4(product, segment), units=segment.units, position=at)
            for at, segment in enumerate(demand.forming)
        ]
        excess = (product.holding_cost + product.writeoff_cost) * E4
        slots.append(Slot(cost_e4=excess, units=product.max_excess, position=EXCESS))
        slots.sort(key=lambda slot: slot.cost_e4)
        sites[demand.product].append(
            Site(
                warehouse=demand.warehouse,
                must=demand.must,
                slots=tuple(slot for slot in slots if slot.units),
            )
        )
    offers: dict[str, list[PricedOffer]] = {name: [] for name in products}
    for offer in problem.offers:
        served = [lanes[offer.supplier].get(site.warehouse) for site in sites[offer.product]]
        useful = sum(
            site.most
            for site, freight in zip(sites[offer.product], served, strict=True)
            if freight is not None
        )
        if beyond_useful:
            smallest = max(offer.moq, offer.breaks[0].from_units)
            useful = max(useful, -(-smallest // offer.pack) * offer.pack)
            useful = -(-useful // offer.pack) * offer.pack
        tiers = price_tiers(offer, useful_units=useful)
        if tiers:
            offers[offer.product].append(
                PricedOffer(offer=offer, tiers=tiers, freight=tuple(served))
            )
    return tuple(
        ProductNeed(product=product, sites=tuple(sites[name]), offers=tuple(offers[name]))
        for name, product in products.items()
    )


def cheapest_unit_price(need: ProductNeed) -> float:
    """Return the lowest average price in cents that any offer reaches; 0 without offers."""
    return min(
        (tier.price + tier.intercept / tier.hi for priced in need.offers for tier in priced.tiers),
        default=0.0,
    )


def plan_product(need: ProductNeed, units: Sequence[int]) -> ProductPlan | None:
    """Return the cheapest way to place `units` per offer, or None when they cannot be placed.

    None also when a quantity is one that its supplier does not accept.
    """
    for quantity, priced in zip(units, need.offers, strict=True):
        if quantity and not any(
            tier.lo <= quantity <= tier.hi and quantity % priced.offer.pack == 0
            for tier in priced.tiers
        ):
            return None
    placed = ship(
        supplies=units,
        freight=[priced.freight for priced in need.offers],
        musts=[site.must for site in need.sites],
        slots=[[(slot.cost_e4, slot.units) for slot in site.slots] for site in need.sites],
    )
    if placed is None:
        return None
    purchases = tuple(
        purchase_cost(priced.offer, units=quantity)
        for quantity, priced in zip(units, need.offers, strict=True)
    )
    return ProductPlan(
        units=tuple(units),
        purchases=purchases,
        cost_e4=sum(purchases) * E4 + placed.cost_e4,
        shipments=placed.shipments,
        covered=placed.covered,
    )


def assemble(
    problem: ProcurementProblem, plans: Mapping[str, tuple[ProductNeed, ProductPlan]]
) -> ProcurementPlan:
    """Return the purchase plan made of one product plan per product id."""
    orders: list[OrderLine] = []
    coverage: list[Coverage] = []
    segments = {(row.product, row.warehouse): len(row.forming) for row in problem.demands}
    for name, (need, plan) in plans.items():
        for index, priced in enumerate(need.offers):
            if not plan.units[index]:
                continue
            orders.append(
                OrderLine(
                    supplier=priced.offer.supplier,
                    product=name,
                    units=plan.units[index],
                    tier_from=tier_start(priced.offer, units=plan.units[index]),
                    purchase_cost=plan.purchases[index],
                    shipments=tuple(
                        Shipment(warehouse=site.warehouse, units=shipped)
                        for site, shipped in zip(need.sites, plan.shipments[index], strict=True)
                        if shipped
                    ),
                )
            )
        for site, covered in zip(need.sites, plan.covered, strict=True):
            by_position = {
                slot.position: units for slot, units in zip(site.slots, covered, strict=True)
            }
            count = segments[name, site.warehouse]
            coverage.append(
                Coverage(
                    product=name,
                    warehouse=site.warehouse,
                    forming=tuple(by_position.get(at, 0) for at in range(count)),
                    excess=by_position.get(EXCESS, 0),
                )
            )
    return ProcurementPlan(orders=tuple(orders), coverage=tuple(coverage))
