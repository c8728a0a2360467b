"""What the companies are told: request bodies of docs/partners.md. Unknown fields are ignored."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Units = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Fen = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
Instant = Annotated[datetime, Meta(tz=True)]
# WeChat Pay: up to 32 characters of digits, letters and _-|*
TradeNo = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*]{2,32}$")]


# --- suppliers ------------------------------------------------------------------------


class OrderedLine(Struct, frozen=True):
    """A line of a purchase order."""

    line_no: int
    sku: Name
    warehouse: Name
    units: Units
    unit_price_fen: Fen
    requested_at: Instant


class PurchaseOrder(Struct, frozen=True):
    """POST /purchase-orders."""

    client_ref: Name
    ordered_at: Instant
    currency: Literal["CNY"]
    lines: Annotated[tuple[OrderedLine, ...], Meta(min_length=1)]


class CancelledLine(Struct, frozen=True):
    """So many units of a line are no longer wanted."""

    line_no: int
    units: Units


class Cancellation(Struct, frozen=True):
    """POST /purchase-orders/{supplier_ref}/cancel."""

    client_ref: Name
    lines: Annotated[tuple[CancelledLine, ...], Meta(min_length=1)]


# --- warehouses -----------------------------------------------------------------------


class PickLine(Struct, frozen=True):
    """Units of one SKU in a parcel."""

    sku: Name
    units: Units


class PickedShipment(Struct, frozen=True):
    """A parcel to make."""

    shipment_id: Name
    tracking_no: Name
    lines: Annotated[tuple[PickLine, ...], Meta(min_length=1)]


class Despatch(Struct, frozen=True):
    """POST /despatches."""

    wave_id: Name
    carrier: Name
    cut_off_at: Instant
    shipments: Annotated[tuple[PickedShipment, ...], Meta(min_length=1)]


# --- carriers -------------------------------------------------------------------------


class Place(Struct, frozen=True):
    """A city, or an address without the rest."""

    province: Name
    city: Name


class RateQuestion(Struct, frozen=True, rename={"from_": "from"}):
    """POST /rates."""

    from_: Place
    to: Place
    weight_grams: Units


class Address(Struct, frozen=True):
    """Where a parcel goes."""

    province: Name
    city: Name
    district: str
    detail: Name
    name: Name
    phone: Name


class LabelOrder(Struct, frozen=True, rename={"from_": "from"}):
    """POST /labels."""

    shipment_id: Name
    from_: Place
    to: Address
    weight_grams: Units


# --- the payment provider -------------------------------------------------------------


class Payer(Struct, frozen=True):
    """A user of the app."""

    openid: Name


class Amount(Struct, frozen=True):
    """What one order costs."""

    total: Fen
    currency: str = "CNY"


class JsapiPrepay(Struct, frozen=True):
    """POST /v3/pay/transactions/jsapi."""

    appid: str
    mchid: str
    description: Name
    out_trade_no: TradeNo
    notify_url: str
    amount: Amount
    payer: Payer
    time_expire: Instant | None = None
    attach: str = ""


class SubAmount(Struct, frozen=True):
    """What one order of a combined payment costs."""

    total_amount: Fen
    currency: str = "CNY"


class SubOrder(Struct, frozen=True):
    """One order of a combined payment."""

    mchid: str
    attach: str
    amount: SubAmount
    out_trade_no: TradeNo
    description: Name


class CombinePrepay(Struct, frozen=True):
    """POST /v3/combine-transactions/jsapi."""

    combine_appid: str
    combine_mchid: str
    combine_out_trade_no: TradeNo
    combine_payer_info: Payer
    sub_orders: Annotated[tuple[SubOrder, ...], Meta(min_length=2, max_length=10)]
    notify_url: str
    time_expire: Instant | None = None


class Close(Struct, frozen=True):
    """POST .../out-trade-no/{no}/close."""

    mchid: str


class ClosedOrder(Struct, frozen=True):
    """One order of a combined payment that nobody shall pay."""

    mchid: str
    out_trade_no: str


class CombineClose(Struct, frozen=True):
    """POST /v3/combine-transactions/out-trade-no/{no}/close."""

    combine_appid: str
    sub_orders: tuple[ClosedOrder, ...]


class RefundAmount(Struct, frozen=True):
    """How much of how much goes back."""

    refund: Fen
    total: Fen
    currency: str = "CNY"


class RefundOrder(Struct, frozen=True):
    """POST /v3/refund/domestic/refunds."""

    out_refund_no: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
    amount: RefundAmount
    transaction_id: str | None = None
    out_trade_no: str | None = None
    reason: str = ""
    notify_url: str | None = None


# --- the sandbox's own routes ---------------------------------------------------------


class MoveClock(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /sandbox/clock."""

    to: Instant


class PhonePayment(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /sandbox/pay/{prepay_id}."""

    openid: str
    at: Instant | None = None
    outcome: Literal["paid", "declined", "late"] = "paid"


class NamedPhonePayment(PhonePayment, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of POST /sandbox/pay-many."""

    prepay_id: str


class PhonePayments(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /sandbox/pay-many."""

    payments: tuple[NamedPhonePayment, ...]


class ShelfLine(Struct, frozen=True, forbid_unknown_fields=True):
    """What lies on a shelf."""

    sku: Name
    on_hand: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    held: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class Shelves(Struct, frozen=True, forbid_unknown_fields=True):
    """PUT /sandbox/warehouses/{code}/stock."""

    lines: tuple[ShelfLine, ...]


class ShelfChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Something broke, was found, or was put aside."""

    sku: Name
    units: Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
    bucket: Literal["available", "held"] = "available"
    reason: Name = "count"


class ShelfChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /sandbox/warehouses/{code}/changes."""

    changes: Annotated[tuple[ShelfChange, ...], Meta(min_length=1)]


class Break(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a price list."""

    min_units: Units
    unit_price_fen: Fen


class ItemChange(Struct, frozen=True, forbid_unknown_fields=True):
    """PUT /sandbox/suppliers/{code}/items/{sku}: what is given changes and is announced."""

    capacity_per_day: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    breaks: Annotated[tuple[Break, ...], Meta(min_length=1)] | None = None
    valid_from: Instant | None = None
