"""Which units travel in which parcel: orders of one address share, heavy orders are split."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An order's units that leave one warehouse for one address."""

    order_id: UUID
    group_id: UUID
    sku: str
    units: int
    unit_grams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What lies in one parcel; an order that is too heavy for one appears in several."""

    items: tuple[Item, ...]

    @property
    def weight_grams(self) -> int:
        return sum(item.units * item.unit_grams for item in self.items)


def parcels_of(*, units: int, unit_grams: int, max_grams: int) -> tuple[int, ...]:
    """Return the units of each parcel of one order, full ones first.

    A single unit above the limit is a parcel of its own: the carrier may refuse it, arithmetic
    cannot help it.

    >>> parcels_of(units=7, unit_grams=10_000, max_grams=30_000)
    (3, 3, 1)
    """
    a_parcel = max(max_grams // unit_grams, 1)
    full, rest = divmod(units, a_parcel)
    return (a_parcel,) * full + ((rest,) if rest else ())


def pack(items: Iterable[Item], *, max_grams: int) -> list[Parcel]:
    """Put the orders of one address into few parcels of at most `max_grams`.

    Heaviest first into the first parcel with room. What fits into one parcel is never split, so
    that a buyer waits for as few parcels as possible.
    """
    loads: list[list[Item]] = []
    free_grams: list[int] = []
    for item in sorted(items, key=lambda each: (-each.units * each.unit_grams, each.order_id)):
        for units in parcels_of(units=item.units, unit_grams=item.unit_grams, max_grams=max_grams):
            part = Item(
                order_id=item.order_id,
                group_id=item.group_id,
                sku=item.sku,
                units=units,
                unit_grams=item.unit_grams,
            )
            grams = units * item.unit_grams
            # An order's second parcel never meets its first one again.
            at = next(
                (
                    at
                    for at, left in enumerate(free_grams)
                    if left >= grams and all(i.order_id != item.order_id for i in loads[at])
                ),
                None,
            )
            if at is None:
                loads.append([part])
                free_grams.append(max_grams - grams)
            else:
                loads[at].append(part)
                free_grams[at] -= grams
    return [Parcel(items=tuple(load)) for load in loads]
