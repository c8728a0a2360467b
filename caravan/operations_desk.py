"""The one operator of the replay: loads the catalogue, fills shelves, approves, looks around."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from caravan.clocks import Clocks
from caravan.day_catalogue import DayShop
from caravan.http_client import Client, WrongAnswer

_SETTLE_SECONDS = 60.0
# Everything else is an end, or waits for a person.
_UNFINISHED_ORDERS = (
    "reserved",
    "paid",
    "confirmed",
    "won",
    "lost",
    "allocated",
    "shipped",
    "refund_due",
    "refunding",
)
_UNFINISHED_GROUPS = ("draft", "open", "closing")
_UNFINISHED_REFUNDS = ("queued", "accepted")


class OperationsDesk:
    """What a person of operations does in a browser, over the same HTTP routes."""

    def __init__(self, api: Client, companies: Client, *, token: str) -> None:
        self.token = token
        self.approved = 0
        self._api = api
        self._companies = companies

    async def open_shop(self, shop: DayShop, clocks: Clocks) -> None:
        """Load the catalogue, put the opening stock on the shelves, wait until it is known."""
        answer = await self._api.call(
            "POST", "/v1/ops/catalogue", token=self.token, content=shop.document()
        )
        if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise WrongAnswer(f"the catalogue was answered {answer.status}: {answer.document}")
        await self._fill(shop.stock)
        await clocks.settle(within_seconds=_SETTLE_SECONDS)

    async def _fill(self, stock: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        for warehouse, lines in stock.items():
            await self._companies.put(
                f"/sandbox/warehouses/{warehouse}/stock", {"lines": [dict(line) for line in lines]}
            )

    async def approve_waiting(self) -> int:
        """Approve every purchase order above the limit and return how many there were."""
        page = await self._api.get(
            "/v1/ops/purchase-orders", token=self.token, state="pending_approval", limit=100
        )
        approved = 0
        for order in page["purchase_orders"]:
            answer = await self._api.call(
                "POST",
                f"/v1/ops/purchase-orders/{order['id']}/approve",
                token=self.token,
                document={},
            )
            approved += answer.status == HTTPStatus.OK
        self.approved += approved
        return approved

    async def overview(self, *, since: datetime) -> dict[str, Any]:
        """Return what became of everything since a moment of business time."""
        document: dict[str, Any] = await self._api.get(
            "/v1/ops/overview", token=self.token, since=since.isoformat()
        )
        return document

    async def audit(self) -> dict[str, Any]:
        """Return the audit."""
        document: dict[str, Any] = await self._api.get("/v1/ops/audit", token=self.token)
        return document


def unfinished(overview: Mapping[str, Any]) -> dict[str, int]:
    """Return what has not come to its end, by kind and state; empty when everything has.

    >>> unfinished({"by_state": {"groups": {"open": 1, "failed": 4}, "orders": {"paid": 2},
    ...     "refunds": {}}})
    {'groups open': 1, 'orders paid': 2}
    """
    states = overview["by_state"]
    return {
        f"{kind} {state}": states[kind][state]
        for kind, wanted in (
            ("groups", _UNFINISHED_GROUPS),
            ("orders", _UNFINISHED_ORDERS),
            ("refunds", _UNFINISHED_REFUNDS),
        )
        for state in wanted
        if states[kind].get(state)
    }
