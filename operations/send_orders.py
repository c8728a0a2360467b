"""Sends approved purchase orders to their suppliers, each at most once, whatever gets lost."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

import structlog

from kit import wakeups
from kit.db import transaction
from kit.leases import LEASE_SECONDS, lease
from kit.outgoing import Outgoing
from kit.partners import AnswerLost, HostRefused, PartnerRefused, PartnerUnavailable
from operations.companies import NoEndpoint, endpoint, open_line
from operations.hold_order import hold_order
from operations.settle_answer import drop_order
from suppliers import sending
from suppliers.gateway import OrderRefused, SupplierGateway, Taken
from suppliers.orders import SupplyOrder
from suppliers.sending import Attempt
from suppliers.states import PurchaseOrderState

_LOG = structlog.get_logger()
_ORDERS_A_RUN: Final = 500
_AT_ONCE: Final = 8


class Outcome(StrEnum):
    """What became of one try."""

    SENT = "sent"
    REJECTED = "rejected"  # the supplier will never take it
    UNKNOWN = "unknown"  # it may have it: asked again later, and nobody else is asked
    POSTPONED = "postponed"  # it does not have it, or we cannot say anything to it now
    SKIPPED = "skipped"  # another sender was quicker


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One order and what became of it."""

    po_id: UUID
    supplier: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendReport:
    """What one run did."""

    sendings: tuple[Sending, ...]

    def count(self, outcome: Outcome) -> int:
        """Return how many orders ended so."""
        return sum(sending.outcome is outcome for sending in self.sendings)


async def send_orders() -> SendReport:
    """Send what is approved and due; what stays unsent wakes `replenish` again by itself.

    Safe to run twice and at the same time: an order is sent under a lease, and under its own id
    as the key at the supplier.
    """
    async with transaction() as session:
        due = await sending.to_send(session, limit=_ORDERS_A_RUN)
    if not due:
        return SendReport(sendings=())
    places = asyncio.Semaphore(_AT_ONCE)
    async with open_line() as outgoing:

        async def send(po_id: UUID) -> Sending | None:
            async with places:
                return await _send_leased(outgoing, po_id)

        tried = await asyncio.gather(*(send(po_id) for po_id in due), return_exceptions=True)
    # A bug that one order meets must not keep the others from being sent.
    for one in tried:
        if isinstance(one, BaseException):
            raise one
    return SendReport(sendings=tuple(one for one in tried if isinstance(one, Sending)))


async def _send_leased(outgoing: Outgoing, po_id: UUID) -> Sending | None:
    async with lease(f"purchase_order:{po_id}") as mine:
        if not mine:
            await _look_again(po_id)
            return None
        async with transaction() as session:
            attempt = await sending.begin(session, po_id)
        if attempt is None:
            return None
        outcome, detail = await _try(outgoing, attempt)
    order = attempt.order
    _LOG.info(
        "purchase_order.sending", po_id=str(po_id), supplier=order.supplier, outcome=outcome.value
    )
    return Sending(po_id=po_id, supplier=order.supplier, outcome=outcome, detail=detail)


async def _try(outgoing: Outgoing, attempt: Attempt) -> tuple[Outcome, str]:
    """Call the supplier and write what is known afterwards; no transaction is open meanwhile."""
    order = attempt.order
    try:
        gateway = SupplierGateway(outgoing, await endpoint("suppliers", order.supplier))
        taken = await _call(gateway, attempt)
    except OrderRefused as refused:
        return await _write_refusal(order, refused.reason)
    except AnswerLost as lost:
        await _put_off(order, known_unsent=False)
        return Outcome.UNKNOWN, str(lost)
    except (PartnerUnavailable, PartnerRefused, HostRefused, NoEndpoint) as error:
        await _put_off(order, known_unsent=True)
        return Outcome.UNKNOWN if attempt.look_up else Outcome.POSTPONED, str(error)
    return await _write_sent(order, taken)


async def _call(gateway: SupplierGateway, attempt: Attempt) -> Taken:
    order = attempt.order
    if attempt.look_up and (known := await gateway.look_up(order.id)) is not None:
        return known
    try:
        return await gateway.send(order, ordered_at=order.created_at)
    except AnswerLost as lost:
        try:
            known = await gateway.look_up(order.id)
        except (PartnerUnavailable, PartnerRefused) as silent:
            raise lost from silent
        if known is None:
            # It may still be on its way; the next try asks again before it sends.
            raise
        return known


async def _write_sent(order: SupplyOrder, taken: Taken) -> tuple[Outcome, str]:
    async with transaction() as session:
        held = await hold_order(session, order.id)
        if held.state is not PurchaseOrderState.APPROVED:
            # The supplier's answer overtook ours and has said that it was sent.
            return Outcome.SENT, taken.supplier_ref
        await sending.mark_sent(session, held, supplier_ref=taken.supplier_ref)
    return Outcome.SENT, taken.supplier_ref


async def _write_refusal(order: SupplyOrder, reason: str) -> tuple[Outcome, str]:
    async with transaction() as session:
        held = await hold_order(session, order.id)
        if held.state is not PurchaseOrderState.APPROVED:
            return Outcome.SKIPPED, f"it is {held.state.value} already"
        await drop_order(session, held, reason=reason, actor=order.supplier)
    return Outcome.REJECTED, reason


async def _look_again(po_id: UUID) -> None:
    """Have a run look when the lease of an order has ended: its holder may have died at it."""
    async with transaction() as session:
        await wakeups.wake(
            session,
            "replenish",
            reason=f"somebody sends purchase order {po_id}",
            delay_seconds=LEASE_SECONDS,
        )


async def _put_off(order: SupplyOrder, *, known_unsent: bool) -> None:
    async with transaction() as session:
        pause_seconds = await sending.put_off(session, order, known_unsent=known_unsent)
        await wakeups.wake(
            session,
            "replenish",
            reason=f"purchase order {order.id} is not sent",
            delay_seconds=pause_seconds,
        )
