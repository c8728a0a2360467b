"""Throw-away keys for the sandbox: `python -m sandbox.keys --out DIR`, once per home directory."""

import argparse
import base64
import secrets
import string
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec import Struct

from sandbox.config import APIV3_KEY_BYTES, ProviderConfig

KEYS_FILE: Final = "keys.json"
_RSA_BITS: Final = 2048
_PUBLIC_EXPONENT: Final = 65537


class SandboxKeys(Struct, frozen=True, kw_only=True):
    """Everything secret between the shop and the sandbox companies.

    Args:
        secrets: Standard Webhooks secrets by "suppliers/{code}", "warehouses/{code}", ...
    """

    merchant_id: str
    app_id: str
    merchant_serial: str
    merchant_private_key: str
    merchant_public_key: str
    platform_serial: str
    platform_private_key: str
    platform_public_key: str
    apiv3_key: str
    secrets: dict[str, str] = {}

    def provider(self) -> ProviderConfig:
        """Return the provider's part of the sandbox configuration."""
        return ProviderConfig(
            merchant_id=self.merchant_id,
            app_id=self.app_id,
            merchant_serial=self.merchant_serial,
            merchant_public_key=self.merchant_public_key,
            platform_serial=self.platform_serial,
            platform_private_key=self.platform_private_key,
            apiv3_key=self.apiv3_key,
        )


def generate_keys(companies: Sequence[str] = ()) -> SandboxKeys:
    """Return fresh keys, and a secret for each of "suppliers/{code}" and so on."""
    merchant, platform = _rsa_key(), _rsa_key()
    alphabet = string.ascii_letters + string.digits
    return SandboxKeys(
        merchant_id=f"16{secrets.randbelow(10**8):08d}",
        app_id=f"wx{secrets.token_hex(8)}",
        merchant_serial=_serial(),
        merchant_private_key=_private_pem(merchant),
        merchant_public_key=_public_pem(merchant),
        platform_serial=_serial(),
        platform_private_key=_private_pem(platform),
        platform_public_key=_public_pem(platform),
        apiv3_key="".join(secrets.choice(alphabet) for _ in range(APIV3_KEY_BYTES)),
        secrets={company: webhook_secret() for company in companies},
    )


def webhook_secret() -> str:
    """Return a fresh Standard Webhooks secret."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def keep_keys(directory: Path, companies: Sequence[str] = ()) -> SandboxKeys:
    """Return the keys kept in `directory`, made at the first call.

    Companies that have no secret yet get one; nothing kept is ever changed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / KEYS_FILE
    if path.exists():
        keys = msgspec.json.decode(path.read_bytes(), type=SandboxKeys)
        missing = {name: webhook_secret() for name in companies if name not in keys.secrets}
        if not missing:
            return keys
        keys = msgspec.structs.replace(keys, secrets={**keys.secrets, **missing})
    else:
        keys = generate_keys(companies)
    for name in ("merchant", "platform"):
        for half in ("private", "public"):
            pem = str(getattr(keys, f"{name}_{half}_key"))
            _write(directory / f"{name}_{half}.pem", pem.encode())
    # Written last: whoever finds it finds everything.
    _write(path, msgspec.json.format(msgspec.json.encode(keys), indent=2))
    return keys


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=_RSA_BITS)


def _private_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_pem(key: rsa.RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _serial() -> str:
    return secrets.token_hex(20).upper()


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)


def main() -> None:
    """Make or complete the keys of a directory."""
    parser = argparse.ArgumentParser(prog="sandbox.keys", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory of the keys")
    parser.add_argument(
        "--company",
        action="append",
        default=[],
        metavar="KIND/CODE",
        help="a company that needs a secret, such as suppliers/jade; may be repeated",
    )
    options = parser.parse_args()
    try:
        keep_keys(options.out, options.company)
    except (OSError, msgspec.DecodeError) as error:
        sys.stderr.write(f"sandbox: cannot keep keys in {options.out}: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{options.out / KEYS_FILE}\n")


if __name__ == "__main__":
    main()
