"""Which parcels leave at which cut-off: what belongs together stays together, days stay full."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from logistics.cutoffs import DailyCutOff

# A parcel that finds no day with room in this time is a matter for a person.
HORIZON: Final = timedelta(days=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Departing:
    """A planned parcel.

    Args:
        ties: groups that leave whole; parcels with a common tie leave at one instant.
        ready_at: when its goods were all there; None while something is missing.
        not_before: set after a carrier refused it, so that it waits for another day.
        completed_at: when the earliest of its groups was complete; earlier ones leave first.
    """

    shipment_id: UUID
    warehouse: str
    carrier: str
    ties: frozenset[UUID]
    ready_at: datetime | None
    not_before: datetime | None = None
    completed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Dock:
    """What a warehouse can send, and when."""

    cut_off: DailyCutOff
    daily_parcels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A carrier's departure from a warehouse."""

    warehouse: str
    carrier: str
    cut_off_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Departures:
    """Parcels by departure, and those that no day can take."""

    slots: Mapping[Slot, Sequence[UUID]]
    too_large: Sequence[UUID]


def bound_together(parcels: Iterable[Departing]) -> list[list[Departing]]:
    """Return the parcels in sets that must leave one warehouse at one instant.

    Two parcels are in one set when a chain of common ties joins them: a whole group ties its
    parcels, and a shared parcel ties its groups.
    """
    root: dict[object, object] = {}

    def find(key: object) -> object:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    kept = list(parcels)
    for parcel in kept:
        for tie in parcel.ties:
            # A group that had to leave from two warehouses cannot be one departure.
            root[find((parcel.warehouse, tie))] = find(parcel.shipment_id)
    sets: dict[object, list[Departing]] = {}
    for parcel in kept:
        sets.setdefault(find(parcel.shipment_id), []).append(parcel)
    return list(sets.values())


def plan_departures(
    parcels: Iterable[Departing],
    *,
    docks: Mapping[str, Dock],
    taken: Mapping[tuple[str, datetime], int],
    now: datetime,
) -> Departures:
    """Give every ready set of parcels the first cut-off with room for all of it.

    The first cut-off is the one at or after it was ready; when that has passed, the latest one
    that has passed, as a late departure of that day. A set is never divided over days.

    Args:
        taken: parcels that already leave at a (warehouse, cut-off).
    """
    used: MutableMapping[tuple[str, datetime], int] = dict(taken)
    slots: dict[Slot, list[UUID]] = {}
    too_large: list[UUID] = []
    ready = [
        bound
        for bound in bound_together(parcels)
        if all(each.ready_at is not None for each in bound)
    ]
    ready.sort(
        key=lambda bound: (
            min(each.completed_at for each in bound),
            min(each.shipment_id for each in bound),
        )
    )
    for bound in ready:
        warehouse = bound[0].warehouse
        cut_off_at = _first_with_room(bound, dock=docks[warehouse], used=used, now=now)
        if cut_off_at is None:
            too_large += [each.shipment_id for each in bound]
            continue
        used[warehouse, cut_off_at] = used.get((warehouse, cut_off_at), 0) + len(bound)
        for each in bound:
            slot = Slot(warehouse=warehouse, carrier=each.carrier, cut_off_at=cut_off_at)
            slots.setdefault(slot, []).append(each.shipment_id)
    return Departures(slots=slots, too_large=too_large)


def _first_with_room(
    bound: Sequence[Departing],
    *,
    dock: Dock,
    used: Mapping[tuple[str, datetime], int],
    now: datetime,
) -> datetime | None:
    if len(bound) > dock.daily_parcels:
        return None
    moments = [each.ready_at for each in bound] + [each.not_before for each in bound]
    ready_at = max(moment for moment in moments if moment is not None)
    earliest = max(dock.cut_off.next(ready_at), dock.cut_off.last(now))
    for cut_off_at in dock.cut_off.upcoming(earliest):
        if used.get((bound[0].warehouse, cut_off_at), 0) + len(bound) <= dock.daily_parcels:
            return cut_off_at
        if cut_off_at > now + HORIZON:
            return None
    raise AssertionError  # upcoming() has no end
