"""The bodies of opening and joining a group, decoded strictly at the speed of msgspec.

msgspec refuses unknown fields, wrong types and malformed JSON, but takes the last of two equal
keys and any text. Those two are told by cheap signs, and only a body that shows one is parsed
again the slow way.
"""

from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import strict_json
from api.errors import Invalid, MalformedJson, Violation
from api.violations import violation_of
from groups.addresses import PROVINCE_NAMES, AddressUnknown, checked_city, province_adcode

Place = Annotated[str, Meta(min_length=1, max_length=40)]
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
Phone = Annotated[str, Meta(pattern=r"^\+?[0-9][0-9 -]{4,18}[0-9]$", max_length=20)]
Quantity = Annotated[int, Meta(ge=1, le=1000)]

_REQUIRED_PARTS: Final = 5


class Address(Struct, forbid_unknown_fields=True):
    """Where the parcel goes; province and city by name or adcode."""

    province: Place
    city: Place
    detail: Line
    name: Annotated[str, Meta(min_length=1, max_length=60, pattern=r"\S")]
    phone: Phone
    district: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET


class JoinGroup(Struct, forbid_unknown_fields=True):
    """A seat in a group that is there."""

    address: Address
    quantity: Quantity | UnsetType = UNSET
    coupon_id: UUID | UnsetType | None = UNSET


class OpenGroup(Struct, forbid_unknown_fields=True):
    """The leader's seat in a new group."""

    campaign_id: UUID
    address: Address
    quantity: Quantity | UnsetType = UNSET
    coupon_id: UUID | UnsetType | None = UNSET


class Destination(Struct):
    """An address that can be delivered to, as it is kept with the order."""

    province: str  # full name
    city: str
    district: str
    detail: str
    name: str
    phone: str


Body = TypeVar("Body", JoinGroup, OpenGroup)

_encoder: Final = msgspec.json.Encoder()


def decode(body: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """Return the body's meaning.

    Raises:
        MalformedJson: it is not JSON, or names a key twice.
        Invalid: it is JSON and cannot be meant; each violation has its JSON pointer.
    """
    try:
        meant = decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        strict_json.parse(body)
        if isinstance(error, msgspec.ValidationError):
            raise Invalid([violation_of(str(error))]) from error
        raise MalformedJson(f"the body is not strict JSON: {error}") from error
    # Every key has its colon, so a body with no more colons than keys names none twice; an escape
    # may be a NUL or half a surrogate pair. Both are rare, so being wrong costs a parse.
    if body.count(b":") != _keys(meant) or b"\\u" in body:
        strict_json.parse(body)
    if meant.coupon_id is not UNSET and meant.coupon_id is not None:
        raise Invalid([Violation(pointer="/coupon_id", detail="you hold no such coupon")])
    return meant


def quantity_of(body: JoinGroup | OpenGroup) -> int:
    """Return how many the member buys; one when it is not said."""
    return 1 if body.quantity is UNSET else body.quantity


def destination_of(address: Address) -> tuple[str, str, str]:
    """Return (province adcode, city, the address as JSON).

    Raises:
        Invalid: the province is unknown, or the city is not in it.
    """
    try:
        province = province_adcode(address.province)
        city = checked_city(address.city, province=province)
    except AddressUnknown as error:
        raise Invalid([Violation(pointer=f"/address/{error.part}", detail=str(error))]) from error
    kept = Destination(
        province=PROVINCE_NAMES[province],
        city=city,
        district="" if address.district is UNSET else address.district,
        detail=address.detail,
        name=address.name,
        phone=address.phone,
    )
    return province, city, _encoder.encode(kept).decode()


def _keys(body: JoinGroup | OpenGroup) -> int:
    return (
        1
        + _REQUIRED_PARTS
        + isinstance(body, OpenGroup)
        + (body.quantity is not UNSET)
        + (body.coupon_id is not UNSET)
        + (body.address.district is not UNSET)
    )
