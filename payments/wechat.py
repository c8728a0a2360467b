"""WeChat Pay API v3: our signatures, and whether to believe what claims to be the provider's.

Source: pay.weixin.qq.com, "API v3 signature", "verifying signatures", "decrypting notifies",
"JSAPI: bringing up the payment".
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from kit.errors import CaravanError
from payments.keys import PayKeys

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
# A notify older (or newer) than five minutes is not believed.
TOLERANCE_SECONDS: Final = 300
_ALGORITHM: Final = "AEAD_AES_256_GCM"


class NotBelieved(CaravanError):
    """It is not proven that the provider said this, or said it now."""

    code: ClassVar[str] = "not_believed"


class Sealed(msgspec.Struct, frozen=True):
    """The encrypted `resource` of a notify."""

    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str = ""


class Envelope(msgspec.Struct, frozen=True):
    """A notify before it is opened."""

    id: str
    event_type: str
    resource: Sealed


class Seal:
    """Signs as the merchant, verifies and opens what the platform sends."""

    def __init__(self, keys: PayKeys) -> None:
        private = load_pem_private_key(keys.merchant_private_key.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError("the merchant's private key is not an RSA key")
        self._private = private
        self._merchant_serial = keys.merchant_serial
        self._aes = AESGCM(keys.apiv3_key.encode())
        self._platform = {
            serial: _public_key(pem)
            for serial, pem in (
                *keys.previous_platform_keys.items(),
                (keys.platform_serial, keys.platform_public_key),
            )
        }
        self.merchant_id = keys.merchant_id
        self.app_id = keys.app_id

    def authorization(
        self, *, method: str, target: str, body: bytes, now_seconds: int, nonce: str | None = None
    ) -> str:
        """Return the `Authorization` header of a request.

        Args:
            target: path and query exactly as they are sent.
            now_seconds: wall time.
        """
        nonce = nonce or secrets.token_hex(16)
        signature = self._sign(f"{method}\n{target}\n{now_seconds}\n{nonce}\n".encode() + body)
        return (
            f'{SCHEME} mchid="{self.merchant_id}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{now_seconds}",'
            f'serial_no="{self._merchant_serial}"'
        )

    def pay_params(self, prepay_id: str, *, now_seconds: int) -> dict[str, str]:
        """Return what the mini-program hands to `wx.requestPayment`."""
        params = {
            "appId": self.app_id,
            "timeStamp": str(now_seconds),
            "nonceStr": secrets.token_hex(16),
            "package": f"prepay_id={prepay_id}",
        }
        signature = self._sign("\n".join(params.values()).encode())
        return {**params, "signType": "RSA", "paySign": signature}

    def check(self, headers: Mapping[str, str], body: bytes, *, now_seconds: float) -> None:
        """Believe the raw bytes of an answer or a notify, or raise `NotBelieved`.

        Only serials that we hold are believed; nothing is fetched here.

        Args:
            headers: names in lower case.
            now_seconds: wall time.
        """
        key = self._platform.get(headers.get("wechatpay-serial", ""))
        timestamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce")
        if key is None or nonce is None or not (timestamp.isascii() and timestamp.isdecimal()):
            raise NotBelieved("unknown serial, or no timestamp and nonce")
        message = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        try:
            signature = base64.b64decode(headers.get("wechatpay-signature", ""), validate=True)
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError):
            raise NotBelieved("the signature does not match") from None
        if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
            raise NotBelieved("the timestamp is more than five minutes off")

    def open(self, sealed: Sealed) -> bytes:
        """Return the plain text of a resource, or raise `NotBelieved`."""
        if sealed.algorithm != _ALGORITHM:
            raise NotBelieved(f"unknown algorithm {sealed.algorithm!r}")
        try:
            ciphertext = base64.b64decode(sealed.ciphertext, validate=True)
            return self._aes.decrypt(
                sealed.nonce.encode(), ciphertext, sealed.associated_data.encode()
            )
        except (InvalidTag, binascii.Error, ValueError):
            raise NotBelieved("the resource does not open") from None

    def _sign(self, lines: bytes) -> str:
        signature = self._private.sign(lines + b"\n", padding.PKCS1v15(), SHA256())
        return base64.b64encode(signature).decode()


def _public_key(pem: str) -> rsa.RSAPublicKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("the platform's public key is not an RSA key")
    return key
