"""The arithmetic of a purchase order line: every unit ordered is in exactly one place.

ordered = accepted + rejected + cancelled + unanswered and accepted = good + damaged +
short_closed + open, before and after every function here. What a supplier says and what a
warehouse counts may come in any order and end in the same numbers: goods that are there count as
accepted, whatever the supplier says of them later.
"""

from dataclasses import dataclass, replace

from kit.errors import Unprocessable
from kit.money import share_bp


class LineRefused(Unprocessable):
    """The numbers cannot belong to this line."""

    code = "purchase_order.line_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineUnits:
    """Where the units of a line are; the names are the columns of the table."""

    ordered_units: int
    unanswered_units: int = 0
    accepted_units: int = 0
    rejected_units: int = 0
    cancelled_units: int = 0
    open_units: int = 0
    good_units: int = 0
    damaged_units: int = 0
    short_closed_units: int = 0
    over_units: int = 0

    @property
    def coming_units(self) -> int:
        """Units that may still arrive."""
        return self.unanswered_units + self.open_units

    @property
    def settled(self) -> bool:
        """Whether nothing is expected any more."""
        return self.coming_units == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A line after goods were counted, and where the goods go."""

    units: LineUnits
    sellable_units: int
    held_units: int


def new_line(ordered_units: int) -> LineUnits:
    """Return a line nobody has answered.

    >>> new_line(12).unanswered_units
    12
    """
    if ordered_units <= 0:
        raise LineRefused("a line orders at least one unit")
    return LineUnits(ordered_units=ordered_units, unanswered_units=ordered_units)


def answer(line: LineUnits, *, accepted_units: int) -> LineUnits:
    """Return the line after its supplier accepted so many units; the rest of them is refused.

    Raises:
        LineRefused: more than was ordered, or less than nothing.

    >>> after = answer(new_line(100), accepted_units=80)
    >>> after.open_units, after.rejected_units, after.unanswered_units
    (80, 20, 0)
    """
    most_units = line.ordered_units - line.cancelled_units
    if not 0 <= accepted_units <= most_units:
        raise LineRefused(f"{accepted_units} accepted of {most_units} ordered units")
    newly = min(max(accepted_units - line.accepted_units, 0), line.unanswered_units)
    return replace(
        line,
        unanswered_units=0,
        accepted_units=line.accepted_units + newly,
        open_units=line.open_units + newly,
        rejected_units=line.rejected_units + line.unanswered_units - newly,
    )


def refuse(line: LineUnits) -> LineUnits:
    """Return the line after its supplier refused what it had not answered.

    >>> refuse(new_line(7)).rejected_units
    7
    """
    return replace(
        line,
        unanswered_units=0,
        rejected_units=line.rejected_units + line.unanswered_units,
    )


def cancel(line: LineUnits) -> LineUnits:
    """Return the line after we took back what nobody had answered.

    >>> cancel(new_line(7)).cancelled_units
    7
    """
    return replace(
        line,
        unanswered_units=0,
        cancelled_units=line.cancelled_units + line.unanswered_units,
    )


def count(
    line: LineUnits, *, good_units: int, damaged_units: int, over_delivery_bp: int
) -> Counted:
    """Return the line after a warehouse counted goods for it.

    Goods fill what was ordered and not cancelled; what comes beyond that is over-delivery, of
    which good units within `over_delivery_bp` of the order may be sold and the rest is held.

    >>> counted = count(new_line(100), good_units=103, damaged_units=2, over_delivery_bp=200)
    >>> counted.units.good_units, counted.units.over_units
    (100, 5)
    >>> counted.sellable_units, counted.held_units
    (102, 3)
    """
    if good_units < 0 or damaged_units < 0:
        raise LineRefused("a count is not negative")
    wanted_units = line.ordered_units - line.cancelled_units
    room_units = wanted_units - line.good_units - line.damaged_units
    good = min(good_units, room_units)
    damaged = min(damaged_units, room_units - good)
    over_good, over_damaged = good_units - good, damaged_units - damaged
    allowance = share_bp(wanted_units, basis_points=over_delivery_bp) - line.over_units
    sellable_over = min(over_good, max(allowance, 0))
    filled = _take(line, good + damaged)
    return Counted(
        units=replace(
            filled,
            good_units=line.good_units + good,
            damaged_units=line.damaged_units + damaged,
            over_units=line.over_units + over_good + over_damaged,
        ),
        sellable_units=good + sellable_over,
        held_units=damaged + over_damaged + over_good - sellable_over,
    )


def _take(line: LineUnits, units: int) -> LineUnits:
    """Return the line with `units` taken from where they were expected, the likeliest first."""
    from_open = min(units, line.open_units)
    # The late rest of what was given up comes before what was never promised.
    from_short = min(units - from_open, line.short_closed_units)
    left = units - from_open - from_short
    from_unanswered = min(left, line.unanswered_units)
    from_rejected = left - from_unanswered
    return replace(
        line,
        open_units=line.open_units - from_open,
        short_closed_units=line.short_closed_units - from_short,
        unanswered_units=line.unanswered_units - from_unanswered,
        rejected_units=line.rejected_units - from_rejected,
        accepted_units=line.accepted_units + from_unanswered + from_rejected,
    )


def close_short(line: LineUnits) -> LineUnits:
    """Return the line after we gave up what has not come.

    >>> rest = close_short(answer(new_line(10), accepted_units=10))
    >>> rest.short_closed_units, rest.open_units
    (10, 0)
    """
    return replace(
        line,
        open_units=0,
        short_closed_units=line.short_closed_units + line.open_units,
        unanswered_units=0,
        rejected_units=line.rejected_units + line.unanswered_units,
    )
