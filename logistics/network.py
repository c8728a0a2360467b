"""The network as a plan sees it: who sends from where, to whom, for how much and how fast."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from logistics.cutoffs import DailyCutOff
from logistics.geography import province_km
from logistics.parcels import parcels_of
from logistics.tables import Carrier, Lane, Warehouse, WarehouseKind
from logistics.tariffs import Tariff, parcel_price_fen

_SAMPLE_GRAMS = 1000


class Preference(NamedTuple):
    """A way to a province, for those who ask before there is a parcel."""

    warehouse: str
    carrier: str
    price_fen: int  # of a parcel of 1 kg
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A warehouse."""

    code: str
    kind: WarehouseKind
    province: str
    city: str
    lon: float
    lat: float
    cut_off: DailyCutOff
    handling_hours: int
    daily_parcels: int
    wave_cost_fen: int
    on_hold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A carrier's lane from a warehouse to a province."""

    carrier: str
    tariff: Tariff
    days: int
    max_grams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The cheapest way for an order from one warehouse."""

    carrier: str
    price_fen: int
    days: int
    parcels: int
    max_grams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Warehouses by code and the ways from them; quotes are kept, a run asks often."""

    places: Mapping[str, Place]
    ways: Mapping[tuple[str, str], Sequence[Way]]  # by warehouse and province
    _quotes: dict[tuple[str, str, str, int, int], Quote | None] = field(default_factory=dict)

    def quote(
        self, warehouse: str, *, province: str, city: str, units: int, unit_grams: int
    ) -> Quote | None:
        """Return the cheapest way for an order, the faster one at the same price; None: no way.

        A local warehouse delivers only in its own city.
        """
        key = (warehouse, province, city, units, unit_grams)
        if key not in self._quotes:
            self._quotes[key] = self._quote(
                warehouse, province=province, city=city, units=units, unit_grams=unit_grams
            )
        return self._quotes[key]

    def _quote(
        self, warehouse: str, *, province: str, city: str, units: int, unit_grams: int
    ) -> Quote | None:
        place = self.places[warehouse]
        if place.kind is WarehouseKind.LOCAL and city != place.city:
            return None
        quotes = []
        for way in self.ways.get((warehouse, province), ()):
            if unit_grams > way.max_grams:
                continue
            parts = parcels_of(units=units, unit_grams=unit_grams, max_grams=way.max_grams)
            price_fen = sum(
                parcel_price_fen(way.tariff, weight_grams=part * unit_grams) for part in parts
            )
            quotes.append(
                Quote(
                    carrier=way.carrier,
                    price_fen=price_fen,
                    days=way.days,
                    parcels=len(parts),
                    max_grams=way.max_grams,
                )
            )
        return min(quotes, key=lambda q: (q.price_fen, q.days, q.carrier), default=None)

    def km(self, warehouse: str, province: str) -> float:
        """Return the distance from a warehouse to a province's capital."""
        place = self.places[warehouse]
        return province_km((place.lon, place.lat), province)


async def read_network(session: AsyncSession) -> Network:
    """Return the network with the lanes of active carriers."""
    warehouses = (await session.exec(select(Warehouse))).all()
    carriers = {
        carrier.code: carrier
        for carrier in (await session.exec(select(Carrier).where(col(Carrier.active)))).all()
    }
    ways: defaultdict[tuple[str, str], list[Way]] = defaultdict(list)
    for lane in (await session.exec(select(Lane))).all():
        carrier = carriers.get(lane.carrier)
        if carrier is None:
            continue
        ways[lane.warehouse, lane.province].append(
            Way(
                carrier=lane.carrier,
                tariff=Tariff(
                    first_grams=lane.first_grams,
                    first_fen=lane.first_fen,
                    step_grams=lane.step_grams,
                    step_fen=lane.step_fen,
                ),
                days=lane.days,
                max_grams=carrier.max_parcel_grams,
            )
        )
    places = {
        row.code: Place(
            code=row.code,
            kind=row.kind,
            province=row.province,
            city=row.city,
            lon=row.lon,
            lat=row.lat,
            cut_off=DailyCutOff(local=row.cut_off, timezone=row.timezone),
            handling_hours=row.handling_hours,
            daily_parcels=row.daily_parcels,
            wave_cost_fen=row.wave_cost_fen,
            on_hold=row.on_hold,
        )
        for row in warehouses
    }
    return Network(places=places, ways=dict(ways))


async def preferred_warehouses(
    session: AsyncSession, provinces: Collection[str] | None = None
) -> Mapping[str, list[Preference]]:
    """Return the ways to each province, cheapest first, from warehouses that ship there now.

    Warehouses on hold are left out, and local ones, which serve a city and not a province.

    Args:
        provinces: adcodes; None is every province with a lane.
    """
    network = await read_network(session)
    preferences: defaultdict[str, list[Preference]] = defaultdict(list)
    for (warehouse, province), ways in network.ways.items():
        place = network.places[warehouse]
        if place.on_hold or place.kind is WarehouseKind.LOCAL:
            continue
        if provinces is not None and province not in provinces:
            continue
        preferences[province] += [
            Preference(
                warehouse=warehouse,
                carrier=way.carrier,
                price_fen=parcel_price_fen(way.tariff, weight_grams=_SAMPLE_GRAMS),
                days=way.days,
            )
            for way in ways
        ]
    for province in provinces or ():
        preferences.setdefault(province, [])
    return {
        province: sorted(found, key=lambda way: (way.price_fen, way.days, way.warehouse))
        for province, found in preferences.items()
    }
