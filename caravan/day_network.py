"""The warehouses and carriers of the replayed day: five cities, two carriers, one distance rule."""

from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt
from typing import Any, Final

from caravan.figures import PROVINCES, Province

_EARTH_KM: Final = 6_371.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A warehouse city: its code, its Chinese name, and the province it is the capital of."""

    code: str
    city: str
    province: str  # adcode


# The five capitals that are nearest to the Tmall orders of `figures.PROVINCES` (exact p-median,
# great circle, k = 5).
SITES: Final = (
    Site(code="shijiazhuang", city="石家庄", province="130000"),
    Site(code="shenyang", city="沈阳", province="210000"),
    Site(code="hangzhou", city="杭州", province="330000"),
    Site(code="guangzhou", city="广州", province="440000"),
    Site(code="chengdu", city="成都", province="510000"),
)
_PROVINCE: Final = {province.adcode: province for province in PROVINCES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a carrier charges and needs up to a distance; weights go by the started kilogram."""

    up_to_km: float
    first_fen: int
    step_fen: int
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hauler:
    """A carrier of the day."""

    code: str
    name: str
    bands: tuple[Band, ...]


# Believable, made up: the express one is quick and dear, the other slow and cheap.
HAULERS: Final = (
    Hauler(
        code="sf",
        name="顺丰速运",
        bands=(
            Band(up_to_km=50, first_fen=900, step_fen=150, days=1),
            Band(up_to_km=600, first_fen=1_200, step_fen=250, days=1),
            Band(up_to_km=1_200, first_fen=1_500, step_fen=450, days=2),
            Band(up_to_km=2_000, first_fen=1_900, step_fen=700, days=2),
            Band(up_to_km=_EARTH_KM, first_fen=2_400, step_fen=1_100, days=3),
        ),
    ),
    Hauler(
        code="sto",
        name="申通快递",
        bands=(
            Band(up_to_km=50, first_fen=400, step_fen=80, days=1),
            Band(up_to_km=600, first_fen=600, step_fen=120, days=2),
            Band(up_to_km=1_200, first_fen=850, step_fen=300, days=3),
            Band(up_to_km=2_000, first_fen=1_150, step_fen=550, days=4),
            Band(up_to_km=_EARTH_KM, first_fen=1_600, step_fen=900, days=6),
        ),
    ),
)
_STEP_GRAMS: Final = 1_000
_DAILY_PARCELS: Final = 4_000
_WAVE_COST_FEN: Final = 3_000
_HANDLING_HOURS: Final = 2


def distance_km(one: Province, other: Province) -> float:
    """Return the great-circle distance between two provincial capitals.

    >>> beijing, tianjin = PROVINCES[:2]
    >>> round(distance_km(beijing, tianjin)), distance_km(beijing, beijing)
    (114, 0.0)
    """
    north, other_north = radians(one.lat), radians(other.lat)
    half = sin((other_north - north) / 2) ** 2
    half += cos(north) * cos(other_north) * sin(radians(other.lon - one.lon) / 2) ** 2
    return 2 * _EARTH_KM * asin(sqrt(half))


def band_of(hauler: Hauler, *, site: Site, province: Province) -> Band:
    """Return what a carrier asks from a warehouse to a province."""
    away_km = distance_km(_PROVINCE[site.province], province)
    return next(band for band in hauler.bands if away_km <= band.up_to_km)


def warehouses() -> list[dict[str, Any]]:
    """Return the warehouses with their lanes, as a catalogue writes them."""
    return [_warehouse(site) for site in SITES]


def _warehouse(site: Site) -> dict[str, Any]:
    home = _PROVINCE[site.province]
    return {
        "code": site.code,
        "name": f"{site.city}仓",
        "province": site.province,
        "city": home.capital,
        "lon": home.lon,
        "lat": home.lat,
        "cut_off": "18:00",
        "handling_hours": _HANDLING_HOURS,
        "daily_parcels": _DAILY_PARCELS,
        "wave_cost_fen": _WAVE_COST_FEN,
        "lanes": [lane for hauler in HAULERS for lane in _lanes(hauler, site)],
    }


def _lanes(hauler: Hauler, site: Site) -> list[dict[str, Any]]:
    reached: dict[Band, list[str]] = {}
    for province in PROVINCES:
        band = band_of(hauler, site=site, province=province)
        reached.setdefault(band, []).append(province.adcode)
    return [
        {
            "carrier": hauler.code,
            "provinces": provinces,
            "first_grams": _STEP_GRAMS,
            "first_fen": band.first_fen,
            "step_grams": _STEP_GRAMS,
            "step_fen": band.step_fen,
            "days": band.days,
        }
        for band, provinces in reached.items()
    ]


def carriers() -> list[dict[str, Any]]:
    """Return the carriers as a catalogue writes them."""
    return [{"code": hauler.code, "name": hauler.name} for hauler in HAULERS]


def sandbox_warehouses() -> list[dict[str, Any]]:
    """Return the warehouse companies; now and then one says something twice."""
    return [
        {
            "code": site.code,
            "handling_hours": _HANDLING_HOURS,
            "behaviour": {"events": {"duplicates": {"every": 10, "after_seconds": 30}}},
        }
        for site in SITES
    ]


def sandbox_carriers() -> list[dict[str, Any]]:
    """Return the carrier companies; each loses the answer to its first label."""
    return [
        {
            "code": hauler.code,
            "tariff": {
                "base_fen": hauler.bands[1].first_fen,
                "step_fen": hauler.bands[1].step_fen,
                "step_grams": _STEP_GRAMS,
            },
            "lanes": [
                {
                    "from_province": site.province,
                    "to_province": province.adcode,
                    "days": band_of(hauler, site=site, province=province).days,
                }
                for site in SITES
                for province in PROVINCES
            ],
            "behaviour": {"answers": {"lost": {"first": 1, "only": ["label"]}}},
        }
        for hauler in HAULERS
    ]
