"""Who acts in the stories: buyers with their phones, and the operations desk. All over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from caravan.http_client import Answer, Client
from kit.ids import new_id

_HOME: Final[Mapping[str, str]] = {
    "province": "江苏",
    "city": "南京",
    "detail": "中山路 1 号",
    "phone": "13800000000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place in a group, held until it is paid."""

    group_id: str
    order_id: str
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the phone shows before it pays."""

    prepay_id: str
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    """Somebody with the mini-program on a phone.

    Args:
        campaigns: campaign ids by code.
    """

    name: str
    token: str
    api: Client
    companies: Client
    campaigns: Mapping[str, str]

    async def open_group(self, campaign: str, *, quantity: int = 1) -> Seat:
        """Open a group and take its first seat."""
        asked = {"campaign_id": self.campaigns[campaign], "quantity": quantity}
        return _seat(await self._ask("/v1/groups", asked))

    async def join(self, seat: Seat, *, quantity: int = 1) -> Seat:
        """Take a seat beside somebody else's."""
        return _seat(await self.try_to_join(seat, quantity=quantity))

    async def try_to_join(self, seat: Seat, *, quantity: int = 1) -> Answer:
        """Ask for a seat and return the answer, whatever it is."""
        return await self._ask(f"/v1/groups/{seat.group_id}/orders", {"quantity": quantity})

    async def bill(self, *seats: Seat) -> Bill:
        """Let the shop make one payment for these seats."""
        started = await self.api.post(
            "/v1/payments",
            {"order_ids": [seat.order_id for seat in seats]},
            token=self.token,
            key=str(new_id()),
        )
        _, _, prepay_id = started["pay_params"]["package"].partition("=")
        return Bill(prepay_id=prepay_id, amount_fen=started["amount_fen"])

    async def confirm(self, bill: Bill, *, outcome: str = "paid") -> None:
        """Confirm a payment on the phone."""
        said = await self.companies.post(
            f"/sandbox/pay/{bill.prepay_id}", {"openid": f"dev:{self.name}", "outcome": outcome}
        )
        assert said["outcome"] == "paid"

    async def pay(self, *seats: Seat) -> None:
        """Pay these seats, together when there are several."""
        bill = await self.bill(*seats)
        assert bill.amount_fen == sum(seat.amount_fen for seat in seats)
        await self.confirm(bill)

    async def order(self, seat: Seat) -> dict[str, Any]:
        """Look at one's own order."""
        seen: dict[str, Any] = await self.api.get(f"/v1/orders/{seat.order_id}", token=self.token)
        return seen

    async def group(self, seat: Seat) -> dict[str, Any]:
        """Look at the group."""
        seen: dict[str, Any] = await self.api.get(f"/v1/groups/{seat.group_id}", token=self.token)
        return seen

    async def _ask(self, path: str, asked: Mapping[str, Any]) -> Answer:
        document = {**asked, "address": {**_HOME, "name": self.name}}
        return await self.api.call(
            "POST", path, token=self.token, key=str(new_id()), document=document
        )


def _seat(answer: Answer) -> Seat:
    assert answer.status == 201, answer.document
    order = answer.document["order"]
    return Seat(
        group_id=answer.document["group"]["id"],
        order_id=order["id"],
        amount_fen=order["amount_fen"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two buyers with paid seats in one group."""

    members: tuple[tuple[Buyer, Seat], tuple[Buyer, Seat]]

    async def orders(self) -> list[dict[str, Any]]:
        """Look at both orders, the leader's first."""
        return [await buyer.order(seat) for buyer, seat in self.members]

    async def states(self) -> set[str]:
        """Return the states of their orders."""
        return {order["state"] for order in await self.orders()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsDesk:
    """A person of operations."""

    token: str
    api: Client

    async def purchase_orders(self, **query: str) -> list[dict[str, Any]]:
        """Return purchase orders, oldest first."""
        page = await self.api.get("/v1/ops/purchase-orders", token=self.token, **query)
        found: list[dict[str, Any]] = page["purchase_orders"]
        return found[::-1]

    async def purchase_order(self, po_id: str) -> dict[str, Any]:
        """Return one purchase order."""
        return next(order for order in await self.purchase_orders() if order["id"] == po_id)

    async def approve(self, po_id: str) -> dict[str, Any]:
        """Approve a purchase order and return what became of it."""
        judged: dict[str, Any] = await self.api.post(
            f"/v1/ops/purchase-orders/{po_id}/approve", {}, token=self.token
        )
        return judged

    async def plan(self, plan_id: str) -> dict[str, Any]:
        """Return a purchase plan and its reasons."""
        found: dict[str, Any] = await self.api.get(f"/v1/ops/plans/{plan_id}", token=self.token)
        return found

    async def stock(self, sku: str) -> dict[str, Any]:
        """Return where a product stands: shelves, budget, open differences."""
        page = await self.api.get("/v1/ops/stock", token=self.token, sku=sku)
        found: dict[str, Any] = page["items"][0]
        return found

    async def audit(self) -> list[dict[str, Any]]:
        """Return what breaks an invariant; nothing, when all is well."""
        report = await self.api.get("/v1/ops/audit", token=self.token)
        assert len(report["checked"]) > 30
        violations: list[dict[str, Any]] = report["violations"]
        return violations
