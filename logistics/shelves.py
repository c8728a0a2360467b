"""What a planning run may still give away: stock and inbound, a source at a time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Units of a SKU that one order can be served from.

    Args:
        line_id: the purchase order line they come with; None for stock on the shelf.
        available_at: when they are promised; None for stock on the shelf.
    """

    warehouse: str
    sku: str
    units: int
    line_id: UUID | None = None
    available_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str, UUID | None]:
        """What it is known by: a shelf, or a line."""
        return self.warehouse, self.sku, self.line_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Units taken from one source."""

    source: Source
    units: int


class Shelves:
    """Sources with what is left of them; stock first, then what comes earliest."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources: defaultdict[tuple[str, str], list[Source]] = defaultdict(list)
        self._left: dict[tuple[str, str, UUID | None], int] = {}
        for source in sources:
            self._sources[source.warehouse, source.sku].append(source)
            self._left[source.key] = source.units
        for row in self._sources.values():
            row.sort(
                key=lambda s: (
                    s.available_at is not None,
                    s.available_at.timestamp() if s.available_at else 0.0,
                    str(s.line_id),
                )
            )

    def fit(
        self, warehouse: str, sku: str, *, wanted: Sequence[int], stock_only: bool = False
    ) -> list[Draw] | None:
        """Return where each wanted quantity would come from, in the order asked; None: nowhere.

        An order is served from one source, so two units that are left in two places do not make
        an order of two. The largest quantities choose first.
        """
        left = {
            source: self._left[source.key]
            for source in self._sources.get((warehouse, sku), ())
            if source.line_id is None or not stock_only
        }
        draws: dict[int, Draw] = {}
        for at in sorted(range(len(wanted)), key=lambda index: (-wanted[index], index)):
            source = next((each for each, units in left.items() if units >= wanted[at]), None)
            if source is None:
                return None
            left[source] -= wanted[at]
            draws[at] = Draw(source=source, units=wanted[at])
        return [draws[at] for at in range(len(wanted))]

    def take(self, draws: Iterable[Draw]) -> None:
        """Give units away."""
        for draw in draws:
            self._left[draw.source.key] -= draw.units

    def put_back(self, draws: Iterable[Draw]) -> None:
        """Undo `take`."""
        for draw in draws:
            self._left[draw.source.key] += draw.units

    def left(self, warehouse: str, sku: str) -> int:
        """Return the units left of a SKU in one warehouse, inbound included."""
        return sum(self._left[source.key] for source in self._sources.get((warehouse, sku), ()))

    def use_up(self, warehouse: str, sku: str, *, units: int) -> None:
        """Take up to so many units, from whatever sources, for somebody who waits for more."""
        for source in self._sources.get((warehouse, sku), ()):
            taken = min(units, self._left[source.key])
            self._left[source.key] -= taken
            units -= taken

    def stock_left(self) -> Mapping[tuple[str, str], int]:
        """Return what is left on the shelves by (warehouse, sku)."""
        return {
            (warehouse, sku): units
            for (warehouse, sku, line_id), units in self._left.items()
            if line_id is None and units > 0
        }
