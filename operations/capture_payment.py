"""Money came: inbox, ledger, payment, order and group move in one transaction, or none does.

Two statements for a payment that does not complete its group: one locks (group, order, line) and
answers with the rows as they are, one writes. Money for a released seat needs its SKU's budget,
which comes first in the order of locks: that transaction is rolled back and starts again there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import lifecycle, settlement
from groups.lifecycle import Counted, Landing
from groups.settlement import LockedGroup
from groups.states import GroupState
from inventory import budgets
from inventory.budgets import GiveBack
from kit import inbox
from kit.db import repeat_on_deadlock, sqlstate, transaction
from kit.errors import LostRace, Unprocessable
from kit.settings import settings
from operations import captured_lines
from operations.captured_lines import CapturedLine
from payments import refunds
from payments.news import CURRENCY, PaymentNews
from payments.provider import provider
from payments.refunds import Owed
from payments.tables import LineState, RefundKind

LATE_MONEY: Final = "late_payment"
_UNIQUE_VIOLATION: Final = "23505"


class WrongMoney(Unprocessable):
    """The provider tells of money that is not what was asked for; recorded, nothing applied."""

    code: ClassVar[str] = "wrong_money"

    def __init__(self, reason: str, **detail: Any) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class _SeatReleased(Exception):
    """Money for a released seat: start again with the budget."""


class Captured(StrEnum):
    """What became of the news."""

    APPLIED = "applied"
    KNOWN = "known"  # all of it had been applied before


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The notify that brought the news; a poll has none."""

    external_id: str
    kind: str


async def capture(news: PaymentNews, *, heard: Heard | None = None) -> Captured:
    """Apply captured money once, however often and however concurrently it is told.

    Raises:
        WrongMoney: merchant, app, order, amount or currency is not what was asked for.
    """
    try:
        _check_merchant(news)
        try:
            return await repeat_on_deadlock(lambda: _capture(news, heard, budgets_first=False))
        except _SeatReleased:
            return await repeat_on_deadlock(lambda: _capture(news, heard, budgets_first=True))
    except WrongMoney as wrong:
        await record_anomaly(
            heard.external_id if heard else "poll", reason=wrong.reason, detail=wrong.detail
        )
        raise


async def record_anomaly(external_id: str, *, reason: str, detail: Mapping[str, Any]) -> None:
    """Keep what the provider said and nobody can believe, once per message and reason."""
    async with transaction() as session:
        await captured_lines.keep_anomaly(
            session,
            provider=settings().pay_provider,
            external_id=external_id,
            reason=reason,
            detail=json.dumps(detail),
        )


def _check_merchant(news: PaymentNews) -> None:
    if news.merchant_id != provider().merchant_id:
        raise WrongMoney("wrong merchant", merchant_id=news.merchant_id)
    if news.app_id != provider().app_id:
        raise WrongMoney("wrong app", app_id=news.app_id)


async def _capture(news: PaymentNews, heard: Heard | None, *, budgets_first: bool) -> Captured:
    try:
        async with transaction() as session:
            return await _apply(session, news, heard, budgets_first=budgets_first)
    except DBAPIError as error:
        # The rows are locked, so only another order's use of the transaction can clash.
        if sqlstate(error) == _UNIQUE_VIOLATION:
            used = [line.transaction_id for line in news.lines]
            raise WrongMoney("transaction used before", transactions=used) from error
        raise


async def _apply(
    session: AsyncSession, news: PaymentNews, heard: Heard | None, *, budgets_first: bool
) -> Captured:
    line_ids = [line.line_id for line in news.lines]
    if budgets_first:
        await budgets.lock(session, await captured_lines.skus_of(session, line_ids))
    if len(line_ids) > 1:
        # One statement would lock (group, order, line) row by row: groups first when several.
        await captured_lines.lock_groups(session, line_ids)
    rows = await captured_lines.lock(session, line_ids)
    fresh = _fresh(news, rows)
    if not fresh:
        await _remember(session, news, heard)
        return Captured.KNOWN
    groups = {row.group.id: row.group for row in fresh}
    landings = {row.line_id: lifecycle.land(row.order_state, row.group.view) for row in fresh}
    if Landing.REOPEN in landings.values() and not budgets_first:
        raise _SeatReleased
    counted: dict[UUID, Counted] = {}
    for row in fresh:
        if landings[row.line_id] is Landing.REOPEN and not await _reseat(session, row):
            landings[row.line_id] = Landing.ORPHAN
        if landings[row.line_id] is Landing.ORPHAN:
            continue
        group = groups[row.group.id]
        leads = await _leads(session, row, group)
        after = lifecycle.count_payment(group.view, landing=landings[row.line_id], leads=leads)
        counted[group.id] = after
        groups[group.id] = _after(group, after, leader_id=row.user_id if leads else group.leader_id)
    written = await captured_lines.write(
        session,
        rows=fresh,
        landings=landings,
        seen={row.group.id: row.group for row in fresh},
        groups={group_id: groups[group_id] for group_id in counted},
        counted=counted,
        heard=_letter(news, heard),
    )
    if written != (sum(one is not Landing.ORPHAN for one in landings.values()), len(counted)):
        raise LostRace("an order or a group moved under its lock")
    await refunds.queue(
        session,
        [
            Owed(line_id=row.line_id, kind=RefundKind.WHOLE, amount_fen=None)
            for row in fresh
            if landings[row.line_id] is Landing.ORPHAN
        ],
        reason=LATE_MONEY,
        occurred_at=fresh[0].group.now,
    )
    won = [groups[group_id] for group_id, after in counted.items() if after.succeeded]
    if won:
        await settlement.finish(session, won)
    return Captured.APPLIED


def _fresh(news: PaymentNews, rows: Mapping[UUID, CapturedLine]) -> list[CapturedLine]:
    """Return the lines that are not booked yet, each with what the provider says of it."""
    fresh: dict[UUID, CapturedLine] = {}
    for told in news.lines:
        row = rows.get(told.line_id)
        if row is None:
            raise WrongMoney("unknown order", line_id=str(told.line_id))
        if told.currency != CURRENCY:
            raise WrongMoney("wrong currency", line_id=str(told.line_id), currency=told.currency)
        if told.amount_fen != row.amount_fen:
            raise WrongMoney(
                "wrong amount",
                line_id=str(told.line_id),
                told_fen=told.amount_fen,
                asked_fen=row.amount_fen,
            )
        if row.line_state in {LineState.CAPTURED, LineState.ORPHANED}:
            if row.transaction_id != told.transaction_id:
                raise WrongMoney(
                    "paid twice",
                    line_id=str(told.line_id),
                    transactions=[row.transaction_id, told.transaction_id],
                )
            continue
        fresh[row.line_id] = replace(row, transaction_id=told.transaction_id, paid_at=told.paid_at)
    return sorted(fresh.values(), key=lambda row: row.group.id)


async def _reseat(session: AsyncSession, row: CapturedLine) -> bool:
    """Take a seat again for late money; the budget is locked."""
    if await captured_lines.seat_elsewhere(session, row):
        return False
    wanted = GiveBack(sku=row.group.sku, claim_units=row.units, seats=1)
    return await budgets.take(session, wanted)


async def _leads(session: AsyncSession, row: CapturedLine, group: LockedGroup) -> bool:
    """Return whether the payer leads the draft: as its leader, or because that one has gone."""
    if row.user_id == group.leader_id:
        return True
    if group.view.state is not GroupState.DRAFT:
        return False
    return not await captured_lines.has_seat(session, group_id=group.id, user_id=group.leader_id)


def _after(group: LockedGroup, after: Counted, *, leader_id: UUID) -> LockedGroup:
    view = replace(
        group.view,
        state=after.state,
        held_seats=after.held_seats,
        paid_seats=after.paid_seats,
    )
    return replace(group, view=view, leader_id=leader_id)


async def _remember(session: AsyncSession, news: PaymentNews, heard: Heard | None) -> None:
    """Keep a notify that tells nothing new."""
    letter = _letter(news, heard)
    if letter is not None:
        await inbox.take_in(
            session,
            source=letter.source,
            external_id=letter.external_id,
            kind=letter.kind,
            body=json.loads(letter.body),
            occurred_at=letter.occurred_at,
            applied=True,
        )


def _letter(news: PaymentNews, heard: Heard | None) -> captured_lines.HeardLetter | None:
    if heard is None:
        return None
    return captured_lines.HeardLetter(
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
