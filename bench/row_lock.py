"""What admission is measured against: a transaction per order that locks the rows it changes.

The same endpoint, identities, idempotency key, rules, tables and durability; only the batch is
missing. Four statements, none of them wasteful: this is how it is usually written, written well.
"""

import asyncio
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row

from groups.admission import Answer, Render, Unknown
from groups.decisions import decide
from groups.seat_facts import (
    Ask,
    Budget,
    CampaignFacts,
    Facts,
    Fault,
    GroupFacts,
    Holding,
    Kept,
    Refused,
    Repeated,
    Seat,
)
from groups.states import CampaignState, GroupState, Mode
from kit.db import transaction
from kit.errors import NotFound
from kit.idempotency import KeyReused
from kit.ids import new_id

_BUDGET: Final = """
SELECT b.sku, b.budget_units, b.claimed_units, b.cap_seats, b.taken_seats FROM seat_budget AS b
WHERE b.sku = (SELECT sku FROM buying_group WHERE id = $1) FOR UPDATE
"""
_GROUP: Final = """
SELECT g.id, g.campaign_id, g.sku, g.mode, g.state, g.capacity, g.min_size, g.price_fen,
    g.units_per_seat, g.per_user_limit, g.seat_ttl_seconds, g.deadline_at, g.held_seats,
    g.paid_seats, g.progress, c.state AS campaign_state, c.version
FROM buying_group AS g JOIN campaign AS c ON c.id = g.campaign_id
WHERE g.id = $1 FOR UPDATE OF g
"""
_FACTS: Final = """
SELECT kit_now() AS now, kept.body_hash, kept.status, kept.answer::text AS answer, held.groups,
    held.quantity
FROM (SELECT array_agg(group_id) AS groups, sum(quantity)::int AS quantity FROM buyer_order
    WHERE user_id = $1 AND campaign_id = $2 AND state IN ('reserved','paid','confirmed','won',
        'allocated','shipped','delivered')) AS held
LEFT JOIN idempotent_answer AS kept ON kept.owner = $3 AND kept.route = $4 AND kept.key = $5
"""
_WRITE: Final = """
WITH kept AS (INSERT INTO idempotent_answer (owner, route, key, body_hash, status, answer)
    VALUES ($1, $2, $3, $4, $5, $6::text::jsonb)),
ordered AS (INSERT INTO buyer_order (id, group_id, campaign_id, user_id, sku, quantity, units,
        price_fen, amount_fen, claim_units, province, city, address, reserved_until, created_at)
    VALUES ($7, $8, $9, $10, $11, $12::int, $13::int, $14::int, $14::int::bigint * $12::int, $13,
        $15, $16, $17::text::jsonb, $18, $19)),
written AS (INSERT INTO order_journal (id, order_id, group_id, kind, occurred_at)
    VALUES ($20, $7, $8, 'reserve', $19)),
told AS (INSERT INTO outbox_message (id, topic, key, body, occurred_at)
    VALUES ($21, 'order.reserved', $22, $23::text::jsonb, $19)),
joined AS (UPDATE buying_group SET held_seats = held_seats + 1, progress = progress + 1
    WHERE id = $8)
UPDATE seat_budget SET claimed_units = claimed_units + $13, taken_seats = taken_seats + 1
WHERE sku = $11
"""


class RowLockAdmission:
    """Takes the place of groups.admission.Admission for joins of groups that are there."""

    def __init__(self, render: Render, *, at_once: int) -> None:
        self._render = render
        # Whoever waits for a row lock keeps a connection; the rest of the pool is for the others.
        self._connections = asyncio.Semaphore(at_once)

    async def take_seat(self, ask: Ask) -> Answer:
        """Return the answer to a request for a seat."""
        async with self._connections, transaction() as session:
            connection = await session.connection()
            budget = (await connection.exec_driver_sql(_BUDGET, (ask.group_id,))).one()
            group = (await connection.exec_driver_sql(_GROUP, (ask.group_id,))).one()
            found = (
                await connection.exec_driver_sql(_FACTS, (ask.user_id, group.campaign_id, *ask.key))
            ).one()
            decision = decide([ask], _facts(ask, budget, group, found), make_id=new_id)[0]
            if isinstance(decision, Repeated):
                return Answer(decision.kept.status, decision.kept.answer)
            if decision is Fault.KEY_REUSED:
                raise KeyReused("this Idempotency-Key was used with another body")
            if not isinstance(decision, Seat | Refused):
                raise Unknown("there is nothing here by that name")
            answer = self._render(ask, decision)
            if isinstance(decision, Refused):
                raise NotFound("the bench measures seats that are given")
            await connection.exec_driver_sql(
                _WRITE,
                (
                    *ask.key,
                    ask.fingerprint,
                    answer.status,
                    answer.body,
                    decision.order_id,
                    decision.group_id,
                    decision.campaign_id,
                    ask.user_id,
                    decision.sku,
                    decision.quantity,
                    decision.units,
                    decision.price_fen,
                    ask.province,
                    ask.city,
                    ask.address,
                    decision.reserved_until,
                    found.now,
                    new_id(),
                    new_id(),
                    str(decision.group_id),
                    f'{{"order_id": "{decision.order_id}"}}',
                ),
            )
        return answer

    async def close(self) -> None:
        """Do nothing: nothing waits."""


def _facts(ask: Ask, budget: Row[Any], group: Row[Any], found: Row[Any]) -> Facts:
    terms = {
        "sku": group.sku,
        "mode": Mode(group.mode),
        "capacity": group.capacity,
        "min_size": group.min_size,
        "price_fen": group.price_fen,
        "units_per_seat": group.units_per_seat,
        "per_user_limit": group.per_user_limit,
        "seat_ttl_seconds": group.seat_ttl_seconds,
    }
    facts = Facts(
        now=found.now,
        budgets={
            group.sku: Budget(
                budget_units=budget.budget_units,
                claimed_units=budget.claimed_units,
                cap_seats=budget.cap_seats,
                taken_seats=budget.taken_seats,
            )
        },
        groups={
            group.id: GroupFacts(
                campaign_id=group.campaign_id,
                state=GroupState(group.state),
                deadline_at=group.deadline_at,
                held_seats=group.held_seats,
                paid_seats=group.paid_seats,
                progress=group.progress,
                **terms,
            )
        },
        campaigns={
            group.campaign_id: CampaignFacts(
                state=CampaignState(group.campaign_state),
                version=group.version,
                window_seconds=1,
                **terms,
            )
        },
    )
    if found.quantity is not None:
        holding = Holding(quantity=found.quantity, groups=frozenset(found.groups))
        facts = replace(facts, holdings={(ask.user_id, group.campaign_id): holding})
    if found.status is not None:
        kept = Kept(fingerprint=found.body_hash, status=found.status, answer=found.answer)
        facts = replace(facts, kept={ask.key: kept})
    return facts
