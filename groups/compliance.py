"""What the law and the platform demand of a campaign, as rules and not as text."""

from decimal import Decimal
from typing import Final

# A crossed-out price has to be one that was really asked for: it stays below 130 % of the median
# price at which the product sold in the last 30 days (DOMAIN.md, section 1, "Compliance").
REFERENCE_DAYS: Final = 30
_LIMIT_PERCENT: Final = 130


def list_price_allowed(list_price_fen: int, *, reference_fen: Decimal) -> bool:
    """Return whether a list price may stand beside a price.

    Args:
        reference_fen: median selling price of the last 30 days for the same quantity; for what
            has not sold yet, the price it is going to be sold at.

    >>> list_price_allowed(12_999, reference_fen=Decimal(10_000))
    True
    >>> list_price_allowed(13_000, reference_fen=Decimal(10_000))
    False
    """
    return list_price_fen * 100 < reference_fen * _LIMIT_PERCENT
