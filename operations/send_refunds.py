"""Refunds go out one by one, paced, under a number that never changes; each fails alone.

Accepted is not refunded: a notify or a later question decides. What the provider will not do
after all tries waits for a person.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders
from groups.states import OrderEvent
from kit import clock, inbox, outbox
from kit.db import repeat_on_deadlock, transaction
from kit.errors import CaravanError
from kit.settings import settings
from operations.capture_payment import Heard, record_anomaly
from payments import refunds
from payments.anomalies import WrongMoney
from payments.news import RefundNews, RefundOutcome
from payments.provider import provider
from payments.refunds import Claimed, Postponed, Settled
from payments.tables import RefundState
from payments.wechat_client import ProviderBusy
from payments.wechat_messages import RefundTerms

AT_ONCE: Final = 16
_CHUNK: Final = 100

log = structlog.get_logger("refunds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundReport:
    """What one run did; `left` is what became due meanwhile."""

    sent: int
    succeeded: int
    accepted: int
    postponed: int
    attention: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What came of one refund: news, or why there is none."""

    claimed: Claimed
    news: RefundNews | None = None
    error: str | None = None
    busy: bool = False


async def send_refunds(limit: int = 10_000, pace: int | None = None) -> RefundReport:
    """Send due refunds and ask about accepted ones, until none is due or `limit` were handled.

    Args:
        pace: calls a second at most; None is the setting.
    """
    per_second = pace or settings().refunds_per_second
    turns = _Turns(per_second=per_second)
    counts = {"sent": 0, "succeeded": 0, "accepted": 0, "postponed": 0, "attention": 0}
    handled = 0
    while handled < limit:
        chunk = min(_CHUNK, limit - handled)
        claimed = await repeat_on_deadlock(partial(_claim, chunk))
        if not claimed:
            break
        handled += len(claimed)
        counts["sent"] += sum(one.state is RefundState.QUEUED for one in claimed)
        answers = await asyncio.gather(*(_ask(one, turns) for one in claimed))
        for name, count in (await repeat_on_deadlock(partial(_book, answers))).items():
            counts[name] += count
    async with transaction() as session:
        left = len(await refunds.due_orders(session, limit=_CHUNK))
    return RefundReport(**counts, left=left)


class _Turns:
    """A place and a turn for each call: bounded concurrency, evenly paced."""

    def __init__(self, *, per_second: int) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._seconds = 1 / per_second
        self._next = 0.0

    async def take(self) -> asyncio.Semaphore:
        """Wait for the next turn; hold the returned places around the call."""
        loop = asyncio.get_running_loop()
        turn = max(self._next, loop.time())
        self._next = turn + self._seconds
        await asyncio.sleep(turn - loop.time())
        return self._places


async def _claim(limit: int) -> list[Claimed]:
    """Lease due refunds; their orders are being refunded from now on."""
    async with transaction() as session:
        order_ids = await refunds.due_orders(session, limit=limit)
        if not order_ids:
            return []
        await _lock_orders(session, order_ids)
        claimed = await refunds.claim(session, order_ids)
        await orders.move(session, order_ids, OrderEvent.START_REFUND)
        return claimed


async def _ask(claimed: Claimed, turns: _Turns) -> _Answer:
    async with await turns.take():
        try:
            if claimed.state is RefundState.ACCEPTED:
                return _Answer(claimed=claimed, news=await provider().query_refund(claimed.id))
            terms = RefundTerms(
                refund_id=claimed.id,
                transaction_id=claimed.transaction_id,
                refund_fen=claimed.amount_fen,
                total_fen=claimed.total_fen,
                reason=claimed.reason,
            )
            return _Answer(claimed=claimed, news=await provider().refund(terms))
        except ProviderBusy as busy:
            return _Answer(claimed=claimed, error=str(busy), busy=True)
        except CaravanError as error:
            # An edge: one bad refund must not stop the others.
            log.warning("refund.not_sent", refund=str(claimed.id), error=str(error))
            return _Answer(claimed=claimed, error=str(error))


async def _book(answers: Sequence[_Answer]) -> dict[str, int]:
    """Write what came of a chunk of refunds, in one transaction."""
    postponed = [_postponed(answer) for answer in answers if _undecided(answer)]
    async with transaction() as session:
        await _lock_orders(session, [answer.claimed.order_id for answer in answers])
        now = await clock.business_now(session)
        settled = [
            Settled(
                id=answer.claimed.id,
                provider_refund_id=answer.news.provider_refund_id,
                settled_at=answer.news.settled_at or now,
            )
            for answer in answers
            if answer.news is not None and answer.news.outcome is RefundOutcome.SUCCEEDED
        ]
        failed = {
            answer.claimed.id: answer.error or (answer.news.note if answer.news else "")
            for answer in answers
            if _failed(answer)
        }
        await refunds.postpone(session, postponed)
        await _finish(session, settled=settled, failed=failed)
    return {
        "succeeded": len(settled),
        "accepted": sum(one.accepted for one in postponed),
        "postponed": sum(not one.accepted for one in postponed),
        "attention": len(failed),
    }


def _failed(answer: _Answer) -> bool:
    if answer.news is not None:
        return answer.news.outcome is RefundOutcome.ABNORMAL
    queued = answer.claimed.state is RefundState.QUEUED
    return queued and not answer.busy and answer.claimed.attempts >= refunds.MAX_TRIES


def _undecided(answer: _Answer) -> bool:
    if answer.news is not None:
        return answer.news.outcome is RefundOutcome.PROCESSING
    return not _failed(answer)


def _postponed(answer: _Answer) -> Postponed:
    claimed = answer.claimed
    accepted = answer.news is not None or claimed.state is RefundState.ACCEPTED
    return Postponed(
        id=claimed.id,
        accepted=accepted,
        attempts=1 if claimed.state is RefundState.QUEUED and accepted else claimed.attempts,
        provider_refund_id=answer.news.provider_refund_id if answer.news else None,
        error=answer.error,
    )


async def hear_refund(news: RefundNews, heard: Heard) -> None:
    """Apply what a notify says of a refund, once.

    Raises:
        WrongMoney: it is another merchant's, not one of ours, or another amount.
    """
    try:
        await repeat_on_deadlock(lambda: _hear_refund(news, heard))
    except WrongMoney as wrong:
        await record_anomaly(heard.external_id, wrong)
        raise


async def _hear_refund(news: RefundNews, heard: Heard) -> None:
    if news.merchant_id != provider().merchant_id:
        raise WrongMoney("wrong merchant", merchant_id=news.merchant_id)
    async with transaction() as session:
        connection = await session.connection()
        row = (
            await connection.execute(
                text(
                    "SELECT r.order_id, r.amount_fen, kit_now() AS now FROM refund r"
                    " JOIN buyer_order o ON o.id = r.order_id WHERE r.id = :id FOR UPDATE OF o"
                ),
                {"id": news.refund_id},
            )
        ).one_or_none()
        if row is None:
            raise WrongMoney("unknown refund", refund_id=str(news.refund_id))
        if row.amount_fen != news.refund_fen:
            raise WrongMoney(
                "wrong refund",
                refund_id=str(news.refund_id),
                told_fen=news.refund_fen,
                asked_fen=row.amount_fen,
            )
        new = await inbox.take_in(
            session,
            source=f"payments:{settings().pay_provider}",
            external_id=heard.external_id,
            kind=heard.kind,
            body={"refund_id": str(news.refund_id), "status": news.note},
            occurred_at=news.settled_at or row.now,
            applied=True,
        )
        if not new:
            return
        if news.outcome is RefundOutcome.SUCCEEDED:
            settled = Settled(
                id=news.refund_id,
                provider_refund_id=news.provider_refund_id,
                settled_at=news.settled_at or row.now,
            )
            await _finish(session, settled=[settled], failed={})
        elif news.outcome is RefundOutcome.ABNORMAL:
            await _finish(session, settled=[], failed={news.refund_id: news.note})


async def _lock_orders(session: AsyncSession, order_ids: Sequence[UUID]) -> None:
    connection = await session.connection()
    await connection.execute(
        text(
            "SELECT 1 FROM buyer_order WHERE id = ANY(CAST(:orders AS uuid[]))"
            " ORDER BY id FOR UPDATE"
        ),
        {"orders": list(order_ids)},
    )


async def _finish(
    session: AsyncSession, *, settled: Sequence[Settled], failed: Mapping[UUID, str]
) -> None:
    """Settle refunds and hand failed ones to a person, with their orders (locked)."""
    booked = await refunds.settle(session, settled)
    aside = await refunds.set_aside(session, dict(failed))
    if not booked and not aside:
        return
    connection = await session.connection()
    rows = (
        await connection.execute(
            text(
                "SELECT r.id, r.order_id, r.kind, r.amount_fen, NOT EXISTS (SELECT FROM refund s"
                "  WHERE s.line_id = r.line_id AND s.state <> 'succeeded') AS whole,"
                " l.state = 'captured' AS seated FROM refund r"
                " JOIN payment_line l ON l.id = r.line_id WHERE r.id = ANY(CAST(:ids AS uuid[]))"
            ),
            {"ids": [*booked, *aside]},
        )
    ).all()
    back = {row.order_id for row in rows if row.id in booked and row.seated and row.whole}
    stuck = {row.order_id for row in rows if row.id in aside and row.seated}
    # A difference alone leaves the order where it is: it is not being refunded.
    done = await orders.move(session, sorted(back), OrderEvent.SETTLE_REFUND)
    await orders.move(session, sorted(stuck), OrderEvent.GIVE_UP_REFUND)
    await outbox.emit(session, _refunded(rows, booked))
    log.info("refunds.settled", settled=len(booked), orders=len(done), attention=len(aside))


def _refunded(rows: Sequence[Any], booked: set[UUID]) -> list[outbox.Fact]:
    return [
        outbox.Fact(
            topic="order.refunded",
            key=str(row.order_id),
            body={
                "order_id": str(row.order_id),
                "refund_id": str(row.id),
                "kind": row.kind,
                "amount_fen": row.amount_fen,
            },
        )
        for row in rows
        if row.id in booked
    ]
