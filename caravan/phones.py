"""The customers' phones: payments are made for the seats taken, and paid soon, late or never."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

from caravan.day import pay_delay
from caravan.figures import UNPAID_SHARE
from caravan.http_client import Client
from caravan.shoppers import Customer, Seat
from kit.ids import new_id

# WeChat Pay: a combined payment has 2 to 10 orders.
_ORDERS_A_PAYMENT: Final = 10
_AT_ONCE: Final = 8
_PAYMENTS_A_CALL: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A payment that a customer will make at a moment."""

    prepay_id: str
    openid: str
    at: datetime
    late: bool  # cleared when its time had passed
    orders: int

    def document(self) -> dict[str, Any]:
        """Return the bill as the provider's phone route takes it."""
        outcome = "late" if self.late else "paid"
        return {
            "prepay_id": self.prepay_id,
            "openid": self.openid,
            "at": self.at.isoformat(),
            "outcome": outcome,
        }


@dataclass(slots=True, kw_only=True)
class PhoneCounts:
    """What the phones did so far."""

    payments: int = 0
    never: int = 0
    paid: int = 0
    late: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by the shop or the provider


class Phones:
    """Pays for seats.

    Args:
        plan: called with a moment and what shall happen then.
    """

    def __init__(
        self,
        api: Client,
        companies: Client,
        *,
        plan: Callable[[datetime, Bill], None],
        seed: int,
    ) -> None:
        self.counts = PhoneCounts()
        self._api = api
        self._companies = companies
        self._plan = plan
        self._seed = seed
        self._in_flight = asyncio.Semaphore(_AT_ONCE)

    async def check_out(
        self, customer: Customer, seats: Sequence[Seat], *, invoice: str, taken_at: datetime
    ) -> None:
        """Make the payments for a basket's seats and decide when each of them is paid."""
        chance = random.Random(f"{self._seed}:pay:{invoice}")  # noqa: S311 - repeatable on purpose
        left = iter(seats)
        parts = iter(lambda: list(islice(left, _ORDERS_A_PAYMENT)), [])
        # Drawn here, in their order: concurrent answers must not change what chance decides.
        drawn = [(part, chance.random() < UNPAID_SHARE, pay_delay(chance)) for part in parts]
        await asyncio.gather(
            *(
                self._bill(customer, part, unpaid=unpaid, pays_at=taken_at + delay)
                for part, unpaid, delay in drawn
            )
        )

    async def _bill(
        self, customer: Customer, seats: Sequence[Seat], *, unpaid: bool, pays_at: datetime
    ) -> None:
        async with self._in_flight:
            answer = await self._api.call(
                "POST",
                "/v1/payments",
                token=customer.token,
                key=str(new_id()),
                document={"order_ids": [seat.order_id for seat in seats]},
            )
        if answer.status != HTTPStatus.CREATED:
            self.counts.refused[answer.code] += 1
            return
        self.counts.payments += 1
        if unpaid:
            self.counts.never += 1
            return
        _, _, prepay_id = answer.document["pay_params"]["package"].partition("=")
        bill = Bill(
            prepay_id=prepay_id,
            openid=customer.openid,
            at=pays_at,
            late=pays_at >= min(seat.reserved_until for seat in seats),
            orders=len(seats),
        )
        self._plan(pays_at, bill)

    async def pay(self, bills: Sequence[Bill]) -> None:
        """Pay what is due, at the provider."""
        for start in range(0, len(bills), _PAYMENTS_A_CALL):
            part = bills[start : start + _PAYMENTS_A_CALL]
            answer = await self._companies.post(
                "/sandbox/pay-many", {"payments": [bill.document() for bill in part]}
            )
            for bill, result in zip(part, answer["results"], strict=True):
                if result["outcome"] != "paid":
                    self.counts.refused[result.get("code", result["outcome"])] += 1
                elif bill.late:
                    self.counts.late += 1
                else:
                    self.counts.paid += 1
