"""Turns JSON into problems, or says which field breaks which rule."""

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from kit.errors import Unprocessable
from optimizer.schema import (
    E4,
    P1_SCHEMA,
    P2_SCHEMA,
    AllocationProblem,
    Group,
    Offer,
    ProcurementProblem,
    Supplier,
)

# What a document may say about itself without being part of the problem.
_ANNOTATIONS: Final = frozenset({"kind", "description", "unit", "expected"})
_PROBABILITY_NAMES: Final = ("pi", "probability", "prob")
# Sums of products of two such numbers stay far inside what a float and a JSON reader hold.
_LARGEST: Final = 10**12
# 0.07 x 10^4 is not 700 in floating point; anything further off was not a basis point.
_ROUNDING: Final = 1e-6

_Problem = TypeVar("_Problem", ProcurementProblem, AllocationProblem)


class ProblemError(Unprocessable):
    """A document that is not a problem: `field` is a path in it, `rule` what it breaks."""

    code = "optimizer.problem"

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field, self.rule = field, rule


def read_procurement(document: bytes | str | dict[str, Any]) -> ProcurementProblem:
    """Return the p1/1 problem in a JSON text or in its decoded form.

    Raises:
        ProblemError: naming the field and the rule.
    """
    problem = _convert(_decode(document), schema=P1_SCHEMA, into=ProcurementProblem)
    check_procurement(problem)
    return problem


def read_allocation(document: bytes | str | dict[str, Any]) -> AllocationProblem:
    """Return the p2/1 problem in a JSON text or in its decoded form.

    Raises:
        ProblemError: naming the field and the rule.
    """
    problem = _convert(_decode(document), schema=P2_SCHEMA, into=AllocationProblem)
    check_allocation(problem)
    return problem


def check_procurement(problem: ProcurementProblem) -> None:
    """Refuse a problem whose parts contradict each other.

    Raises:
        ProblemError: naming the field and the rule.
    """
    _unique("warehouses", problem.warehouses)
    _unique("suppliers", [supplier.id for supplier in problem.suppliers])
    _unique("products", [product.id for product in problem.products])
    _unique("offers", [(offer.supplier, offer.product) for offer in problem.offers])
    _unique("demands", [(demand.product, demand.warehouse) for demand in problem.demands])
    warehouses = set(problem.warehouses)
    suppliers = {supplier.id for supplier in problem.suppliers}
    products = {product.id for product in problem.products}
    if problem.budget is not None:
        _amount("budget", problem.budget)
    for index, supplier in enumerate(problem.suppliers):
        _check_supplier(f"suppliers[{index}]", supplier, warehouses=warehouses)
    for index, product in enumerate(problem.products):
        field = f"products[{index}]"
        _amount(f"{field}.holding_cost", product.holding_cost)
        _amount(f"{field}.writeoff_cost", product.writeoff_cost)
        _amount(f"{field}.future_unit_cost", product.future_unit_cost)
        _amount(f"{field}.max_excess", product.max_excess)
    for index, demand in enumerate(problem.demands):
        field = f"demands[{index}]"
        _known(f"{field}.product", demand.product, products)
        _known(f"{field}.warehouse", demand.warehouse, warehouses)
        _amount(f"{field}.must", demand.must)
        for position, segment in enumerate(demand.forming):
            _amount(f"{field}.forming[{position}].units", segment.units)
            _within(f"{field}.forming[{position}].pi_bp", segment.pi_bp, high=E4)
    for index, offer in enumerate(problem.offers):
        field = f"offers[{index}]"
        _known(f"{field}.supplier", offer.supplier, suppliers)
        _known(f"{field}.product", offer.product, products)
        _check_offer(field, offer)


def check_allocation(problem: AllocationProblem) -> None:
    """Refuse a problem whose parts contradict each other.

    Raises:
        ProblemError: naming the field and the rule.
    """
    _unique("warehouses", [warehouse.id for warehouse in problem.warehouses])
    _unique("zones", problem.zones)
    _unique("stock", [(row.warehouse, row.product) for row in problem.stock])
    _unique("carrier", [(rate.warehouse, rate.zone) for rate in problem.carrier])
    _unique("trucks", [(truck.warehouse, truck.zone) for truck in problem.trucks])
    _unique("groups", [group.id for group in problem.groups])
    _unique("groups.members", [m.id for group in problem.groups for m in group.members])
    warehouses = {warehouse.id for warehouse in problem.warehouses}
    zones = set(problem.zones)
    for index, warehouse in enumerate(problem.warehouses):
        _amount(f"warehouses[{index}].wave_cost", warehouse.wave_cost)
        if warehouse.parcel_capacity is not None:
            _amount(f"warehouses[{index}].parcel_capacity", warehouse.parcel_capacity)
    for index, row in enumerate(problem.stock):
        _known(f"stock[{index}].warehouse", row.warehouse, warehouses)
        _amount(f"stock[{index}].units", row.units)
    for index, rate in enumerate(problem.carrier):
        _known(f"carrier[{index}].warehouse", rate.warehouse, warehouses)
        _known(f"carrier[{index}].zone", rate.zone, zones)
        _amount(f"carrier[{index}].per_parcel", rate.per_parcel)
        _amount(f"carrier[{index}].per_volume", rate.per_volume)
    for index, truck in enumerate(problem.trucks):
        _known(f"trucks[{index}].warehouse", truck.warehouse, warehouses)
        _known(f"trucks[{index}].zone", truck.zone, zones)
        _within(f"trucks[{index}].capacity", truck.capacity, low=1)
        _amount(f"trucks[{index}].cost", truck.cost)
    for index, group in enumerate(problem.groups):
        _check_group(f"groups[{index}]", group, zones=zones, warehouses=warehouses)


def _check_supplier(field: str, supplier: Supplier, *, warehouses: set[str]) -> None:
    _amount(f"{field}.fixed_order_cost", supplier.fixed_order_cost)
    _amount(f"{field}.min_order_value", supplier.min_order_value)
    for warehouse, freight in supplier.freight_per_unit.items():
        _known(f"{field}.freight_per_unit", warehouse, warehouses)
        _amount(f"{field}.freight_per_unit.{warehouse}", freight)
    for position, tier in enumerate(supplier.spend_tiers):
        _amount(f"{field}.spend_tiers[{position}].min_spend", tier.min_spend)
        _within(f"{field}.spend_tiers[{position}].rebate_bp", tier.rebate_bp, high=E4)
    _ascending(f"{field}.spend_tiers", [tier.min_spend for tier in supplier.spend_tiers])


def _check_offer(field: str, offer: Offer) -> None:
    _amount(f"{field}.moq", offer.moq)
    _within(f"{field}.pack", offer.pack, low=1)
    _amount(f"{field}.capacity", offer.capacity)
    if not offer.breaks:
        raise ProblemError(f"{field}.breaks", "needs at least one price break")
    for position, price_break in enumerate(offer.breaks):
        _within(f"{field}.breaks[{position}].from", price_break.from_units, low=1)
        _amount(f"{field}.breaks[{position}].price", price_break.price)
    _ascending(f"{field}.breaks", [price_break.from_units for price_break in offer.breaks])


def _check_group(field: str, group: Group, *, zones: set[str], warehouses: set[str]) -> None:
    _amount(f"{field}.split_penalty", group.split_penalty)
    if not group.members:
        raise ProblemError(f"{field}.members", "needs at least one member")
    for position, member in enumerate(group.members):
        _known(f"{field}.members[{position}].zone", member.zone, zones)
        _amount(f"{field}.members[{position}].units", member.units)
        _amount(f"{field}.members[{position}].volume", member.volume)
    for warehouse in group.warehouses or ():
        _known(f"{field}.warehouses", warehouse, warehouses)


def _decode(document: bytes | str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(document, dict):
        return document
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError("$", f"is not a JSON object ({error})") from error


def _convert(document: dict[str, Any], *, schema: str, into: type[_Problem]) -> _Problem:
    found = document.get("schema")
    if found != schema:
        raise ProblemError("schema", f"must be {schema!r}, not {found!r}")
    renamed = _rename({key: value for key, value in document.items() if key not in _ANNOTATIONS})
    try:
        problem = msgspec.convert(renamed, type=into, strict=True)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$").lstrip(".") or "$"
        raise ProblemError(field.replace("from_units", "from"), rule) from error
    _refuse_unknown(renamed, msgspec.to_builtins(problem), field="")
    return problem


def _rename(value: Any) -> Any:
    if isinstance(value, list):
        return [_rename(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {key: _rename(item) for key, item in value.items()}
    if "from" in renamed:
        renamed["from_units"] = renamed.pop("from")
    if "forming" in renamed and isinstance(renamed["forming"], list):
        renamed["forming"] = [_rename_probability(segment) for segment in renamed["forming"]]
    return renamed


def _rename_probability(segment: Any) -> Any:
    """Accept a probability as a fraction or under another usual name."""
    if not isinstance(segment, dict):
        return segment
    renamed = dict(segment)
    for name in _PROBABILITY_NAMES:
        for basis_points in (f"{name}_bp", f"{name}_e4"):
            if basis_points in renamed and basis_points != "pi_bp":
                renamed["pi_bp"] = renamed.pop(basis_points)
        if name in renamed:
            renamed["pi_bp"] = _basis_points(renamed.pop(name))
    return renamed


def _basis_points(probability: Any) -> Any:
    if isinstance(probability, bool) or not isinstance(probability, int | float):
        return probability
    nearest = round(probability * E4)
    # A finer probability would make the objective inexact, so it is refused and not rounded.
    return nearest if abs(probability * E4 - nearest) < _ROUNDING else probability


def _refuse_unknown(given: Any, known: Any, *, field: str) -> None:
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            path = f"{field}.{key}" if field else key
            if key not in known:
                raise ProblemError(path, "is not a field of the schema")
            _refuse_unknown(value, known[key], field=path)
    elif isinstance(given, list):
        for index, (item, seen) in enumerate(zip(given, known, strict=True)):
            _refuse_unknown(item, seen, field=f"{field}[{index}]")


def _unique(field: str, keys: Iterable[object]) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            shown = re.sub(r"[()']", "", str(key))
            raise ProblemError(field, f"names {shown} twice")
        seen.add(key)


def _known(field: str, name: str, names: set[str]) -> None:
    if name not in names:
        raise ProblemError(field, f"names {name!r}, which is not defined")


def _amount(field: str, value: int) -> None:
    _within(field, value)


def _within(field: str, value: int, *, low: int = 0, high: int = _LARGEST) -> None:
    if not low <= value <= high:
        raise ProblemError(field, f"must be between {low} and {high}, not {value}")


def _ascending(field: str, values: Sequence[int]) -> None:
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise ProblemError(field, f"must ascend, not {list(values)}")
