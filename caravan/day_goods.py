"""What the shop sells on the replayed day: products, campaigns and the opening stock."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median_low
from typing import Any, Final

from caravan.day import Day
from caravan.day_network import SITES
from caravan.figures import PROVINCES

# A pound bought about ten yuan in December 2011.
_FEN_PER_PENNY: Final = 10
_LEAST_PRICE_FEN: Final = 50
_LIST_PRICE_PERCENT: Final = 125
_COST_PERCENT: Final = 60

# Lines of a SKU from which its groups take three, and how many of the hottest have a ladder.
_WARM_LINES: Final = 8
_HOTTEST: Final = 20
_LADDER: Final = ((2, 100), (3, 95), (5, 88))  # (members, percent of the price)
_CAPPED: Final = 3  # the hottest of all may have so many participants
_SEAT_CAP: Final = 12

_SEAT_TTL_SECONDS: Final = 900
_WINDOW_SECONDS: Final = 86_400
_SHIP_WITHIN_SECONDS: Final = 5 * 86_400
_PER_USER: Final = 20
_WHOLE_SHARE: Final = 0.85
_REFUND_LATE_SHARE: Final = 0.25

_WEIGHTS_GRAMS: Final = (40, 80, 150, 250, 400, 700)
_CM3_PER_GRAM: Final = (3, 5, 8)
_MAX_EXCESS_UNITS: Final = 2

_CLOSE_OUT_SHARE: Final = 0.03
_STOCKED_SHARE: Final = 0.60
_PART_STOCKED_SHARE: Final = 0.30
_PART_PERCENT: Final = 40


class Supply(StrEnum):
    """How the day opens for a SKU."""

    STOCKED = "stocked"  # enough for every line
    PART = "part"
    NONE = "none"
    CLOSE_OUT = "close_out"  # less than the lines, and nobody makes it any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A SKU of the day and everything the seed decided for it."""

    sku: str
    lines: int
    price_fen: int
    cost_fen: int
    weight_grams: int
    volume_cm3: int
    supply: Supply
    stock: Mapping[str, int]  # units by warehouse
    whole: bool
    refunds_late_money: bool
    heat: int  # rank by lines, 0 is the hottest


def goods(day: Day, *, seed: int) -> tuple[Good, ...]:
    """Return the day's SKUs in their order, each drawn from a source of its own."""
    lines = Counter(line.sku for line in day.lines)
    pennies: defaultdict[str, list[int]] = defaultdict(list)
    for line in day.lines:
        pennies[line.sku].append(line.price_pence)
    heat = {sku: rank for rank, (sku, _) in enumerate(_by_heat(lines))}
    return tuple(
        _good(sku, lines[sku], pennies[sku], heat=heat[sku], seed=seed) for sku in sorted(lines)
    )


def _by_heat(lines: Counter[str]) -> list[tuple[str, int]]:
    return sorted(lines.items(), key=lambda entry: (-entry[1], entry[0]))


def _good(sku: str, lines: int, pennies: Sequence[int], *, heat: int, seed: int) -> Good:
    chance = random.Random(f"{seed}:{sku}")  # noqa: S311 - repeatable on purpose
    price_fen = max(median_low(pennies) * _FEN_PER_PENNY, _LEAST_PRICE_FEN)
    weight_grams = chance.choice(_WEIGHTS_GRAMS)
    volume_cm3 = weight_grams * chance.choice(_CM3_PER_GRAM)
    supply = _supply(chance.random(), heat=heat)
    return Good(
        sku=sku,
        lines=lines,
        price_fen=price_fen,
        cost_fen=max(price_fen * _COST_PERCENT // 100, 1),
        weight_grams=weight_grams,
        volume_cm3=volume_cm3,
        supply=supply,
        stock=_stock(chance, supply=supply, lines=lines),
        whole=chance.random() < _WHOLE_SHARE,
        refunds_late_money=chance.random() < _REFUND_LATE_SHARE,
        heat=heat,
    )


def _supply(drawn: float, *, heat: int) -> Supply:
    if drawn < _CLOSE_OUT_SHARE and heat >= _HOTTEST:
        return Supply.CLOSE_OUT
    if drawn < _CLOSE_OUT_SHARE + _STOCKED_SHARE:
        return Supply.STOCKED
    if drawn < _CLOSE_OUT_SHARE + _STOCKED_SHARE + _PART_STOCKED_SHARE:
        return Supply.PART
    return Supply.NONE


def _stock(chance: random.Random, *, supply: Supply, lines: int) -> dict[str, int]:
    """Return the opening units by warehouse; busier regions hold more of them."""
    units = {
        Supply.STOCKED: lines,
        Supply.PART: max(lines * _PART_PERCENT // 100, 1),
        Supply.NONE: 0,
        Supply.CLOSE_OUT: (lines + 1) // 2,
    }[supply]
    first, second = chance.choices(
        [site.code for site in SITES], weights=[_orders(site.province) for site in SITES], k=2
    )
    # What lies in two places is counted twice over, so that a group finds its units in one.
    if supply is Supply.STOCKED and lines > 1:
        placed = {first: units}
        placed[second] = max(placed.get(second, 0), units // 2)
        return placed
    return {first: units} if units else {}


def _orders(adcode: str) -> int:
    return next(province.orders for province in PROVINCES if province.adcode == adcode)


def products(chosen: Sequence[Good]) -> list[dict[str, Any]]:
    """Return the products as a catalogue writes them."""
    return [
        {
            "sku": good.sku,
            "name": f"Item {good.sku}",
            "weight_grams": good.weight_grams,
            "volume_cm3": good.volume_cm3,
            "holding_fen": max(good.cost_fen // 100, 1),
            "writeoff_fen": max(good.cost_fen // 10, 1),
            "max_excess_units": _MAX_EXCESS_UNITS,
            # A confirmed group must not wait for ever because a MOQ leaves two units over.
            "moq_risk_accepted": True,
        }
        for good in chosen
    ]


def campaigns(chosen: Sequence[Good]) -> list[dict[str, Any]]:
    """Return one campaign for each SKU as a catalogue writes them."""
    return [_campaign(good) for good in chosen]


def _campaign(good: Good) -> dict[str, Any]:
    campaign: dict[str, Any] = {
        "code": f"day-{good.sku}",
        "sku": good.sku,
        "title": f"Item {good.sku}, bought together",
        "window_seconds": _WINDOW_SECONDS,
        "seat_ttl_seconds": _SEAT_TTL_SECONDS,
        "per_user_limit": _PER_USER,
        "list_price_fen": good.price_fen * _LIST_PRICE_PERCENT // 100,
        "late_payment_policy": "refund" if good.refunds_late_money else "reopen_if_room",
        "warehouse_policy": "whole" if good.whole else "split_ok",
        "ship_within_seconds": _SHIP_WITHIN_SECONDS,
        "terms": "Refunded in full when the group does not fill within 24 hours.",
    }
    if good.heat < _HOTTEST:
        steps = [
            {"members": members, "price_fen": good.price_fen * percent // 100}
            for members, percent in _LADDER
        ]
        campaign |= {"mode": "tiered", "capacity": _LADDER[-1][0], "tiers": steps}
    else:
        capacity = 3 if good.lines >= _WARM_LINES else 2
        campaign |= {"mode": "fixed", "capacity": capacity, "price_fen": good.price_fen}
    if good.heat < _CAPPED:
        campaign["seat_cap"] = _SEAT_CAP
    return campaign


def opening_stock(chosen: Sequence[Good]) -> dict[str, list[dict[str, Any]]]:
    """Return what lies on the shelves of each warehouse when the day begins."""
    shelves: dict[str, list[dict[str, Any]]] = {site.code: [] for site in SITES}
    for good in chosen:
        for warehouse, units in good.stock.items():
            if units:
                shelves[warehouse].append({"sku": good.sku, "on_hand": units})
    return shelves
