"""The events partners may send, by kind of partner: strict, bounded, documented by their schema.

`docs/partners.md` is the protocol, `docs/webhooks.md` has examples, `api.webhook_schema` writes the
schemas.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

# A webhook is at most 64 KiB, so these bounds only refuse what nobody means.
_ROWS: Final = 2_000
_UNITS: Final = 100_000_000
_FEN: Final = 1_000_000_000

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Note = Annotated[str, Meta(max_length=1_000)]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339 with offset; business time")]
Units = Annotated[int, Meta(ge=0, le=_UNITS)]
SomeUnits = Annotated[int, Meta(ge=1, le=_UNITS)]
UnitPrice = Annotated[int, Meta(ge=0, le=_FEN)]
Number = Annotated[int, Meta(ge=1, le=1_000_000)]


class Wire(msgspec.Struct, forbid_unknown_fields=True):
    """A part of an event; unknown fields are refused."""


class AcceptedLine(Wire):
    line_no: Number
    accepted_units: Units
    unit_price_fen: UnitPrice
    promised_at: Moment


class Accepted(Wire):
    """What the supplier takes of each line; what it does not take is rejected."""

    client_ref: UUID
    supplier_ref: Name
    revision: Number
    lines: Annotated[list[AcceptedLine], Meta(min_length=1, max_length=_ROWS)]


class Rejected(Wire):
    """Nothing of the order is taken."""

    client_ref: UUID
    supplier_ref: Name
    revision: Number
    reason: Note


class Changed(Wire):
    """A proposal: other quantities, prices or dates, to be accepted or refused."""

    client_ref: UUID
    supplier_ref: Name
    revision: Number
    change_id: Name
    reason: Note
    lines: Annotated[list[AcceptedLine], Meta(min_length=1, max_length=_ROWS)]


class AdvisedLine(Wire):
    line_no: Number
    units: Units


class DespatchAdvised(Wire):
    """Goods on their way; revision n replaces n-1."""

    client_ref: UUID
    asn_no: Name
    revision: Number
    expected_at: Moment
    lines: Annotated[list[AdvisedLine], Meta(min_length=1, max_length=_ROWS)]


class DespatchCancelled(Wire):
    """Goods that will not come after all."""

    client_ref: UUID
    asn_no: Name
    revision: Number


class Break(Wire):
    min_units: SomeUnits
    unit_price_fen: Annotated[int, Meta(ge=1, le=_FEN)]


class PriceChanged(Wire):
    """The price list of one SKU from a day on."""

    sku: Name
    valid_from: Moment
    breaks: Annotated[list[Break], Meta(min_length=1, max_length=100)]


class AvailabilityChanged(Wire):
    """How many units a day the supplier can make."""

    sku: Name
    capacity_per_day: Units


class Delta(Wire):
    """One change of one SKU; `id` names it for ever."""

    id: Name
    sku: Name
    units: Annotated[int, Meta(ge=-_UNITS, le=_UNITS, description="signed, and not 0")]
    bucket: Literal["available", "held"]
    reason: Note
    occurred_at: Moment

    def __post_init__(self) -> None:
        if self.units == 0:
            raise ValueError("units is not 0")


class Deltas(Wire):
    """Changes of stock, all of them or none."""

    deltas: Annotated[list[Delta], Meta(min_length=1, max_length=_ROWS)]


class CountedLine(Wire):
    """`on_hand` is everything there, `held` the part of it that cannot be sold."""

    sku: Name
    on_hand: Units
    held: Units

    def __post_init__(self) -> None:
        if self.held > self.on_hand:
            raise ValueError("held is a part of on_hand")


class Counted(Wire):
    """A count as of a time; parts of a large one share `as_of`."""

    as_of: Moment
    complete: Annotated[
        bool, Meta(description="true: what no part with this as_of names is not there")
    ]
    lines: Annotated[list[CountedLine], Meta(max_length=_ROWS)]

    def __post_init__(self) -> None:
        if len({line.sku for line in self.lines}) != len(self.lines):
            raise ValueError("a SKU is counted twice")


class ReceivedLine(Wire):
    line_no: Number
    good_units: Units
    damaged_units: Units


class Received(Wire):
    """Goods that came for a purchase order; the number counts once."""

    receipt_no: Name
    client_ref: UUID
    received_at: Moment
    lines: Annotated[list[ReceivedLine], Meta(min_length=1, max_length=_ROWS)]
    asn_no: Name | None = None


class DespatchedShipment(Wire):
    shipment_id: UUID
    tracking_no: Name


class Despatched(Wire):
    """What really left of a wave, all or part."""

    wave_id: UUID
    despatched_at: Moment
    shipments: Annotated[list[DespatchedShipment], Meta(min_length=1, max_length=_ROWS)]


class TrackingUpdate(Wire):
    tracking_no: Name
    event_id: Name
    status: Literal[
        "label_created",
        "collected",
        "in_transit",
        "out_for_delivery",
        "delivered",
        "exception",
        "returned",
        "lost",
    ]
    occurred_at: Moment
    place: Note


class Tracked(Wire):
    """Where parcels are; at most 200 updates."""

    updates: Annotated[list[TrackingUpdate], Meta(min_length=1, max_length=200)]


class Envelope(Wire):
    """What every webhook looks like."""

    type: Name
    timestamp: Moment
    data: dict[str, Any]


EVENTS: Final[Mapping[str, Mapping[str, type[Wire]]]] = MappingProxyType(
    {
        "suppliers": MappingProxyType(
            {
                "purchase_order.accepted": Accepted,
                "purchase_order.partially_accepted": Accepted,
                "purchase_order.rejected": Rejected,
                "purchase_order.changed": Changed,
                "despatch_advice.created": DespatchAdvised,
                "despatch_advice.updated": DespatchAdvised,
                "despatch_advice.cancelled": DespatchCancelled,
                "supplier_item.price_changed": PriceChanged,
                "supplier_item.availability_changed": AvailabilityChanged,
            }
        ),
        "warehouses": MappingProxyType(
            {
                "inventory.delta": Deltas,
                "inventory.snapshot": Counted,
                "receipt_advice.posted": Received,
                "shipment.despatched": Despatched,
            }
        ),
        "carriers": MappingProxyType({"tracking.updated": Tracked}),
    }
)
