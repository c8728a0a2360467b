"""Money came: inbox, ledger, payment, order and group move in one transaction, or none does.

What arrives while a transaction runs is written by the next one together. Money that completes no
group takes two statements, however much there is: one locks (group, order, line) and answers with
the rows as they are, one writes. Money for a released seat needs its SKU's budget, which comes
first in the order of locks: it is left alone and starts again there.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import settlement
from groups.lifecycle import Landing
from inventory import budgets
from kit.batching import Batcher
from kit.db import repeat_on_deadlock, sqlstate, transaction
from kit.errors import LostRace
from kit.settings import settings
from operations import captured_lines
from operations.capture_books import Answer, Books, Captured, SeatReleased
from operations.captured_lines import HeardLetter
from payments import anomalies, refunds
from payments.anomalies import WrongMoney
from payments.news import PaymentNews
from payments.provider import provider
from payments.refunds import Owed
from payments.tables import RefundKind

LATE_MONEY: Final = "late_payment"
_UNIQUE_VIOLATION: Final = "23505"
_BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The notify that brought the news; a poll has none."""

    external_id: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One piece of news on its way into the books."""

    news: PaymentNews
    heard: Heard | None


async def capture(news: PaymentNews, *, heard: Heard | None = None) -> Captured:
    """Apply captured money once, however often and however concurrently it is told.

    News that arrives while other news is being written is written together with the next.

    Raises:
        WrongMoney: merchant, app, order, amount or currency is not what was asked for.
        Unavailable: too much waits; the provider tells us again.
    """
    item = _Item(news=news, heard=heard)
    try:
        _check_merchant(news)
        answer = await _batcher().submit(item)
        if isinstance(answer, SeatReleased):
            (answer,) = await repeat_on_deadlock(lambda: _capture([item], budgets_first=True))
        if isinstance(answer, WrongMoney):
            raise answer
        if isinstance(answer, SeatReleased):
            raise LostRace("a released seat was not decided with its budget")
    except WrongMoney as wrong:
        await record_anomaly(heard.external_id if heard else "poll", wrong)
        raise
    return answer


class _Batchers:
    """The batcher of this process's loop; a class so that nothing is a bare global."""

    current: Batcher[_Item, Answer] | None = None
    loop: asyncio.AbstractEventLoop | None = None


def _batcher() -> Batcher[_Item, Answer]:
    loop = asyncio.get_running_loop()
    if _Batchers.current is None or _Batchers.loop is not loop:
        _Batchers.current, _Batchers.loop = Batcher(_settle, max_batch=_BATCH), loop
    return _Batchers.current


async def _settle(items: Sequence[_Item]) -> Sequence[Answer]:
    return await repeat_on_deadlock(lambda: _capture(items, budgets_first=False))


async def record_anomaly(external_id: str, wrong: WrongMoney) -> None:
    """Keep what the provider said and nobody can believe."""
    async with transaction() as session:
        await anomalies.keep(
            session, wrong, provider=settings().pay_provider, external_id=external_id
        )


def _check_merchant(news: PaymentNews) -> None:
    if news.merchant_id != provider().merchant_id:
        raise WrongMoney("wrong merchant", merchant_id=news.merchant_id)
    if news.app_id != provider().app_id:
        raise WrongMoney("wrong app", app_id=news.app_id)


async def _capture(items: Sequence[_Item], *, budgets_first: bool) -> list[Answer]:
    try:
        async with transaction() as session:
            return await _apply(session, items, budgets_first=budgets_first)
    except DBAPIError as error:
        # The rows are locked, so only another order's use of the transaction can clash; a batch
        # is halved until the one that does it stands alone.
        if len(items) > 1 or sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        used = [line.transaction_id for line in items[0].news.lines]
        return [WrongMoney("transaction used before", transactions=used)]


async def _apply(
    session: AsyncSession, items: Sequence[_Item], *, budgets_first: bool
) -> list[Answer]:
    """Decide and write news in the order given, each after what came before it took effect."""
    line_ids = list({line.line_id for item in items for line in item.news.lines})
    if budgets_first:
        await budgets.lock(session, await captured_lines.skus_of(session, line_ids))
    rows = await captured_lines.lock(session, line_ids)
    books = Books(session, rows, budgets_first=budgets_first)
    answers = [await books.take(item.news) for item in items]
    letters = [
        _letter(item.news, item.heard)
        for item, answer in zip(items, answers, strict=True)
        if item.heard is not None and isinstance(answer, Captured)
    ]
    if not letters and not books.landed:
        return answers
    written = await captured_lines.write(
        session,
        landed=books.landed,
        seen={group_id: rows[line].group for group_id, line in books.first.items()},
        groups=books.counted,
        letters=letters,
    )
    if written != (books.seats, len(books.counted)):
        raise LostRace("an order or a group moved under its lock")
    orphans = [one.row.line_id for one in books.landed if one.landing is Landing.ORPHAN]
    if orphans:
        await refunds.queue(
            session,
            [Owed(line_id=one, kind=RefundKind.WHOLE, amount_fen=None) for one in orphans],
            reason=LATE_MONEY,
            occurred_at=books.landed[0].row.group.now,
        )
    won = [one.group for one in books.counted.values() if one.succeeded]
    if won:
        await settlement.finish(session, won)
    return answers


def _letter(news: PaymentNews, heard: Heard) -> HeardLetter:
    return HeardLetter(
        source=f"payments:{settings().pay_provider}",
        external_id=heard.external_id,
        kind=heard.kind,
        body=json.dumps(_told(news)),
        occurred_at=max(line.paid_at for line in news.lines),
    )


def _told(news: PaymentNews) -> dict[str, Sequence[dict[str, Any]]]:
    return {
        "lines": [
            {
                "line_id": str(line.line_id),
                "transaction_id": line.transaction_id,
                "amount_fen": line.amount_fen,
                "paid_at": line.paid_at.isoformat(),
            }
            for line in news.lines
        ]
    }
