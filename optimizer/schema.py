"""What the two optimizers read and write: frozen dataclasses equal to the JSON schemas p1/1, p2/1.

Field names are the names of the JSON documents, so units stand in the descriptions instead:
every price, cost, penalty and order value is an integer number of cents (fen), every rate or
probability an integer number of basis points (`_bp`), every quantity an integer number of units.
"""

from dataclasses import dataclass
from typing import Final, Literal

E4: Final = 10_000
"""One cent in the objective's unit: basis points of a cent amount are integers in it."""

P1_SCHEMA: Final = "p1/1"
P2_SCHEMA: Final = "p2/1"

Scheme = Literal["all_units", "incremental"]
Status = Literal["optimal", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendTier:
    """From `min_spend` on, the whole spend at the supplier earns `rebate_bp` back."""

    min_spend: int
    rebate_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplier:
    """Terms that bind all products bought from one supplier together.

    `freight_per_unit` lists the warehouses the supplier delivers to; it serves no other.
    """

    id: str
    fixed_order_cost: int = 0
    min_order_value: int = 0
    spend_tiers: tuple[SpendTier, ...] = (SpendTier(min_spend=0, rebate_bp=0),)
    freight_per_unit: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What a unit costs to keep, and how many more than needed may be bought per warehouse."""

    id: str
    holding_cost: int = 0
    writeoff_cost: int = 0
    future_unit_cost: int = 0
    max_excess: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FormingSegment:
    """Units that groups still forming will need with probability `pi_bp`."""

    units: int
    pi_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Units one warehouse must receive of a product, and those it may receive ahead of need."""

    product: str
    warehouse: str
    must: int
    forming: tuple[FormingSegment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBreak:
    """A tier: its first unit and its unit price."""

    from_units: int
    price: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one supplier charges for one product, and the quantities it accepts."""

    supplier: str
    product: str
    scheme: Scheme = "all_units"
    moq: int = 1
    pack: int = 1
    capacity: int
    breaks: tuple[PriceBreak, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcurementProblem:
    """One purchase decision: schema p1/1."""

    schema: str = P1_SCHEMA
    name: str = ""
    budget: int | None = None
    warehouses: tuple[str, ...]
    suppliers: tuple[Supplier, ...]
    products: tuple[Product, ...]
    demands: tuple[Demand, ...]
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """Units of an order line that go straight to one warehouse."""

    warehouse: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """One purchase: `purchase_cost` is before rebate, `tier_from` the first unit of its tier."""

    supplier: str
    product: str
    units: int
    tier_from: int
    purchase_cost: int
    shipments: tuple[Shipment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What arrives beyond the must at one warehouse; `forming` is aligned with the demand's."""

    product: str
    warehouse: str
    forming: tuple[int, ...]
    excess: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcurementPlan:
    """Orders and where their units go; a demand without a coverage row gets exactly its must."""

    orders: tuple[OrderLine, ...]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationWarehouse:
    """A place that ships; `parcel_capacity` None means that it packs any number of parcels."""

    id: str
    wave_cost: int = 0
    parcel_capacity: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Units of a product that one warehouse can ship."""

    warehouse: str
    product: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierRate:
    """What a parcel costs on the way from a warehouse to a zone; no row means no service."""

    warehouse: str
    zone: str
    per_parcel: int
    per_volume: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truck:
    """Line haul of one lane, paid by the started truck."""

    warehouse: str
    zone: str
    capacity: int
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One parcel of a group."""

    id: str
    zone: str
    units: int
    volume: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Members who bought one product together.

    `whole` forbids splitting the group over warehouses; `warehouses` None lets every warehouse
    ship it.
    """

    id: str
    product: str
    split_penalty: int = 0
    members: tuple[Member, ...]
    whole: bool = False
    warehouses: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationProblem:
    """One fulfilment decision: schema p2/1."""

    schema: str = P2_SCHEMA
    name: str = ""
    warehouses: tuple[AllocationWarehouse, ...]
    zones: tuple[str, ...]
    stock: tuple[Stock, ...]
    carrier: tuple[CarrierRate, ...]
    trucks: tuple[Truck, ...] = ()
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationPlan:
    """Member id to warehouse id; a group that is not served has no member in it."""

    assignment: dict[str, str]
