"""Problems from JSON: what is accepted, and which field breaks which rule."""

import copy
import json
from typing import Any

import pytest

from optimizer.reading import ProblemError, read_allocation, read_procurement

PURCHASE: dict[str, Any] = {
    "kind": "P1",
    "schema": "p1/1",
    "name": "n",
    "unit": "cent",
    "budget": None,
    "warehouses": ["W"],
    "suppliers": [
        {
            "id": "S",
            "fixed_order_cost": 0,
            "min_order_value": 0,
            "spend_tiers": [{"min_spend": 0, "rebate_bp": 0}],
            "freight_per_unit": {"W": 0},
        }
    ],
    "products": [
        {
            "id": "A",
            "holding_cost": 1,
            "writeoff_cost": 1,
            "future_unit_cost": 0,
            "max_excess": 1,
        }
    ],
    "demands": [
        {
            "product": "A",
            "warehouse": "W",
            "must": 5,
            "forming": [{"units": 2, "pi_bp": 7000}],
        }
    ],
    "offers": [
        {
            "supplier": "S",
            "product": "A",
            "scheme": "all_units",
            "moq": 1,
            "pack": 1,
            "capacity": 10,
            "breaks": [{"from": 1, "price": 100}, {"from": 5, "price": 90}],
        }
    ],
}
SHIPPING: dict[str, Any] = {
    "schema": "p2/1",
    "warehouses": [{"id": "W", "wave_cost": 0}],
    "zones": ["N"],
    "stock": [{"warehouse": "W", "product": "A", "units": 3}],
    "carrier": [{"warehouse": "W", "zone": "N", "per_parcel": 5, "per_volume": 1}],
    "trucks": [{"warehouse": "W", "zone": "N", "capacity": 4, "cost": 9}],
    "groups": [
        {
            "id": "g",
            "product": "A",
            "split_penalty": 1,
            "members": [{"id": "m", "zone": "N", "units": 1, "volume": 1}],
        }
    ],
}


def changed(document: dict[str, Any], path: list[str | int], value: Any) -> dict[str, Any]:
    """Return a copy of the document with one value replaced."""
    copied = copy.deepcopy(document)
    place: Any = copied
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copied


def test_a_whole_document_is_read() -> None:
    problem = read_procurement(json.dumps(PURCHASE))

    assert problem.offers[0].breaks[1].from_units == 5
    assert problem.demands[0].forming[0].pi_bp == 7000
    assert problem.suppliers[0].freight_per_unit == {"W": 0}


@pytest.mark.parametrize(
    "segment",
    [{"units": 2, "pi": 0.07}, {"units": 2, "probability_bp": 700}, {"units": 2, "prob": 0.07}],
)
def test_a_probability_may_be_a_fraction(segment: dict[str, Any]) -> None:
    problem = read_procurement(changed(PURCHASE, ["demands", 0, "forming", 0], segment))

    assert problem.demands[0].forming[0].pi_bp == 700


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["schema"], "p9/1", "schema"),
        (["budget"], -1, "budget"),
        (["offers", 0, "moq"], "1", "offers[0].moq"),
        (["offers", 0, "moq"], 1.5, "offers[0].moq"),
        (["offers", 0, "pack"], 0, "offers[0].pack"),
        (["offers", 0, "scheme"], "rebate", "offers[0].scheme"),
        (["offers", 0, "supplier"], "T", "offers[0].supplier"),
        (["offers", 0, "breaks"], [], "offers[0].breaks"),
        (["offers", 0, "breaks", 1, "from"], 1, "offers[0].breaks"),
        (["offers", 0, "breaks", 1, "from"], None, "offers[0].breaks[1].from"),
        (["offers", 0, "color"], "red", "offers[0].color"),
        (["suppliers", 0, "freight_per_unit"], {"X": 1}, "suppliers[0].freight_per_unit"),
        (
            ["suppliers", 0, "spend_tiers", 0, "rebate_bp"],
            10_001,
            "suppliers[0].spend_tiers[0].rebate_bp",
        ),
        (["products", 0, "max_excess"], -2, "products[0].max_excess"),
        (["demands", 0, "warehouse"], "X", "demands[0].warehouse"),
        (["demands", 0, "must"], -5, "demands[0].must"),
        (["demands", 0, "forming", 0, "pi_bp"], 20_000, "demands[0].forming[0].pi_bp"),
        (["warehouses"], ["W", "W"], "warehouses"),
    ],
)
def test_a_broken_purchase_names_the_field(path: list[str | int], value: Any, field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_procurement(changed(PURCHASE, path, value))

    assert caught.value.field == field
    assert caught.value.rule


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["groups", 0, "members"], [], "groups[0].members"),
        (["groups", 0, "members", 0, "zone"], "X", "groups[0].members[0].zone"),
        (["groups", 0, "warehouses"], ["X"], "groups[0].warehouses"),
        (["trucks", 0, "capacity"], 0, "trucks[0].capacity"),
        (["stock", 0, "units"], -1, "stock[0].units"),
        (["carrier", 0, "warehouse"], "X", "carrier[0].warehouse"),
        (["warehouses", 0, "parcel_capacity"], -1, "warehouses[0].parcel_capacity"),
    ],
)
def test_a_broken_shipment_names_the_field(path: list[str | int], value: Any, field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_allocation(changed(SHIPPING, path, value))

    assert caught.value.field == field


def test_a_missing_field_and_broken_json_are_refused() -> None:
    without_offers = {key: value for key, value in PURCHASE.items() if key != "offers"}

    with pytest.raises(ProblemError, match="offers"):
        read_procurement(without_offers)
    with pytest.raises(ProblemError, match="not a JSON object"):
        read_allocation("[1, 2")


def test_optional_fields_of_a_shipment_have_neutral_values() -> None:
    problem = read_allocation(SHIPPING)

    assert problem.warehouses[0].parcel_capacity is None
    assert problem.groups[0].whole is False
    assert problem.groups[0].warehouses is None
