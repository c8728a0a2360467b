"""One form for every price list: on lo..hi a purchase costs price x units + intercept."""

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.schema import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Quantities lo..hi (both multiples of the pack) cost price x units + intercept cents."""

    lo: int
    hi: int
    price: int
    intercept: int


def price_tiers(offer: Offer, *, useful_units: int) -> tuple[Tier, ...]:
    """Return the tiers in which a purchase can be useful, cheapest description first unit up.

    Bounds are clipped to MOQ, capacity, whole packs and `useful_units`, the most the buyer could
    ever place, so that no model needs a big number. A tier that no quantity reaches is dropped,
    and neighbours on one line are joined.

    An incremental price list costs b_k + price_k x units in tier k, with
    b_k = b_(k-1) + (price_(k-1) - price_k) x (first unit of k - 1).

    >>> from optimizer.schema import PriceBreak
    >>> offer = Offer(supplier="S", product="A", scheme="incremental", pack=12, capacity=1000,
    ...               breaks=(PriceBreak(from_units=1, price=120),
    ...                       PriceBreak(from_units=25, price=100)))
    >>> [(tier.lo, tier.hi, tier.price, tier.intercept)
    ...  for tier in price_tiers(offer, useful_units=70)]
    [(12, 24, 120, 0), (36, 60, 100, 480)]
    """
    least = max(offer.moq, offer.breaks[0].from_units, 1)
    most = min(offer.capacity, useful_units)
    found: list[Tier] = []
    intercept = 0
    for position, tier in enumerate(offer.breaks):
        if position and offer.scheme == "incremental":
            intercept += (offer.breaks[position - 1].price - tier.price) * (tier.from_units - 1)
        last = most
        if position + 1 < len(offer.breaks):
            last = min(last, offer.breaks[position + 1].from_units - 1)
        lo = -(-max(least, tier.from_units) // offer.pack) * offer.pack
        hi = last // offer.pack * offer.pack
        if lo <= hi:
            found.append(Tier(lo=lo, hi=hi, price=tier.price, intercept=intercept))
    return _joined(found)


def _joined(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    joined: list[Tier] = []
    for tier in tiers:
        last = joined[-1] if joined else None
        if last and (last.price, last.intercept) == (tier.price, tier.intercept):
            joined[-1] = Tier(lo=last.lo, hi=tier.hi, price=tier.price, intercept=tier.intercept)
        else:
            joined.append(tier)
    return tuple(joined)
