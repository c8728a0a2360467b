"""Ask the provider about payments that nobody told us of, and close what must not be paid."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text

from kit.db import transaction
from kit.errors import CaravanError
from operations.capture_payment import capture
from payments import attempts
from payments.anomalies import WrongMoney
from payments.attempts import Attempt
from payments.news import Standing
from payments.provider import provider
from payments.tables import PaymentState

AT_ONCE: Final = 16

log = structlog.get_logger("payments")


class Resolved(StrEnum):
    """What we know of an attempt after asking."""

    CAPTURED = "captured"
    CLOSED = "closed"
    OPEN = "open"  # it may still be paid, and may
    UNKNOWN = "unknown"  # the provider did not answer


async def poll_payments(limit: int = 50) -> int:
    """Ask about the attempts whose poll is due; return how many there were."""
    async with transaction() as session:
        due = await attempts.claim_due(session, limit=limit)
    await resolve_all(due)
    return len(due)


async def resolve_all(payment_ids: Sequence[UUID], *, close: bool = False) -> list[Resolved]:
    """Ask about several attempts at once, a bounded number at a time, in the given order."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(payment_id: UUID) -> Resolved:
        async with places:
            return await resolve(payment_id, close=close)

    return list(await asyncio.gather(*(one(payment_id) for payment_id in payment_ids)))


async def resolve(payment_id: UUID, *, close: bool = False) -> Resolved:
    """Ask about an attempt, capture what was paid, close what nobody may pay any more.

    Args:
        close: close it at the provider even though its orders could still be paid.
    """
    async with transaction() as session:
        found = await attempts.read(session, [payment_id])
        connection = await session.connection()
        payable = await connection.execute(
            text(
                "SELECT coalesce(bool_and(o.state = 'reserved' AND o.reserved_until > kit_now()"
                " AND g.state IN ('draft','open')), false) FROM payment_line l"
                " JOIN buyer_order o ON o.id = l.order_id JOIN buying_group g ON g.id = o.group_id"
                " WHERE l.payment_id = :id"
            ),
            {"id": payment_id},
        )
        wanted = bool(payable.scalar_one()) and not close
    if not found or found[0].state is PaymentState.CLOSED:
        return Resolved.CLOSED
    if found[0].state is PaymentState.CAPTURED:
        return Resolved.CAPTURED
    try:
        return await _resolve(found[0], wanted=wanted)
    except WrongMoney as wrong:
        log.warning("payment.wrong_money", payment=str(payment_id), reason=wrong.reason)
        return Resolved.UNKNOWN
    except CaravanError as error:
        # An edge: one payment that cannot be asked about must not stop the others.
        log.warning("payment.unresolved", payment=str(payment_id), error=str(error))
        return Resolved.UNKNOWN


async def _resolve(attempt: Attempt, *, wanted: bool) -> Resolved:
    standing = await _ask(attempt)
    if standing is not None and standing.paid is not None:
        await capture(standing.paid)
        return Resolved.CAPTURED
    if standing is None and wanted:
        return Resolved.OPEN  # the call that makes it is still on its way
    if standing is not None and standing.payable:
        if wanted:
            return Resolved.OPEN
        line_ids = [line.id for line in attempt.lines]
        if not await provider().shut(attempt.id, line_ids, combined=attempt.combined):
            # It was paid between the question and the closing.
            standing = await _ask(attempt)
            if standing is None or standing.paid is None:
                return Resolved.UNKNOWN
            await capture(standing.paid)
            return Resolved.CAPTURED
    async with transaction() as session:
        await attempts.close(session, [attempt.id])
    return Resolved.CLOSED


async def _ask(attempt: Attempt) -> Standing | None:
    return await provider().query(attempt.id, attempt.lines[0].id, combined=attempt.combined)
