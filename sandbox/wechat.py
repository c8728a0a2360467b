"""WeChat Pay API v3 on the provider's side: who signed this, our signature, sealed resources.

Source: pay.weixin.qq.com, "API v3 signature", "verifying signatures", "decrypting notifies".
"""

import base64
import os
import re
import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sandbox.refusal import Refusal

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
# A merchant's timestamp may be five minutes old.
TOLERANCE_SECONDS: Final = 300
# Pauses between notifies as published: 24 h 4 min in all.
NOTIFY_PAUSES_SECONDS: Final = (
    *(15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600),
    *(10800, 10800, 10800, 21600, 21600),
)
_CHINA: Final = timezone(timedelta(hours=8))
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')


def china_time(moment: datetime) -> str:
    """Return RFC 3339 with the offset that WeChat Pay writes."""
    return moment.astimezone(_CHINA).isoformat(timespec="seconds")


class Merchant:
    """The merchant whose requests we believe."""

    def __init__(self, *, merchant_id: str, serial: str, public_key_pem: str) -> None:
        key = load_pem_public_key(public_key_pem.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("the merchant's public key is not an RSA key")
        self._key = key
        self._serial = serial
        self.merchant_id = merchant_id

    def check(
        self, authorization: str, *, method: str, target: str, body: bytes, now_seconds: float
    ) -> None:
        """Believe a request, or raise the provider's 401.

        Args:
            target: path and query exactly as they were sent.
            now_seconds: wall time.
        """
        scheme, _, rest = authorization.partition(" ")
        fields = dict(_FIELD.findall(rest))
        known = (
            scheme == SCHEME
            and fields.get("mchid") == self.merchant_id
            and fields.get("serial_no") == self._serial
        )
        timestamp, nonce = fields.get("timestamp", ""), fields.get("nonce_str", "")
        if not known or not _TIMESTAMP.fullmatch(timestamp) or not nonce:
            raise _unsigned("unknown merchant, serial or scheme")
        if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
            raise _unsigned("the timestamp is too old or too new")
        message = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        try:
            signature = base64.b64decode(fields.get("signature", ""), validate=True)
            self._key.verify(signature, message, padding.PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            raise _unsigned("the signature does not match") from None


def _unsigned(message: str) -> Refusal:
    return Refusal(401, "SIGN_ERROR", message)


class Platform:
    """The provider's own key and the key it shares with the merchant."""

    def __init__(self, *, serial: str, private_key_pem: str, apiv3_key: str) -> None:
        key = load_pem_private_key(private_key_pem.encode(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the platform's private key is not an RSA key")
        self._key = key
        self._serial = serial
        self._seal = AESGCM(apiv3_key.encode())

    def sign(self, body: bytes) -> dict[str, str]:
        """Return the headers that prove a body is ours; they carry wall time."""
        timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
        message = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = self._key.sign(message, padding.PKCS1v15(), SHA256())
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": self._serial,
            "Wechatpay-Signature": base64.b64encode(signature).decode(),
            "Wechatpay-Signature-Type": SCHEME,
        }

    def seal(self, content: Mapping[str, Any], *, kind: str, about: str) -> dict[str, str]:
        """Return the encrypted `resource` of a notify.

        Args:
            kind: original_type, such as "transaction".
            about: associated_data, authenticated and readable.
        """
        nonce = base64.b64encode(os.urandom(9)).decode()  # twelve characters, as AES-GCM wants
        sealed = self._seal.encrypt(nonce.encode(), msgspec.json.encode(content), about.encode())
        return {
            "original_type": kind,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": base64.b64encode(sealed).decode(),
            "associated_data": about,
            "nonce": nonce,
        }
