"""The rules between the fields of a catalogue, one broken at a time."""

import copy
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from groups.campaigns import SavedCampaign
from groups.states import CampaignState
from operations.catalogue_document import Catalogue
from operations.catalogue_rows import campaign_terms, lane_rows
from operations.catalogue_rules import Known, broken_rules

NOTHING = Known(campaigns={}, median_unit_fen={})

SHOP: dict[str, Any] = {
    "products": [{"sku": "tea", "name": "tea", "weight_grams": 100, "volume_cm3": 100}],
    "carriers": [{"code": "q", "name": "Quick"}],
    "warehouses": [
        {
            "code": "east",
            "name": "East",
            "province": "江苏",
            "city": 320200,
            "lon": 120.3,
            "lat": 31.6,
            "daily_parcels": 100,
            "lanes": [
                {
                    "carrier": "q",
                    "provinces": ["江苏"],
                    "first_fen": 3,
                    "step_fen": 1,
                    "days": 1,
                },
                {"carrier": "q", "provinces": ["*"], "first_fen": 5, "step_fen": 2, "days": 3},
            ],
        }
    ],
    "suppliers": [
        {
            "code": "jade",
            "name": "Jade",
            "spend_tiers": [
                {"min_spend_fen": 0, "rebate_bp": 0},
                {"min_spend_fen": 10, "rebate_bp": 1},
            ],
            "freight_fen": {"east": 1},
            "agreements": [
                {
                    "sku": "tea",
                    "moq": 12,
                    "pack": 6,
                    "max_units": 120,
                    "capacity_per_day": 60,
                    "lead_days": 2,
                    "tiers": [
                        {"min_units": 12, "unit_price_fen": 50},
                        {"min_units": 60, "unit_price_fen": 40},
                    ],
                }
            ],
        }
    ],
    "campaigns": [
        {
            "code": "pair",
            "sku": "tea",
            "title": "pair",
            "capacity": 2,
            "list_price_fen": 120,
            "price_fen": 100,
            "ship_within_seconds": 86_400,
        },
        {
            "code": "ladder",
            "sku": "tea",
            "title": "ladder",
            "mode": "tiered",
            "capacity": 10,
            "list_price_fen": 120,
            "tiers": [{"members": 3, "price_fen": 100}, {"members": 6, "price_fen": 90}],
            "ship_within_seconds": 86_400,
        },
    ],
}


def with_change(path: tuple[str | int, ...], value: Any) -> Catalogue:
    shop = copy.deepcopy(SHOP)
    target: Any = shop
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return Catalogue.model_validate(shop)


AGREEMENT = ("suppliers", 0, "agreements", 0)
PAIR, LADDER = ("campaigns", 0), ("campaigns", 1)


def test_a_sound_shop_breaks_no_rule() -> None:
    assert broken_rules(Catalogue.model_validate(SHOP), NOTHING) == []


@pytest.mark.parametrize(
    ("changed", "value", "place", "rule"),
    [
        ((*AGREEMENT, "sku"), "mug", (*AGREEMENT, "sku"), "no product mug"),
        ((*PAIR, "sku"), "mug", (*PAIR, "sku"), "no product mug"),
        ((*AGREEMENT, "moq"), 126, (*AGREEMENT, "moq"), "above max_units"),
        ((*AGREEMENT, "pack"), 5, (*AGREEMENT, "moq"), "multiple of the pack"),
        (
            (*AGREEMENT, "tiers", 0, "min_units"),
            18,
            (*AGREEMENT, "tiers", 0, "min_units"),
            "starts at the MOQ 12",
        ),
        (
            (*AGREEMENT, "tiers", 1, "min_units"),
            12,
            (*AGREEMENT, "tiers", 1, "min_units"),
            "steps ascend",
        ),
        (
            (*AGREEMENT, "tiers", 1, "unit_price_fen"),
            51,
            (*AGREEMENT, "tiers", 1, "unit_price_fen"),
            "does not cost more",
        ),
        (
            (*AGREEMENT, "tiers", 1, "min_units"),
            126,
            (*AGREEMENT, "tiers", 1, "min_units"),
            "no order reaches",
        ),
        ((*AGREEMENT, "allowance_bp"), 100, (*AGREEMENT, "allowance_bp"), "committed_units"),
        (
            ("suppliers", 0, "spend_tiers", 1, "min_spend_fen"),
            0,
            ("suppliers", 0, "spend_tiers", 1, "min_spend_fen"),
            "ascend",
        ),
        (
            ("suppliers", 0, "freight_fen"),
            {"west": 1},
            ("suppliers", 0, "freight_fen", "west"),
            "no warehouse west",
        ),
        (
            ("warehouses", 0, "lanes", 0, "carrier"),
            "slow",
            ("warehouses", 0, "lanes", 0, "carrier"),
            "no carrier slow",
        ),
        (
            ("warehouses", 0, "lanes", 1, "provinces"),
            ["江苏省"],
            ("warehouses", 0, "lanes", 1, "provinces", 0),
            "a lane to 320000 already",
        ),
        (("warehouses", 0, "city"), "440100", ("warehouses", 0, "city"), "not in the province"),
        ((*PAIR, "list_price_fen"), 99, (*PAIR, "list_price_fen"), "below the price"),
        ((*PAIR, "list_price_fen"), 130, (*PAIR, "list_price_fen"), "below 130 %"),
        ((*PAIR, "price_fen"), None, (*PAIR, "price_fen"), "price is missing"),
        ((*PAIR, "min_size"), 1, (*PAIR, "min_size"), "completes at its capacity"),
        (
            (*PAIR, "tiers"),
            [{"members": 2, "price_fen": 100}],
            (*PAIR, "tiers"),
            "only a tiered campaign",
        ),
        ((*PAIR, "code"), "ladder", (*LADDER, "code"), "stands twice"),
        ((*LADDER, "price_fen"), 101, (*LADDER, "tiers", 0, "price_fen"), "paid up front"),
        ((*LADDER, "min_size"), 2, (*LADDER, "tiers", 0, "members"), "starts at min_size"),
        ((*LADDER, "tiers", 1, "members"), 3, (*LADDER, "tiers", 1, "members"), "ascend"),
        ((*LADDER, "tiers", 1, "price_fen"), 100, (*LADDER, "tiers", 1, "price_fen"), "cheaper"),
        (
            (*LADDER, "tiers", 1, "members"),
            11,
            (*LADDER, "tiers", 1, "members"),
            "no group reaches",
        ),
    ],
)
def test_each_rule_names_the_place_that_breaks_it(
    changed: tuple[str | int, ...], value: Any, place: tuple[str | int, ...], rule: str
) -> None:
    broken = broken_rules(with_change(changed, value), NOTHING)

    assert broken[0][0] == place
    assert rule in broken[0][1]
    # A MOQ out of place moves the first tier out of place as well.
    assert len(broken) == (2 if value == 126 and changed[-1] == "moq" else 1)


def test_what_is_known_already_need_not_be_repeated() -> None:
    catalogue = Catalogue.model_validate({"campaigns": SHOP["campaigns"]})

    assert broken_rules(catalogue, NOTHING) != []
    assert broken_rules(catalogue, Known(skus={"tea"}, campaigns={}, median_unit_fen={})) == []


def test_a_list_price_is_measured_by_what_the_product_sold_at() -> None:
    sold_dear = Known(campaigns={}, median_unit_fen={"tea": Decimal(110)})
    sold_cheap = Known(campaigns={}, median_unit_fen={"tea": Decimal(92)})
    shop = with_change((*PAIR, "list_price_fen"), 135)

    assert broken_rules(shop, sold_dear) == []
    assert [place for place, _ in broken_rules(shop, sold_cheap)] == [
        ("campaigns", 0, "list_price_fen"),
        ("campaigns", 1, "list_price_fen"),
    ]


def test_prices_that_stay_as_they_are_were_judged_before() -> None:
    catalogue = Catalogue.model_validate(SHOP)
    saved = {
        each.code: SavedCampaign(
            id=UUID(int=number),
            code=each.code,
            sku="tea",
            state=CampaignState.ACTIVE,
            version=1,
            terms=campaign_terms(each).terms,
        )
        for number, each in enumerate(catalogue.campaigns)
    }
    cheap_now = Known(campaigns=saved, median_unit_fen={"tea": Decimal(50)})

    assert broken_rules(catalogue, cheap_now) == []


def test_a_campaign_keeps_its_product() -> None:
    shop = with_change((*PAIR, "sku"), "mug")
    terms = campaign_terms(Catalogue.model_validate(SHOP).campaigns[0])
    saved = SavedCampaign(
        id=UUID(int=1),
        code="pair",
        sku="tea",
        state=CampaignState.ACTIVE,
        version=1,
        terms=terms.terms,
    )
    known = Known(skus={"mug"}, campaigns={"pair": saved}, median_unit_fen={})

    assert [rule for _, rule in broken_rules(shop, known)] == [
        "pair sells tea; end it and make another campaign"
    ]


def test_the_star_is_every_province_that_its_carrier_does_not_name() -> None:
    rows = lane_rows(Catalogue.model_validate(SHOP).warehouses[0])

    assert len(rows) == 31
    assert {row["province"]: row["first_fen"] for row in rows}["320000"] == 3
    assert {row["first_fen"] for row in rows if row["province"] != "320000"} == {5}
