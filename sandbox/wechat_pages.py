"""What the provider shows of a payment: query answers and the inside of notifies."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sandbox.trades import Prepay, Refund, Trade, TradeState, state_at
from sandbox.wechat import china_time

_DESCRIPTIONS: Final = {
    TradeState.NOTPAY: "订单未支付",
    TradeState.SUCCESS: "支付成功",
    TradeState.CLOSED: "订单已关闭",
    TradeState.REFUND: "转入退款",
}


def trade_page(prepay: Prepay, *, merchant_id: str, app_id: str, now: datetime) -> dict[str, Any]:
    """Return one order as its query shows it."""
    (trade,) = prepay.trades
    page = {
        "appid": app_id,
        "mchid": merchant_id,
        **_common(trade, now=now),
        "trade_state_desc": _DESCRIPTIONS[state_at(trade, now=now)],
        "payer": {"openid": trade.payer_openid},
        "amount": {"total": trade.total_fen, "currency": "CNY"},
    }
    if trade.paid_at is not None:
        page["amount"] = {
            **page["amount"],
            "payer_total": trade.total_fen,
            "payer_currency": "CNY",
        }
    return page


def combined_page(
    prepay: Prepay, *, merchant_id: str, app_id: str, now: datetime
) -> dict[str, Any]:
    """Return a combined payment as its query shows it."""
    return {
        "combine_appid": app_id,
        "combine_mchid": merchant_id,
        "combine_out_trade_no": prepay.number,
        "combine_payer_info": {"openid": prepay.openid},
        "sub_orders": [
            {
                "mchid": merchant_id,
                **_common(trade, now=now),
                "amount": {
                    "total_amount": trade.total_fen,
                    "currency": "CNY",
                    "payer_amount": trade.total_fen,
                    "payer_currency": "CNY",
                },
            }
            for trade in prepay.trades
        ],
    }


def refund_page(refund: Refund) -> dict[str, Any]:
    """Return a refund as its call and its query show it."""
    trade = refund.trade
    amount_fen = refund.terms.amount.refund
    page = {
        "refund_id": refund.refund_id,
        "out_refund_no": refund.terms.out_refund_no,
        "transaction_id": trade.transaction_id,
        "out_trade_no": trade.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": china_time(refund.created_at),
        "status": refund.state,
        "amount": {
            "total": trade.total_fen,
            "refund": amount_fen,
            "payer_total": trade.total_fen,
            "payer_refund": amount_fen,
            "settlement_refund": amount_fen,
            "settlement_total": trade.total_fen,
            "discount_refund": 0,
            "currency": "CNY",
        },
    }
    if refund.settled_at is not None and refund.state == "SUCCESS":
        page["success_time"] = china_time(refund.settled_at)
    return page


def refund_notice(refund: Refund, *, merchant_id: str) -> dict[str, Any]:
    """Return the inside of a refund notify."""
    trade = refund.trade
    notice = {
        "mchid": merchant_id,
        "out_trade_no": trade.out_trade_no,
        "transaction_id": trade.transaction_id,
        "out_refund_no": refund.terms.out_refund_no,
        "refund_id": refund.refund_id,
        "refund_status": refund.state,
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": trade.total_fen,
            "refund": refund.terms.amount.refund,
            "payer_total": trade.total_fen,
            "payer_refund": refund.terms.amount.refund,
        },
    }
    if refund.settled_at is not None and refund.state == "SUCCESS":
        notice["success_time"] = china_time(refund.settled_at)
    return notice


def _common(trade: Trade, *, now: datetime) -> dict[str, Any]:
    """Return the fields that one order and a part of a combined payment share."""
    fields: dict[str, Any] = {
        "out_trade_no": trade.out_trade_no,
        "trade_type": "JSAPI",
        "trade_state": state_at(trade, now=now),
        "attach": trade.attach,
    }
    if trade.paid_at is not None:
        fields |= {
            "transaction_id": trade.transaction_id,
            "bank_type": "OTHERS",
            "success_time": china_time(trade.paid_at),
        }
    return fields


def one_fen_less(page: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payment's page that claims one fen less than was paid."""
    if "sub_orders" in page:
        first, *others = page["sub_orders"]
        total = first["amount"]["total_amount"] - 1
        amount = {**first["amount"], "total_amount": total, "payer_amount": total}
        return {**page, "sub_orders": [{**first, "amount": amount}, *others]}
    total = page["amount"]["total"] - 1
    return {**page, "amount": {**page["amount"], "total": total, "payer_total": total}}
