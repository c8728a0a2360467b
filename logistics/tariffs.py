"""What a carrier charges for a parcel: a first weight, then begun steps of continued weight."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """The price of one lane (首重 and 续重)."""

    first_grams: int
    first_fen: int
    step_grams: int
    step_fen: int


def parcel_price_fen(tariff: Tariff, *, weight_grams: int) -> int:
    """Return the price of one parcel; a begun step is paid in full.

    >>> tariff = Tariff(first_grams=1000, first_fen=600, step_grams=500, step_fen=90)
    >>> [parcel_price_fen(tariff, weight_grams=grams) for grams in (1, 1000, 1001, 1500, 1501)]
    [600, 600, 690, 690, 780]
    """
    if weight_grams <= 0:
        raise ValueError(f"a parcel of {weight_grams} g")
    over_grams = max(weight_grams - tariff.first_grams, 0)
    return tariff.first_fen + -(-over_grams // tariff.step_grams) * tariff.step_fen
