"""The companies together: one business clock, one post office, goods passed from hand to hand."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sandbox.carriers import Carrier
from sandbox.clock import BusinessClock
from sandbox.config import SandboxConfig
from sandbox.consignments import Consignment
from sandbox.delivery import Courier, backoff_pauses
from sandbox.misbehaviour import Chances
from sandbox.offices import Office, open_office
from sandbox.provider import Provider
from sandbox.refusal import Refusal
from sandbox.suppliers import Supplier
from sandbox.warehouses import Warehouse


class World:
    """Everything outside the shop."""

    def __init__(self, config: SandboxConfig) -> None:
        # Numbers of two runs must differ: the shop keeps them for ever, we forget them all.
        self._mark = secrets.token_hex(3)
        self._config = config
        self.clock = BusinessClock(start=config.start)
        self.courier = Courier(
            concurrency=config.delivery.concurrency,
            timeout_seconds=config.delivery.timeout_seconds,
        )
        self._pauses_seconds = backoff_pauses(
            first_seconds=config.delivery.first_pause_seconds,
            longest_seconds=config.delivery.longest_pause_seconds,
            attempts=config.delivery.attempts,
        )
        self.carriers = {
            carrier.code: Carrier(carrier, office=self._office("carriers", carrier))
            for carrier in config.carriers
        }
        self.warehouses = {
            warehouse.code: Warehouse(
                warehouse,
                office=self._office("warehouses", warehouse),
                carriers=self.carriers.keys(),
                hand_over=self._hand_over,
            )
            for warehouse in config.warehouses
        }
        self.suppliers = {
            supplier.code: Supplier(
                supplier,
                office=self._office("suppliers", supplier),
                warehouses=self.warehouses.keys(),
                receive=self._receive,
            )
            for supplier in config.suppliers
        }
        self._provider = (
            None
            if config.payments is None
            else Provider(
                config.payments,
                clock=self.clock,
                courier=self.courier,
                chances=Chances(seed=f"{config.seed}:pay"),
                mark=self._mark,
            )
        )

    @property
    def provider(self) -> Provider:
        """The payment provider.

        Raises:
            Refusal: the configuration has none.
        """
        if self._provider is None:
            raise Refusal(404, "unknown_company", "no payment provider is configured")
        return self._provider

    def time(self) -> dict[str, Any]:
        """Return where business time stands and what is still to come."""
        next_due_at = self.clock.next_due_at
        return {
            "now": self.clock.now.isoformat(),
            "next_due_at": None if next_due_at is None else next_due_at.isoformat(),
            "backlog": self.courier.backlog,
        }

    async def move(self, to: datetime) -> dict[str, Any]:
        """Move business time and return where it stands."""
        await self.clock.move(to)
        return self.time()

    def state(self) -> dict[str, Any]:
        """Return counts of everything the companies did."""
        return {
            **self.time(),
            "webhooks": {
                "delivered": self.courier.counts["delivered"],
                "given_up": self.courier.counts["given_up"],
                "attempts": self.courier.counts["attempts"],
                "last_failures": list(self.courier.failures),
            },
            "pay": {} if self._provider is None else dict(self._provider.counts),
            "suppliers": _counts(self.suppliers),
            "warehouses": _counts(self.warehouses),
            "carriers": _counts(self.carriers),
        }

    def _office(self, kind: str, company: Any) -> Office:
        return open_office(
            kind=kind,
            code=company.code,
            secret=company.secret,
            seed=self._config.seed,
            mark=self._mark,
            caravan_url=self._config.caravan_url,
            clock=self.clock,
            courier=self.courier,
            pauses_seconds=self._pauses_seconds,
        )

    def _receive(self, warehouse: str, consignment: Consignment) -> None:
        self.warehouses[warehouse].receive(consignment)

    def _hand_over(self, carrier: str, tracking_nos: Sequence[str]) -> None:
        self.carriers[carrier].collect(tracking_nos)


def _counts(
    companies: dict[str, Supplier] | dict[str, Warehouse] | dict[str, Carrier],
) -> dict[str, dict[str, int]]:
    return {code: dict(company.office.counts) for code, company in companies.items()}
