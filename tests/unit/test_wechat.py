"""Signatures, seals and messages of WeChat Pay API v3, against vectors made here."""

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from payments.keys import PayKeys
from payments.news import RefundOutcome
from payments.wechat import NotBelieved, Seal, Sealed
from payments.wechat_messages import (
    NotUnderstood,
    PrepayLine,
    PrepayTerms,
    RefundTerms,
    prepay_body,
    read_complaint,
    read_payment,
    read_refund,
    read_refund_notice,
    refund_body,
)

NOW = 1_700_000_000
APIV3_KEY = "0123456789abcdef0123456789abcdef"
LINE, OTHER, PAYMENT = (UUID(int=n) for n in (1, 2, 3))
PAID_AT = "2018-06-08T10:34:56+08:00"


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


MERCHANT, PLATFORM, EARLIER = _key(), _key(), _key()


def _private(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public(key: rsa.RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEYS = PayKeys(
    merchant_id="1900000109",
    app_id="wxd678efh567hg6787",
    merchant_serial="1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
    merchant_private_key=_private(MERCHANT),
    platform_serial="5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
    platform_public_key=_public(PLATFORM),
    apiv3_key=APIV3_KEY,
    previous_platform_keys={"OLD": _public(EARLIER)},
)
SEAL = Seal(KEYS)


def said(
    body: bytes,
    *,
    key: rsa.RSAPrivateKey = PLATFORM,
    serial: str = KEYS.platform_serial,
    timestamp: str = str(NOW),
) -> dict[str, str]:
    """Return the headers with which the platform says `body`."""
    message = f"{timestamp}\nnonce\n".encode() + body + b"\n"
    signature = key.sign(message, padding.PKCS1v15(), SHA256())
    return {
        "wechatpay-serial": serial,
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": "nonce",
        "wechatpay-signature": base64.b64encode(signature).decode(),
    }


def test_a_request_is_signed_over_method_target_time_nonce_and_body() -> None:
    header = SEAL.authorization(
        method="GET", target="/v3/x?mchid=1900000109", body=b"", now_seconds=NOW, nonce="593BEC0C"
    )

    scheme, _, rest = header.partition(" ")
    fields = dict(part.split("=", 1) for part in rest.split(","))
    signature = base64.b64decode(fields["signature"].strip('"'))
    expected = f"GET\n/v3/x?mchid=1900000109\n{NOW}\n593BEC0C\n\n".encode()
    MERCHANT.public_key().verify(signature, expected, padding.PKCS1v15(), SHA256())
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    assert fields["mchid"] == '"1900000109"'
    assert fields["serial_no"] == f'"{KEYS.merchant_serial}"'
    with pytest.raises(InvalidSignature):
        MERCHANT.public_key().verify(signature, expected + b" ", padding.PKCS1v15(), SHA256())


def test_what_the_mini_program_gets_is_signed_as_wechat_asks() -> None:
    params = SEAL.pay_params("wx201410272009395522657a690389285100", now_seconds=NOW)

    lines = (params["appId"], params["timeStamp"], params["nonceStr"], params["package"])
    message = "".join(f"{line}\n" for line in lines).encode()
    signature = base64.b64decode(params["paySign"])
    MERCHANT.public_key().verify(signature, message, padding.PKCS1v15(), SHA256())
    assert params["package"] == "prepay_id=wx201410272009395522657a690389285100"
    assert params["signType"] == "RSA"


def test_the_platform_and_its_earlier_key_are_believed() -> None:
    SEAL.check(said(b"{}"), b"{}", now_seconds=NOW)
    SEAL.check(said(b"{}", key=EARLIER, serial="OLD"), b"{}", now_seconds=NOW)


@pytest.mark.parametrize("off", [-301, 301])
def test_a_message_of_five_minutes_ago_is_not_believed(off: int) -> None:
    SEAL.check(said(b"{}"), b"{}", now_seconds=NOW + off // 301 * 300)
    with pytest.raises(NotBelieved):
        SEAL.check(said(b"{}"), b"{}", now_seconds=NOW + off)


@pytest.mark.parametrize(
    "changes",
    [
        {"wechatpay-serial": "OLD"},
        {"wechatpay-serial": "unknown"},
        {"wechatpay-signature": ""},
        {"wechatpay-signature": "not base64!"},
        {"wechatpay-signature": "é"},
        {"wechatpay-timestamp": str(NOW + 1)},
        {"wechatpay-timestamp": "-1"},
        {"wechatpay-timestamp": "٣"},
        {"wechatpay-timestamp": ""},
        {"wechatpay-nonce": "other"},
    ],
)
def test_whatever_is_changed_is_not_believed(changes: dict[str, str]) -> None:
    with pytest.raises(NotBelieved):
        SEAL.check(said(b"{}") | changes, b"{}", now_seconds=NOW)
    with pytest.raises(NotBelieved):
        SEAL.check(said(b"{}"), b"{} ", now_seconds=NOW)
    with pytest.raises(NotBelieved):
        SEAL.check({}, b"{}", now_seconds=NOW)


def test_a_resource_opens_only_whole_and_with_our_key() -> None:
    def sealed(key: str = APIV3_KEY, about: str = "transaction") -> Sealed:
        content = AESGCM(key.encode()).encrypt(b"fdasflkja484", b"secret", about.encode())
        return Sealed(
            algorithm="AEAD_AES_256_GCM",
            ciphertext=base64.b64encode(content).decode(),
            nonce="fdasflkja484",
            associated_data="transaction",
        )

    assert SEAL.open(sealed()) == b"secret"
    for bad in (
        sealed(key=APIV3_KEY[::-1]),
        sealed(about="refund"),
        msgspec.structs.replace(sealed(), nonce="x"),
        msgspec.structs.replace(sealed(), ciphertext="AAAA"),
        msgspec.structs.replace(sealed(), ciphertext="é"),
        msgspec.structs.replace(sealed(), algorithm="AEAD_SM4_GCM"),
    ):
        with pytest.raises(NotBelieved):
            SEAL.open(bad)


def trade(**changes: Any) -> bytes:
    return msgspec.json.encode(
        {
            "appid": KEYS.app_id,
            "mchid": KEYS.merchant_id,
            "out_trade_no": LINE.hex,
            "trade_state": "SUCCESS",
            "transaction_id": "4200",
            "success_time": PAID_AT,
            "amount": {"total": 100, "currency": "CNY", "payer_total": 90},
            "something_new": 1,
        }
        | changes
    )


def combined(*, mchid: str = KEYS.merchant_id, states: tuple[str, str]) -> bytes:
    return msgspec.json.encode(
        {
            "combine_appid": KEYS.app_id,
            "combine_mchid": KEYS.merchant_id,
            "combine_out_trade_no": PAYMENT.hex,
            "sub_orders": [
                {
                    "mchid": mchid,
                    "out_trade_no": line_id.hex,
                    "trade_state": state,
                    "transaction_id": f"4200{line_id.int}",
                    "success_time": PAID_AT,
                    "amount": {"total_amount": 10 * line_id.int, "currency": "CNY"},
                }
                for line_id, state in zip((LINE, OTHER), states, strict=True)
            ],
        }
    )


def test_a_paid_order_says_what_when_and_how_much() -> None:
    standing = read_payment(trade())

    assert standing.paid is not None
    (line,) = standing.paid.lines
    assert (line.line_id, line.transaction_id, line.amount_fen) == (LINE, "4200", 100)
    assert line.paid_at == datetime(2018, 6, 8, 2, 34, 56, tzinfo=UTC)
    assert (standing.paid.merchant_id, standing.paid.app_id) == (KEYS.merchant_id, KEYS.app_id)
    assert not standing.payable


@pytest.mark.parametrize(
    ("state", "paid", "payable"),
    [
        ("SUCCESS", True, False),
        ("REFUND", True, False),
        ("NOTPAY", False, True),
        ("USERPAYING", False, True),
        ("CLOSED", False, False),
        ("REVOKED", False, False),
        ("PAYERROR", False, False),
    ],
)
def test_each_state_says_whether_money_came_or_may_come(
    state: str, *, paid: bool, payable: bool
) -> None:
    standing = read_payment(trade(trade_state=state))

    assert (standing.paid is not None, standing.payable) == (paid, payable)


def test_lines_of_a_combined_payment_stand_alone() -> None:
    both = read_payment(combined(states=("SUCCESS", "SUCCESS")))
    half = read_payment(combined(states=("SUCCESS", "NOTPAY")))
    foreign = read_payment(combined(states=("SUCCESS", "SUCCESS"), mchid="1"))

    assert both.paid is not None
    assert [line.amount_fen for line in both.paid.lines] == [10, 20]
    assert half.paid is not None
    assert ([line.line_id for line in half.paid.lines], half.payable) == ([LINE], True)
    assert foreign.paid is not None
    assert foreign.paid.merchant_id == "1"


@pytest.mark.parametrize(
    "strange",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        trade(out_trade_no="ORDER-1"),
        trade(out_trade_no=LINE.hex.replace("0", "Z")),
        trade(transaction_id=None),
        trade(success_time="yesterday"),
        trade(amount=None),
        trade(amount={"total": "100"}),
    ],
)
def test_what_is_not_of_the_protocol_is_not_understood(strange: bytes) -> None:
    with pytest.raises(NotUnderstood):
        read_payment(strange)


def terms(count: int) -> PrepayTerms:
    return PrepayTerms(
        payment_id=PAYMENT,
        openid="ann",
        expires_at=datetime(2011, 12, 5, 9, 15, 0, 999_000, tzinfo=UTC),
        lines=[
            PrepayLine(line_id=UUID(int=n + 1), amount_fen=n + 1, description="茶" * 200)
            for n in range(count)
        ],
    )


def test_one_order_is_an_ordinary_payment_and_more_are_a_combined_one() -> None:
    who = {"merchant_id": "m", "app_id": "a", "notify_url": "https://shop/n"}
    single, several = prepay_body(terms(1), **who), prepay_body(terms(3), **who)

    assert single["out_trade_no"] == LINE.hex
    assert single["amount"] == {"total": 1, "currency": "CNY"}
    assert single["time_expire"] == "2011-12-05T09:15:00+00:00"
    assert len(single["description"].encode()) <= 127
    assert several["combine_out_trade_no"] == PAYMENT.hex
    assert [one["amount"]["total_amount"] for one in several["sub_orders"]] == [1, 2, 3]
    assert prepay_body(terms(3), **who) == several


def test_a_refund_says_the_same_every_time_and_is_read_back() -> None:
    sent = refund_body(
        RefundTerms(
            refund_id=OTHER, transaction_id="4200", refund_fen=30, total_fen=100, reason="x" * 99
        ),
        notify_url="https://shop/n",
    )
    answered = read_refund(
        msgspec.json.encode(
            {
                "refund_id": "5030",
                "out_refund_no": sent["out_refund_no"],
                "status": "PROCESSING",
                "amount": {"refund": 30, "total": 100},
            }
        )
    )
    noticed = read_refund_notice(
        msgspec.json.encode(
            {
                "mchid": "m",
                "refund_id": "5030",
                "out_refund_no": OTHER.hex,
                "refund_status": "CLOSED",
                "amount": {"refund": 30},
            }
        )
    )

    assert len(sent["reason"]) <= 80
    assert answered.refund_id == noticed.refund_id == OTHER
    assert answered.outcome is RefundOutcome.PROCESSING
    assert noticed.outcome is RefundOutcome.ABNORMAL
    assert read_complaint(b'{"code":"ORDERPAID","message":"paid"}') == ("ORDERPAID", "paid")
    assert read_complaint(b"<html>") == ("", "")
