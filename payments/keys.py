"""What a merchant and WeChat Pay know of each other, read from one directory."""

from pathlib import Path
from typing import ClassVar, Final

import msgspec

from kit.errors import Unavailable

KEYS_FILE: Final = "keys.json"


class PaymentsNotConfigured(Unavailable):
    """No payment provider, or no keys for it."""

    code: ClassVar[str] = "payments_not_configured"


class PayKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The merchant's side of `keys.json`; keys are PEM text, unknown fields are ignored.

    Args:
        previous_platform_keys: public keys by serial that are still believed during a change.
    """

    merchant_id: str
    app_id: str
    merchant_serial: str
    merchant_private_key: str
    platform_serial: str
    platform_public_key: str
    apiv3_key: str
    previous_platform_keys: dict[str, str] = {}


def load_keys(directory: Path) -> PayKeys:
    """Read `keys.json` of a directory.

    Raises:
        PaymentsNotConfigured: it is missing or cannot be understood.
    """
    try:
        return msgspec.json.decode((directory / KEYS_FILE).read_bytes(), type=PayKeys)
    except (OSError, msgspec.DecodeError) as error:
        raise PaymentsNotConfigured(f"no payment keys in {directory}: {error}") from error
