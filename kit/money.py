"""Money is whole fen (1/100 yuan); there is no other currency and no float."""

BASIS_POINTS = 10_000


def yuan(amount_fen: int) -> str:
    """Return an amount for people.

    >>> yuan(123456), yuan(-5)
    ('¥1,234.56', '-¥0.05')
    """
    sign = "-" if amount_fen < 0 else ""
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{sign}¥{whole:,}.{rest:02d}"


def share_bp(amount: int, *, basis_points: int) -> int:
    """Return `basis_points` / 10,000 of `amount`, rounded down.

    >>> share_bp(999, basis_points=500)
    49
    """
    return amount * basis_points // BASIS_POINTS
