"""Splits a purchase problem where products share nothing, so that each part is solved alone."""

from collections import defaultdict
from dataclasses import dataclass, replace

from optimizer.schema import ProcurementProblem, Supplier


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A problem of its own; `plain` when not even a supplier row restricts its one product."""

    problem: ProcurementProblem
    plain: bool


def couples(supplier: Supplier) -> bool:
    """Return whether a supplier's terms look at the sum of what is bought from it."""
    return bool(
        supplier.fixed_order_cost
        or supplier.min_order_value
        or any(tier.rebate_bp for tier in supplier.spend_tiers)
    )


def split(problem: ProcurementProblem) -> tuple[Component, ...]:
    """Return the parts whose costs and limits add up to those of the problem.

    A budget holds all products together; without one, only suppliers whose terms couple do.
    """
    leader = {product.id: product.id for product in problem.products}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    coupling = {supplier.id for supplier in problem.suppliers if couples(supplier)}
    anchor: dict[str, str] = {}
    for offer in problem.offers:
        if offer.supplier in coupling:
            first = anchor.setdefault(offer.supplier, offer.product)
            leader[find(offer.product)] = find(first)
    if problem.budget is not None and problem.products:
        for product in problem.products:
            leader[find(product.id)] = find(problem.products[0].id)
    members: dict[str, list[str]] = defaultdict(list)
    for product in problem.products:
        members[find(product.id)].append(product.id)
    return _parts(problem, members=members, coupling=coupling)


def _parts(
    problem: ProcurementProblem, *, members: dict[str, list[str]], coupling: set[str]
) -> tuple[Component, ...]:
    part_of = {name: part for part, names in members.items() for name in names}
    products = {product.id: product for product in problem.products}
    suppliers = {supplier.id: supplier for supplier in problem.suppliers}
    demands = defaultdict(list)
    for demand in problem.demands:
        demands[part_of[demand.product]].append(demand)
    offers = defaultdict(list)
    for offer in problem.offers:
        offers[part_of[offer.product]].append(offer)
    components: list[Component] = []
    for part, names in members.items():
        used = dict.fromkeys(offer.supplier for offer in offers[part])
        components.append(
            Component(
                problem=replace(
                    problem,
                    suppliers=tuple(suppliers[name] for name in used),
                    products=tuple(products[name] for name in names),
                    demands=tuple(demands[part]),
                    offers=tuple(offers[part]),
                ),
                plain=problem.budget is None and not coupling & used.keys(),
            )
        )
    return tuple(components)
