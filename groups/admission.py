"""Admission: the requests for seats that wait while a batch commits are the next batch.

One transaction of three statements settles a batch, however many buyers are in it; a fourth one
gives up expired seats when somebody would otherwise be refused for want of room.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import seats
from groups.decisions import decide, joinable, wants_room, without
from groups.seat_facts import (
    Ask,
    Decision,
    Facts,
    Fault,
    Kept,
    Refused,
    Released,
    Repeated,
    RepeatedInBatch,
    Seat,
)
from groups.states import GroupState, OrderEvent
from kit.batching import Batcher
from kit.db import DatabaseDown, sqlstate, transaction
from kit.errors import CaravanError, NotFound, Unavailable
from kit.idempotency import KeyReused
from kit.ids import new_id

_TRIES: Final = 3
# Another process answered a key first, or Postgres chose this batch to break a deadlock: what is
# there now is seen by the next try.
_AGAIN: Final = frozenset({"23505", "40P01", "40001"})
# A lock or a statement took too long: halving the batch would wait as long again for each half.
_BUSY: Final = frozenset({"55P03", "57014"})


class AdmissionBusy(Unavailable):
    """A row of the batch is locked for longer than a buyer should wait; nothing was done."""

    code: ClassVar[str] = "busy"


class Unknown(NotFound):
    """There is no such group or campaign."""

    code: ClassVar[str] = "not_found"


@dataclass(frozen=True, slots=True)
class Answer:
    """A terminal answer: what is kept under the key and told again when it is repeated."""

    status: int
    body: str  # JSON


# Puts a decision into words: the status and the document of the answer.
Render: TypeAlias = Callable[[Ask, Seat | Refused], Answer]
_Outcome: TypeAlias = Answer | CaravanError


class Admission:
    """Gives seats to buyers, a batch at a time; one of it per process."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._batcher: Batcher[Ask, _Outcome] = Batcher(self._settle)

    async def take_seat(self, ask: Ask) -> Answer:
        """Return the answer to a request for a seat, now or as it was kept.

        Raises:
            Unknown: there is no such group or campaign.
            KeyReused: the key was used with another body.
            Unavailable: overloaded, waited too long, or the database is down or busy; nothing
                was done, and the same key is safe to repeat.
        """
        outcome = await self._batcher.submit(ask)
        if isinstance(outcome, CaravanError):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Take no more requests and finish those that were taken."""
        await self._batcher.close()

    async def _settle(self, asks: Sequence[Ask]) -> list[_Outcome]:
        tries = _TRIES
        while True:
            tries -= 1
            try:
                async with transaction() as session:
                    return await self._settle_in(session, asks)
            except DatabaseDown as down:
                return [down] * len(asks)
            except PoolTimeout:
                return [AdmissionBusy("no connection is free")] * len(asks)
            except Exception as error:
                state = sqlstate(error)
                if state in _BUSY:
                    return [AdmissionBusy("the group or its product is busy")] * len(asks)
                if state not in _AGAIN or not tries:
                    raise

    async def _settle_in(self, session: AsyncSession, asks: Sequence[Ask]) -> list[_Outcome]:
        group_ids = sorted({ask.group_id for ask in asks if ask.group_id is not None})
        campaign_ids = sorted({ask.campaign_id for ask in asks if ask.campaign_id is not None})
        budgets, groups, campaigns = await seats.lock(
            session, group_ids=group_ids, campaign_ids=campaign_ids
        )
        facts = await seats.read(session, asks, budgets=budgets, groups=groups, campaigns=campaigns)
        decisions = decide(asks, facts, make_id=new_id)
        released: list[Released] = []
        if wants_room(decisions):
            released = await seats.release_expired(
                session,
                group_ids=[
                    group_id for group_id, group in groups.items() if joinable(group, now=facts.now)
                ],
                skus=list(budgets),
            )
            if released:
                facts = without(facts, released)
                decisions = decide(asks, facts, make_id=new_id)
        outcomes, sheet = self._written(asks, decisions, facts, released)
        if sheet.kept or sheet.journal:
            await seats.write(session, sheet)
        return outcomes

    def _written(
        self,
        asks: Sequence[Ask],
        decisions: Sequence[Decision],
        facts: Facts,
        released: Sequence[Released],
    ) -> tuple[list[_Outcome], seats.Sheet]:
        """Return the answers and what is to be written for them."""
        outcomes: list[_Outcome] = []
        sheet = seats.Sheet(now=facts.now)
        _note_releases(sheet, released)
        for ask, decision in zip(asks, decisions, strict=True):
            if isinstance(decision, Seat | Refused):
                answer = self._render(ask, decision)
                kept = Kept(fingerprint=ask.fingerprint, status=answer.status, answer=answer.body)
                sheet.kept.append((ask.key, kept))
                if isinstance(decision, Seat):
                    _note_seat(sheet, ask, decision)
                outcomes.append(answer)
            elif isinstance(decision, Repeated):
                outcomes.append(Answer(decision.kept.status, decision.kept.answer))
            elif isinstance(decision, RepeatedInBatch):
                outcomes.append(outcomes[decision.index])
            elif decision is Fault.KEY_REUSED:
                outcomes.append(KeyReused("this Idempotency-Key was used with another body"))
            else:
                outcomes.append(Unknown("there is nothing here by that name"))
        return outcomes, sheet


def _note_seat(sheet: seats.Sheet, ask: Ask, seat: Seat) -> None:
    sheet.seats.append((ask, seat))
    sheet.journal.append(
        seats.Line(
            id=new_id(),
            order_id=seat.order_id,
            group_id=seat.group_id,
            kind="reserve",
            detail="{}",
        )
    )
    body = {
        "order_id": seat.order_id,
        "group_id": seat.group_id,
        "campaign_id": seat.campaign_id,
        "sku": seat.sku,
        "quantity": seat.quantity,
        "amount_fen": seat.amount_fen,
        "held_seats": seat.held_seats,
        "paid_seats": seat.paid_seats,
    }
    _tell(sheet, "order.reserved", seat.group_id, body)


def _note_releases(sheet: seats.Sheet, released: Sequence[Released]) -> None:
    groups: dict[UUID, Released] = {}
    for seat in released:
        sheet.journal.append(
            seats.Line(
                id=new_id(),
                order_id=seat.order_id,
                group_id=seat.group_id,
                kind=OrderEvent.RELEASE.value,
                detail='{"reason":"expired"}',
            )
        )
        body = {"order_id": seat.order_id, "group_id": seat.group_id, "sku": seat.sku}
        _tell(sheet, "order.released", seat.group_id, body)
        groups[seat.group_id] = seat
    for group_id, seat in groups.items():
        body = {"group_id": group_id, "campaign_id": seat.campaign_id, "sku": seat.sku}
        if seat.opened:
            _tell(sheet, "group.opened", group_id, body)
        if seat.group_state is GroupState.CANCELLED:
            _tell(sheet, "group.cancelled", group_id, body)


def _tell(sheet: seats.Sheet, topic: str, group_id: UUID, body: Mapping[str, object]) -> None:
    sheet.outbox.append(
        seats.Note(id=new_id(), topic=topic, key=str(group_id), body=_encoder.encode(body).decode())
    )


_encoder: Final = msgspec.json.Encoder()
