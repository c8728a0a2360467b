"""The catalogue file: products, carriers, warehouses, suppliers and campaigns, field by field.

Each section may be missing: what a document does not name stays as it is. Secrets have no place
in it. Rules between fields are in `operations.catalogue_rules`.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from groups.addresses import AddressUnknown, province_adcode
from groups.states import CampaignState, WarehousePolicy
from logistics.tables import WarehouseKind
from suppliers.tables import PriceMode

_INT32: Final = 2**31 - 1
_YEAR_SECONDS: Final = 366 * 86_400
ANYWHERE: Final = "*"


def _clean(value: str) -> str:
    if "\0" in value or not value.isprintable():
        raise ValueError("text has no control characters")
    return value


def _number_as_text(value: object) -> object:
    # An adcode without quotes is a number to YAML.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _province(value: str) -> str:
    try:
        return province_adcode(value)
    except AddressUnknown as error:
        raise ValueError(str(error)) from None


def _destination(value: str) -> str:
    return value if value == ANYWHERE else _province(value)


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("no such time zone, such as Asia/Shanghai")
    return value


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and names a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address here has no user, password, query or fragment")
    return value.rstrip("/")


_CODE: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Code = Annotated[str, BeforeValidator(_number_as_text), StringConstraints(pattern=_CODE)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_clean)]
Prose = Annotated[str, StringConstraints(max_length=4_000)]
Amount = Annotated[int, Field(ge=0, le=_INT32)]
Positive = Annotated[int, Field(ge=1, le=_INT32)]
BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
Days = Annotated[int, Field(ge=0, le=366)]
Seconds = Annotated[int, Field(ge=1, le=_YEAR_SECONDS)]
LocalTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Timezone = Annotated[str, AfterValidator(_timezone)]
Adcode = Annotated[
    str, BeforeValidator(_number_as_text), StringConstraints(pattern=r"^[1-9]\d{5}$")
]
Province = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_province)]
Destination = Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_destination)]


class Part(BaseModel):
    """A part of the document; fields that it does not know are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Endpoint(Part):
    """Where a company is called; its secret is set by `caravan partner set`."""

    url: Annotated[str, AfterValidator(_address)]


class Product(Part):
    """Something that is sold, counted in base units."""

    sku: Code
    name: Text
    weight_grams: Positive
    volume_cm3: Positive
    safety_units: Amount = Field(default=0, description="never promised to buyers")
    holding_fen: Amount = Field(default=0, description="of a unit bought ahead, until it is sold")
    writeoff_fen: Amount = Field(default=0, description="of a unit that is never sold")
    max_excess_units: Amount = Field(default=0, description="most units bought beyond the need")
    shelf_life_days: Positive | None = None
    moq_risk_accepted: bool = Field(
        default=False, description="sell ahead even if a MOQ leaves more than max_excess_units"
    )


class Carrier(Part):
    """A company that moves parcels."""

    code: Code
    name: Text
    max_parcel_grams: Positive = 30_000
    active: bool = True
    endpoint: Endpoint | None = None


class Lane(Part):
    """What a carrier charges to provinces: a first weight, then each started step."""

    carrier: Code
    provinces: Annotated[tuple[Destination, ...], Field(min_length=1, strict=False)] = Field(
        description="adcodes or names; '*' is every mainland province that no other lane names"
    )
    first_grams: Positive = 1_000
    first_fen: Amount
    step_grams: Positive = 1_000
    step_fen: Amount
    days: Annotated[int, Field(ge=0, le=60)]


class Warehouse(Part):
    """A place that ships parcels; its lanes here are all it has."""

    code: Code
    name: Text
    kind: Annotated[WarehouseKind, Field(strict=False)] = WarehouseKind.OWN
    province: Province
    city: Adcode
    lon: Annotated[float, Field(ge=73, le=136, description="degrees east, in China")]
    lat: Annotated[float, Field(ge=3, le=54, description="degrees north, in China")]
    timezone: Timezone = "Asia/Shanghai"
    cut_off: LocalTime = Field(default="18:00", description="local; later parcels leave next day")
    handling_hours: Annotated[int, Field(ge=0, le=240)] = 2
    daily_parcels: Amount
    wave_cost_fen: Amount = 0
    lanes: Annotated[tuple[Lane, ...], Field(strict=False)] = ()
    endpoint: Endpoint | None = None


class Tier(Part):
    """From `min_units` on, a unit costs this."""

    min_units: Positive
    unit_price_fen: Positive


class Agreement(Part):
    """What a supplier sells of one SKU, and how."""

    sku: Code
    moq: Positive = 1
    pack: Positive = Field(default=1, description="units ordered are a multiple of it")
    max_units: Positive | None = Field(default=None, description="most units in one order")
    capacity_per_day: Amount
    lead_days: Days
    hard_safety_days: Days = 0
    soft_safety_days: Days = 0
    cancel_window_hours: Amount = 0
    price_mode: Annotated[PriceMode, Field(strict=False)] = PriceMode.ALL_UNITS
    committed_units: Positive | None = Field(default=None, description="of a flexible agreement")
    allowance_bp: BasisPoints = 0
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, strict=False)]
    ended: bool = Field(default=False, description="true ends the agreement that is valid")


class SpendTier(Part):
    """From this spend on, the whole order earns the rebate."""

    min_spend_fen: Amount
    rebate_bp: BasisPoints


class Supplier(Part):
    """A company we buy from."""

    code: Code
    name: Text
    currency: Literal["CNY"] = "CNY"
    timezone: Timezone = "Asia/Shanghai"
    cut_off: LocalTime = "17:00"
    min_order_value_fen: Amount = 0
    fixed_order_cost_fen: Amount = 0
    spend_tiers: Annotated[tuple[SpendTier, ...], Field(strict=False)] = ()
    freight_fen: dict[Code, Amount] = Field(
        default={}, description="of a unit, by warehouse; empty: everywhere, free"
    )
    price_tolerance_bp: BasisPoints = 0
    over_delivery_bp: BasisPoints = 0
    ack_sla_hours: Annotated[int, Field(ge=1, le=720)] = 24
    active: bool = True
    agreements: Annotated[tuple[Agreement, ...], Field(strict=False)] = ()
    endpoint: Endpoint | None = None


class CampaignMode(StrEnum):
    """Ways to buy in groups that can be put on sale."""

    FIXED = "fixed"
    TIERED = "tiered"


class LateMoney(StrEnum):
    """What happens to money whose seat was released."""

    REOPEN_IF_ROOM = "reopen_if_room"
    REFUND = "refund"


class PriceStep(Part):
    """From so many members on, everybody pays this for one quantity."""

    members: Annotated[int, Field(ge=1, le=1_000)]
    price_fen: Positive


class Campaign(Part):
    """What the shop sells in groups; a change makes a new version, running groups keep theirs."""

    code: Code
    sku: Code
    title: Text
    state: Annotated[CampaignState, Field(strict=False)] = CampaignState.ACTIVE
    mode: Annotated[CampaignMode, Field(strict=False)] = CampaignMode.FIXED
    capacity: Annotated[int, Field(ge=2, le=1_000)]
    min_size: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        default=None, description="fixed: the capacity; tiered: members of the first step"
    )
    window_seconds: Seconds = 86_400
    seat_ttl_seconds: Annotated[int, Field(ge=60, le=7_200)] = 900
    per_user_limit: Annotated[int, Field(ge=1, le=1_000, description="counts quantity")] = 1
    seat_cap: Positive | None = Field(
        default=None, description="participants over all groups of the product"
    )
    units_per_seat: Annotated[int, Field(ge=1, le=1_000)] = 1
    list_price_fen: Positive
    price_fen: Positive | None = Field(
        default=None, description="paid up front; tiered: the price of the first step"
    )
    tiers: Annotated[tuple[PriceStep, ...], Field(strict=False)] = ()
    late_payment_policy: Annotated[LateMoney, Field(strict=False)] = LateMoney.REOPEN_IF_ROOM
    warehouse_policy: Annotated[WarehousePolicy, Field(strict=False)] = WarehousePolicy.SPLIT_OK
    ship_within_seconds: Seconds = Field(description="from the group's success")
    terms: Prose = Field(default="", description="conditions, refund rule and validity")

    @property
    def first_members(self) -> int:
        """Members that are enough at the deadline."""
        if self.min_size is not None:
            return self.min_size
        return self.tiers[0].members if self.tiers else self.capacity

    @property
    def upfront_fen(self) -> int | None:
        """What a member pays when taking a seat; None when the document does not say."""
        if self.price_fen is not None:
            return self.price_fen
        return self.tiers[0].price_fen if self.tiers else None


class Catalogue(Part):
    """A Caravan catalogue."""

    products: Annotated[tuple[Product, ...], Field(strict=False)] = ()
    carriers: Annotated[tuple[Carrier, ...], Field(strict=False)] = ()
    warehouses: Annotated[tuple[Warehouse, ...], Field(strict=False)] = ()
    suppliers: Annotated[tuple[Supplier, ...], Field(strict=False)] = ()
    campaigns: Annotated[tuple[Campaign, ...], Field(strict=False)] = ()
