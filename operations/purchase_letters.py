"""What suppliers and warehouses write about purchase orders, as docs/partners.md has it."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from kit.inbox import Letter
from operations.errors import CannotApply

Kind = TypeVar("Kind")


class LineSaid(msgspec.Struct, frozen=True):
    """A line of an answer."""

    line_no: int
    accepted_units: int
    unit_price_fen: int
    promised_at: datetime | None = None


class AnswerSaid(msgspec.Struct, frozen=True):
    """purchase_order.accepted, .partially_accepted, .changed."""

    client_ref: str
    supplier_ref: str
    revision: int
    lines: list[LineSaid]
    change_id: str | None = None
    reason: str = ""


class RejectionSaid(msgspec.Struct, frozen=True):
    """purchase_order.rejected."""

    client_ref: str
    supplier_ref: str
    revision: int
    reason: str = ""


class AdvisedLine(msgspec.Struct, frozen=True):
    """A line of a despatch advice."""

    line_no: int
    units: int


class AdviceSaid(msgspec.Struct, frozen=True):
    """despatch_advice.created, .updated, .cancelled."""

    client_ref: str
    asn_no: str
    revision: int
    expected_at: datetime | None = None
    lines: list[AdvisedLine] = []


class BreakSaid(msgspec.Struct, frozen=True):
    """A step of a price list."""

    min_units: int
    unit_price_fen: int


class PricesSaid(msgspec.Struct, frozen=True):
    """supplier_item.price_changed."""

    sku: str
    valid_from: datetime
    breaks: list[BreakSaid]


class CapacitySaid(msgspec.Struct, frozen=True):
    """supplier_item.availability_changed."""

    sku: str
    capacity_per_day: int


class CountSaid(msgspec.Struct, frozen=True):
    """A line of a receipt."""

    line_no: int
    good_units: int
    damaged_units: int


class ReceiptSaid(msgspec.Struct, frozen=True):
    """receipt_advice.posted."""

    receipt_no: str
    client_ref: str
    received_at: datetime
    lines: list[CountSaid]
    asn_no: str | None = None


def read_body(letter: Letter, kind: type[Kind]) -> Kind:
    """Return a letter's body; raise CannotApply when it is not what the protocol says."""
    try:
        return msgspec.convert(letter.body, type=kind)
    except msgspec.ValidationError as error:
        raise CannotApply(f"{letter.kind}: {error}") from error


def order_id(client_ref: str) -> UUID:
    """Return the order a partner names; raise CannotApply when it cannot be one of ours."""
    try:
        return UUID(client_ref)
    except ValueError:
        raise CannotApply(f"{client_ref[:64]!r} is not one of our orders") from None
