"""Decides a batch of captured money line by line, under locks, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from groups import lifecycle
from groups.lifecycle import Counted, GroupView, Landing
from groups.settlement import LockedGroup
from groups.states import GroupState, OrderState
from inventory import budgets
from inventory.budgets import GiveBack
from operations import captured_lines
from operations.captured_lines import CapturedLine, CountedGroup, Landed
from payments.anomalies import WrongMoney
from payments.news import CURRENCY, PaymentNews
from payments.tables import LineState


class Captured(StrEnum):
    """What became of the news."""

    APPLIED = "applied"
    KNOWN = "known"  # all of it had been applied before


@dataclass(frozen=True, slots=True)
class SeatReleased:
    """Money for a released seat: nothing was done, start again with the budget."""


# What is said of one piece of news.
Answer: TypeAlias = Captured | WrongMoney | SeatReleased


class Books:
    """Lines and groups as they are under their locks, and what this batch changes in them."""

    def __init__(
        self, session: AsyncSession, rows: Mapping[UUID, CapturedLine], *, budgets_first: bool
    ) -> None:
        self._session = session
        self._rows = dict(rows)
        self._budgets_first = budgets_first
        self.landed: list[Landed] = []
        self.counted: dict[UUID, CountedGroup] = {}
        self.first: dict[UUID, UUID] = {}  # a line of each counted group, as it was locked
        self.seats = 0

    async def take(self, news: PaymentNews) -> Answer:
        """Decide one piece of news: all of its lines, or none."""
        try:
            fresh = _fresh(news, self._rows)
        except WrongMoney as wrong:
            return wrong
        landings = {row.line_id: lifecycle.land(row.order_state, self._view(row)) for row in fresh}
        if Landing.REOPEN in landings.values() and not self._budgets_first:
            return SeatReleased()
        for row in fresh:
            await self._land(row, landings[row.line_id])
        return Captured.APPLIED if fresh else Captured.KNOWN

    def _view(self, row: CapturedLine) -> GroupView:
        counted = self.counted.get(row.group.id)
        return row.group.view if counted is None else counted.group.view

    async def _land(self, row: CapturedLine, landing: Landing) -> None:
        if landing is Landing.REOPEN and not await _reseat(self._session, row):
            landing = Landing.ORPHAN
        orphan = landing is Landing.ORPHAN
        self._rows[row.line_id] = replace(
            row,
            line_state=LineState.ORPHANED if orphan else LineState.CAPTURED,
            order_state=row.order_state if orphan else OrderState.PAID,
        )
        if orphan:
            self.landed.append(Landed(row=row, landing=landing, paid_seats=0))
            return
        before = self.counted.get(row.group.id)
        group = row.group if before is None else before.group
        leads = await _leads(self._session, row, group)
        after = lifecycle.count_payment(group.view, landing=landing, leads=leads)
        self.first.setdefault(group.id, row.line_id)
        self.counted[group.id] = CountedGroup(
            group=_after(group, after, leader_id=row.user_id if leads else group.leader_id),
            opened=after.opened or (before is not None and before.opened),
            succeeded=after.succeeded,
        )
        self.seats += 1
        self.landed.append(Landed(row=row, landing=landing, paid_seats=after.paid_seats))


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
