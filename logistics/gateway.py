"""Calls to carriers and warehouse systems (docs/partners.md); answers are judged, never trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from kit.errors import Conflict
from kit.outgoing import AnswerLost, Outgoing, Partner, PartnerUnavailable

CARRIER: Final = "carriers"
WAREHOUSE: Final = "warehouses"

_Document = TypeVar("_Document", bound=Struct)

# Enough for any carrier's numbers, short enough for a database row.
_Number = Annotated[str, Meta(min_length=1, max_length=128)]
_Fen = Annotated[int, Meta(ge=0, le=100_000_000)]


class Label(Struct, frozen=True, kw_only=True):
    """A parcel's ticket as its carrier sold it."""

    label_id: _Number
    shipment_id: UUID
    tracking_no: _Number
    price_fen: _Fen


class _KnownLabel(Label, frozen=True, kw_only=True):
    voided: bool


class _Labels(Struct, frozen=True):
    items: list[_KnownLabel]


class _Queued(Struct, frozen=True):
    wave_id: UUID
    status: str


class _Waves(Struct, frozen=True):
    items: list[_Queued]


class LabelVoided(Conflict):
    """The label of this shipment was voided; its key never buys another one."""

    code: ClassVar[str] = "logistics.label_voided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a carrier is told of a parcel.

    Args:
        address: province, city, district, detail, name and phone; never written to a log.
    """

    shipment_id: UUID
    origin_province: str
    origin_city: str
    address: Mapping[str, Any]
    weight_grams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestLine:
    """A parcel on a manifest, with what to pick into it."""

    shipment_id: UUID
    tracking_no: str
    lines: tuple[tuple[str, int], ...]  # sku, units


async def buy_label(outgoing: Outgoing, carrier: Partner, ticket: Ticket) -> Label:
    """Buy the label of a shipment; its id is the key, so a repetition buys nothing.

    Raises:
        AnswerLost: it may have been bought; look it up before anything else.
        PartnerUnavailable, PartnerRefused: it was not bought.
    """
    address = ticket.address
    answer = await outgoing.post(
        carrier,
        "/labels",
        document={
            "shipment_id": str(ticket.shipment_id),
            "from": {"province": ticket.origin_province, "city": ticket.origin_city},
            "to": {
                name: str(address.get(name, ""))
                for name in ("province", "city", "district", "detail", "name", "phone")
            },
            "weight_grams": ticket.weight_grams,
        },
        idempotency_key=str(ticket.shipment_id),
    )
    label = _read(carrier, answer.document, Label)
    if label.shipment_id != ticket.shipment_id:
        raise AnswerLost(f"{carrier.code} answered for another shipment")
    return label


async def find_label(outgoing: Outgoing, carrier: Partner, shipment_id: UUID) -> Label | None:
    """Return the label a carrier has sold for a shipment; None when it has sold none.

    Raises:
        LabelVoided: there was one.
        PartnerUnavailable: it cannot be said now.
    """
    answer = await outgoing.get(carrier, "/labels", params={"client_ref": str(shipment_id)})
    try:
        found = _read(carrier, answer.document, _Labels).items
    except AnswerLost as lost:
        raise PartnerUnavailable(str(lost)) from lost
    mine = [label for label in found if label.shipment_id == shipment_id]
    live = [label for label in mine if not label.voided]
    if mine and not live:
        raise LabelVoided(f"{carrier.code} has voided the label of {shipment_id}")
    return live[0] if live else None


async def void_label(outgoing: Outgoing, carrier: Partner, label_id: str) -> None:
    """Give a label back that no parcel will carry.

    Raises:
        PartnerRefused: the parcel is under way.
    """
    await outgoing.post(
        carrier, f"/labels/{label_id}/void", document={}, idempotency_key=f"void:{label_id}"
    )


async def send_manifest(
    outgoing: Outgoing,
    warehouse: Partner,
    *,
    wave_id: UUID,
    carrier: str,
    cut_off_at: datetime,
    lines: Sequence[ManifestLine],
) -> None:
    """Tell a warehouse which parcels to make and hand over; the wave's id is the key.

    Raises:
        AnswerLost: it may have been heard; look the wave up before the list changes.
        PartnerUnavailable, PartnerRefused: it was not.
    """
    answer = await outgoing.post(
        warehouse,
        "/despatches",
        document={
            "wave_id": str(wave_id),
            "carrier": carrier,
            "cut_off_at": cut_off_at.isoformat(),
            "shipments": [
                {
                    "shipment_id": str(line.shipment_id),
                    "tracking_no": line.tracking_no,
                    "lines": [{"sku": sku, "units": units} for sku, units in line.lines],
                }
                for line in lines
            ],
        },
        idempotency_key=str(wave_id),
    )
    if _read(warehouse, answer.document, _Queued).wave_id != wave_id:
        raise AnswerLost(f"{warehouse.code} answered for another wave")


async def is_manifested(outgoing: Outgoing, warehouse: Partner, wave_id: UUID) -> bool:
    """Return whether a warehouse has heard of a wave.

    Raises:
        PartnerUnavailable: it cannot be said now.
    """
    answer = await outgoing.get(warehouse, "/despatches", params={"client_ref": str(wave_id)})
    try:
        found = _read(warehouse, answer.document, _Waves).items
    except AnswerLost as lost:
        raise PartnerUnavailable(str(lost)) from lost
    return any(wave.wave_id == wave_id for wave in found)


def _read(partner: Partner, document: Any, kind: type[_Document]) -> _Document:
    """Return a 2xx answer in its agreed shape; anything else is an answer that was lost."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise AnswerLost(f"{partner.code} answered in no agreed shape: {error}") from error
