"""What the shop of the stories sells, and who stands around it.

Tea lies on the shelf in the east. Mugs are bought when groups want them: at `jade`, in dozens,
cheaper from eight dozen on, or at `reed`, in tens, a little dearer and a day sooner.
"""

import json
from typing import Any, Final

TEA: Final = "tea"
MUG: Final = "mug"
EAST: Final = "east"
SWIFT: Final = "swift"
JADE: Final = "jade"
REED: Final = "reed"

TEA_PAIR: Final = "tea-pair"
TEA_TRIO: Final = "tea-trio"
TEA_LADDER: Final = "tea-ladder"
MUG_PAIR: Final = "mug-pair"

TEA_FEN: Final = 6_900
MUG_FEN: Final = 7_800  # for two: a seat has two mugs

# Above this a person approves what is bought.
APPROVAL_LIMIT_FEN: Final = 100_000
SEAT_SECONDS: Final = 900
_DAY_SECONDS: Final = 86_400


def document() -> bytes:
    """Return the catalogue as `caravan load` takes it."""
    return json.dumps(
        {
            "products": _products(),
            "carriers": [{"code": SWIFT, "name": "Swift"}],
            "warehouses": [_warehouse()],
            "suppliers": [
                _supplier(JADE, tea=True),
                _supplier(REED, tea=False),
            ],
            "campaigns": _campaigns(),
        }
    ).encode()


def _products() -> list[dict[str, Any]]:
    return [
        {
            "sku": sku,
            "name": name,
            "weight_grams": grams,
            "volume_cm3": 900,
            "max_excess_units": 40,
            "writeoff_fen": 200,
        }
        for sku, name, grams in ((TEA, "龙井 100 g", 260), (MUG, "青瓷马克杯", 480))
    ]


def _warehouse() -> dict[str, Any]:
    return {
        "code": EAST,
        "name": "East",
        "province": "江苏",
        "city": "320200",
        "lon": 120.3,
        "lat": 31.57,
        "cut_off": "18:00",
        "daily_parcels": 1_000,
        "lanes": [
            {"carrier": SWIFT, "provinces": ["*"], "first_fen": 800, "step_fen": 200, "days": 2}
        ],
    }


def _supplier(code: str, *, tea: bool) -> dict[str, Any]:
    mugs = {
        JADE: {
            "sku": MUG,
            "moq": 12,
            "pack": 12,
            "capacity_per_day": 240,
            "lead_days": 3,
            "tiers": [
                {"min_units": 12, "unit_price_fen": 2_450},
                {"min_units": 96, "unit_price_fen": 2_000},
            ],
        },
        REED: {
            "sku": MUG,
            "moq": 10,
            "pack": 10,
            "capacity_per_day": 200,
            "lead_days": 2,
            "tiers": [{"min_units": 10, "unit_price_fen": 3_000}],
        },
    }
    teas = {
        "sku": TEA,
        "moq": 12,
        "pack": 12,
        "capacity_per_day": 240,
        "lead_days": 2,
        "tiers": [{"min_units": 12, "unit_price_fen": 2_000}],
    }
    return {
        "code": code,
        "name": code.title(),
        "agreements": [mugs[code], teas] if tea else [mugs[code]],
    }


def _campaigns() -> list[dict[str, Any]]:
    tea = {
        "sku": TEA,
        "list_price_fen": 8_800,
        "seat_ttl_seconds": SEAT_SECONDS,
        "per_user_limit": 5,
        "warehouse_policy": "whole",
        "ship_within_seconds": 7 * _DAY_SECONDS,
    }
    mug = {
        **tea,
        "sku": MUG,
        "list_price_fen": 9_900,
        "units_per_seat": 2,
        "per_user_limit": 30,
        "ship_within_seconds": 10 * _DAY_SECONDS,
    }
    ladder = [
        {"members": 2, "price_fen": TEA_FEN},
        {"members": 3, "price_fen": 6_300},
        {"members": 5, "price_fen": 5_800},
    ]
    return [
        {**tea, "code": TEA_PAIR, "title": "双人拼", "capacity": 2, "price_fen": TEA_FEN},
        {**tea, "code": TEA_TRIO, "title": "三人团", "capacity": 3, "price_fen": TEA_FEN},
        {
            **tea,
            "code": TEA_LADDER,
            "title": "阶梯团",
            "mode": "tiered",
            "capacity": 5,
            "tiers": ladder,
        },
        {**mug, "code": MUG_PAIR, "title": "杯双人拼", "capacity": 2, "price_fen": MUG_FEN},
    ]
