"""The configuration file of the sandbox: who the companies are and how they misbehave."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, model_validator

from sandbox.behaviours import (
    CarrierBehaviour,
    PaymentBehaviour,
    SupplierBehaviour,
    WarehouseBehaviour,
)
from sandbox.misbehaviour import Rule

Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Sku = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Secret = Annotated[str, StringConstraints(pattern=r"^whsec_[A-Za-z0-9+/=]{32,}$")]
APIV3_KEY_BYTES = 32  # WeChat Pay: the APIv3 key is an AES-256 key


def _apiv3_key(value: str) -> str:
    if len(value.encode()) != APIV3_KEY_BYTES:
        raise ValueError("an APIv3 key has 32 bytes")
    return value


# --- the payment provider -------------------------------------------------------------


class ProviderConfig(Rule):
    """The provider and the one merchant it serves. Keys are PEM text or a path to it."""

    merchant_id: str
    app_id: str
    merchant_serial: str
    merchant_public_key: str
    platform_serial: str
    platform_private_key: str
    apiv3_key: Annotated[str, AfterValidator(_apiv3_key)]
    retry_scale: float = Field(
        default=1.0, gt=0, le=1, description="of the published pauses between notifies, wall time"
    )
    behaviour: PaymentBehaviour = PaymentBehaviour()


# --- suppliers ------------------------------------------------------------------------


class PriceBreak(Rule):
    """From so many units on, the unit price is this."""

    min_units: int = Field(ge=1)
    unit_price_fen: int = Field(ge=1)


class SupplierItem(Rule):
    """What a supplier sells."""

    sku: Sku
    capacity_per_day: int = Field(ge=1)
    lead_days: int | None = Field(default=None, ge=0, description="null: the supplier's")
    breaks: tuple[PriceBreak, ...] = Field(
        default=(),
        description="own price list, ascending, by the units of an order's lines together; a"
        " lower price is answered by a change, fewer units than the first break are refused;"
        " empty takes any price",
    )


class SupplierConfig(Rule):
    """A supplier; its path is /suppliers/{code}. Days are of business time, 24 hours each."""

    code: Code
    secret: Secret
    items: tuple[SupplierItem, ...]
    lead_days: int = Field(default=2, ge=0, description="from answer to arrival")
    transit_days: int = Field(default=1, ge=0, description="from despatch to arrival")
    answer_seconds: int = Field(default=600, ge=0, description="from order to answer")
    behaviour: SupplierBehaviour = SupplierBehaviour()


# --- warehouses -----------------------------------------------------------------------


class WarehouseConfig(Rule):
    """A warehouse system; its path is /warehouses/{code}."""

    code: Code
    secret: Secret
    handling_hours: float = Field(default=2.0, ge=0, description="from order to leaving")
    snapshot_hours: int | None = Field(
        default=None, ge=1, description="a full count so often; null: only when asked"
    )
    behaviour: WarehouseBehaviour = WarehouseBehaviour()


# --- carriers -------------------------------------------------------------------------

Milestone = Literal["label_created", "collected", "in_transit", "out_for_delivery", "delivered"]


class Tariff(Rule):
    """First weight and continued weight."""

    base_fen: int = Field(ge=0)
    base_grams: int = Field(default=1000, ge=1)
    step_fen: int = Field(default=0, ge=0)
    step_grams: int = Field(default=100, ge=1)


class CarrierLane(Rule):
    """Days between two provinces, where they are not the destination's."""

    from_province: str
    to_province: str
    days: int = Field(ge=0)


class CarrierConfig(Rule):
    """A carrier; its path is /carriers/{code}."""

    code: Code
    secret: Secret
    service: str = "standard"
    tariff: Tariff
    days: dict[str, int] = Field(default={}, description="days by destination province")
    default_days: int | None = Field(default=3, ge=0, description="null: other places refused")
    lanes: tuple[CarrierLane, ...] = ()
    milestones: tuple[Milestone, ...] = ("collected", "in_transit", "delivered")
    behaviour: CarrierBehaviour = CarrierBehaviour()


# --- all of them ----------------------------------------------------------------------


class DeliveryConfig(Rule):
    """How patiently webhooks (not notifies) are repeated, in wall time."""

    concurrency: int = Field(default=16, ge=1)
    timeout_seconds: float = Field(default=10.0, gt=0)
    first_pause_seconds: float = Field(default=0.2, gt=0)
    longest_pause_seconds: float = Field(default=10.0, gt=0)
    attempts: int = Field(default=40, ge=1)


class SandboxConfig(Rule):
    """The whole file."""

    caravan_url: str = Field(description="webhooks go to {caravan_url}/v1/webhooks/...")
    start: AwareDatetime = Field(description="business time at the start")
    seed: int = 1
    ticks: bool = Field(
        default=False, description="business time also passes with wall time, second by second"
    )
    payments: ProviderConfig | None = None
    suppliers: tuple[SupplierConfig, ...] = ()
    warehouses: tuple[WarehouseConfig, ...] = ()
    carriers: tuple[CarrierConfig, ...] = ()
    delivery: DeliveryConfig = DeliveryConfig()

    @model_validator(mode="after")
    def _codes_are_unique(self) -> "SandboxConfig":
        for companies in (self.suppliers, self.warehouses, self.carriers):
            codes = [company.code for company in companies]
            if len(codes) != len(set(codes)):
                raise ValueError(f"a code is used twice: {codes}")
        return self


def load_config(path: Path) -> SandboxConfig:
    """Read the file; key paths in it are relative to its own directory.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is not JSON, or not a valid configuration.
    """
    document = msgspec.json.decode(path.read_bytes())
    config = SandboxConfig.model_validate(document)
    if config.payments is None:
        return config
    keys = {
        name: _pem(value, beside=path)
        for name in ("merchant_public_key", "platform_private_key")
        if (value := str(getattr(config.payments, name)))
    }
    return config.model_copy(update={"payments": config.payments.model_copy(update=keys)})


def _pem(value: str, *, beside: Path) -> str:
    if value.lstrip().startswith("-----BEGIN"):
        return value
    return (beside.parent / value).read_text(encoding="ascii")
