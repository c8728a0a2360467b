"""The suppliers of the replayed day: two companies, their price ladders, what goes wrong."""

import random
from collections.abc import Iterable, Sequence
from typing import Any, Final

from caravan.day_goods import Good, Supply

JADE: Final = "jade"
HARVEST: Final = "harvest"
_CAPACITY_PER_DAY: Final = 300

# (from units, percent of the unit cost): a SKU of the day sells 1 to 25 units, so the steps are
# small. Steep ones reward the third or the sixth unit: two cost more than three.
_JADE_LADDERS: Final = (
    ((1, 100), (3, 92), (6, 70), (12, 62), (24, 56)),
    ((1, 100), (3, 62), (6, 60), (12, 58)),
    ((1, 100), (6, 80), (12, 66)),
)
_JADE_MOQS: Final = (1, 1, 1, 2, 3)
_JADE_LEAD_DAYS: Final = 1

# Incremental: only the units beyond a step have its price.
_HARVEST_LADDERS: Final = (
    ((1, 90), (3, 72), (12, 60)),
    ((1, 86), (6, 64)),
)
_HARVEST_LEAD_DAYS: Final = 2
_HARVEST_MOV_FEN: Final = 20_000
_HARVEST_FIXED_FEN: Final = 800
_HARVEST_REBATE: Final = {"min_spend_fen": 200_000, "rebate_bp": 200}


def suppliers(chosen: Sequence[Good], *, seed: int) -> list[dict[str, Any]]:
    """Return the suppliers with their agreements, as a catalogue writes them.

    `jade` sells everything that is still made: all-units prices, a day's lead. `harvest` sells
    what the shop does not have enough of: incremental prices, cheaper, a minimum order value,
    two days.
    """
    return [
        {
            "code": JADE,
            "name": "翠玉百货",
            "cut_off": "22:00",
            "price_tolerance_bp": 100,
            "over_delivery_bp": 500,
            "agreements": [
                _jade(good, seed=seed) for good in chosen if good.supply is not Supply.CLOSE_OUT
            ],
        },
        {
            "code": HARVEST,
            "name": "丰收贸易",
            "cut_off": "22:00",
            "min_order_value_fen": _HARVEST_MOV_FEN,
            "fixed_order_cost_fen": _HARVEST_FIXED_FEN,
            "spend_tiers": [{"min_spend_fen": 0, "rebate_bp": 0}, _HARVEST_REBATE],
            "price_tolerance_bp": 100,
            "agreements": [
                _harvest(good, seed=seed)
                for good in chosen
                if good.supply in {Supply.PART, Supply.NONE}
            ],
        },
    ]


def _jade(good: Good, *, seed: int) -> dict[str, Any]:
    chance = random.Random(f"{seed}:{JADE}:{good.sku}")  # noqa: S311 - repeatable on purpose
    moq = chance.choice(_JADE_MOQS)
    return {
        "sku": good.sku,
        "moq": moq,
        "capacity_per_day": _CAPACITY_PER_DAY,
        "lead_days": _JADE_LEAD_DAYS,
        "price_mode": "all_units",
        "tiers": _tiers(good, chance.choice(_JADE_LADDERS), moq=moq),
    }


def _harvest(good: Good, *, seed: int) -> dict[str, Any]:
    chance = random.Random(f"{seed}:{HARVEST}:{good.sku}")  # noqa: S311 - repeatable on purpose
    return {
        "sku": good.sku,
        "capacity_per_day": _CAPACITY_PER_DAY,
        "lead_days": _HARVEST_LEAD_DAYS,
        "price_mode": "incremental",
        "tiers": _tiers(good, chance.choice(_HARVEST_LADDERS), moq=1),
    }


def _tiers(good: Good, ladder: Sequence[tuple[int, int]], *, moq: int) -> list[dict[str, int]]:
    """Return the ladder from its MOQ on; what rounds to the price before it is no step."""
    percent_at_moq = [percent for units, percent in ladder if units <= moq][-1]
    steps = [(moq, percent_at_moq), *(step for step in ladder if step[0] > moq)]
    tiers: list[dict[str, int]] = []
    for units, percent in steps:
        price_fen = max(good.cost_fen * percent // 100, 1)
        if not tiers or price_fen < tiers[-1]["unit_price_fen"]:
            tiers.append({"min_units": units, "unit_price_fen": price_fen})
    return tiers


def sandbox_suppliers(chosen: Sequence[Good]) -> list[dict[str, Any]]:
    """Return the supplier companies and what goes wrong with them once.

    `jade` loses the answer to its first order and delivers its first load one unit short, the
    rest a day later. `harvest` rejects its first order.
    """
    return [
        {
            "code": JADE,
            "items": _items(
                (good for good in chosen if good.supply is not Supply.CLOSE_OUT),
                lead_days=_JADE_LEAD_DAYS,
            ),
            "behaviour": {
                "answers": {"lost": {"first": 1, "only": ["order"]}},
                "short": {"first": 1, "units": 1, "rest_after_days": 1},
            },
        },
        {
            "code": HARVEST,
            "items": _items(
                (good for good in chosen if good.supply in {Supply.PART, Supply.NONE}),
                lead_days=_HARVEST_LEAD_DAYS,
            ),
            "behaviour": {
                "reject": {"first": 1},
                "events": {"duplicates": {"every": 7, "after_seconds": 60}},
            },
        },
    ]


def _items(sold: Iterable[Good], *, lead_days: int) -> list[dict[str, Any]]:
    return [
        {"sku": good.sku, "capacity_per_day": _CAPACITY_PER_DAY, "lead_days": lead_days}
        for good in sold
    ]
