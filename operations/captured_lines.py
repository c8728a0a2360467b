"""The statements of a capture: five thousand an hour run them, so there are two and not ten.

They write the rows of four rooms at once (inbox, ledger and payment, order and journal, group,
outbox) because each statement of its own would cost as much as all of them together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups.lifecycle import Landing
from groups.settlement import LockedGroup, locked_group
from groups.states import OrderState
from kit.ids import new_id
from payments.tables import LineState


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedLine:
    """A payment line with its order and group, locked; the last two as the provider says."""

    line_id: UUID
    payment_id: UUID
    order_id: UUID
    user_id: UUID
    amount_fen: int
    line_state: LineState
    order_state: OrderState
    quantity: int
    units: int
    claim_units: int
    group: LockedGroup
    transaction_id: str | None
    paid_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLetter:
    """The notify as the inbox keeps it; `body` is JSON."""

    source: str
    external_id: str
    kind: str
    body: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A line and where its money belongs; the count is its group's just after."""

    row: CapturedLine
    landing: Landing
    paid_seats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedGroup:
    """A group after the seats of a batch were counted in it."""

    group: LockedGroup
    opened: bool
    succeeded: bool


# Rows are looked up by LATERAL index probes, each depending on the one before, so that they are
# locked in the order group, order, line, and groups ascend. Sequential scans are off for the rest
# of the transaction: a plan that was made on small tables must still be right on large ones.
_LOCK: Final = """
WITH tuned AS MATERIALIZED (SELECT set_config('enable_seqscan', 'off', true) AS setting),
named AS MATERIALIZED (
    SELECT want.id AS line_id, o.id AS order_id, o.group_id
    FROM unnest(CAST(:lines AS uuid[])) AS want (id)
    CROSS JOIN LATERAL (SELECT order_id FROM payment_line WHERE id = want.id LIMIT 1) AS l
    CROSS JOIN LATERAL (SELECT id, group_id FROM buyer_order
        WHERE id = l.order_id LIMIT 1) AS o
    WHERE (SELECT count(*) FROM tuned) = 1 ORDER BY o.group_id, o.id
)
SELECT l.id AS line_id, l.payment_id, o.id AS order_id, l.amount_fen, l.state AS line_state,
    l.transaction_id, l.captured_at AS paid_at,
    o.user_id, o.state AS order_state, o.quantity, o.units, o.claim_units,
    g.id, g.campaign_id, g.version, g.sku, g.price_fen, g.leader_id, g.deadline_at,
    g.deadline_at <= kit_now() AS past_deadline, kit_now() AS now, g.state, g.mode, g.capacity,
    g.min_size, g.held_seats, g.paid_seats, g.late_payment_policy
FROM named
CROSS JOIN LATERAL (SELECT * FROM buying_group
    WHERE id = named.group_id LIMIT 1 FOR NO KEY UPDATE) AS g
CROSS JOIN LATERAL (SELECT * FROM buyer_order
    WHERE id = named.order_id AND group_id = g.id LIMIT 1 FOR NO KEY UPDATE) AS o
CROSS JOIN LATERAL (SELECT * FROM payment_line
    WHERE id = named.line_id AND order_id = o.id LIMIT 1 FOR NO KEY UPDATE) AS l
"""

_WRITE: Final = """
WITH line AS (
    SELECT * FROM unnest(CAST(:lines AS uuid[]), CAST(:orders AS uuid[]), CAST(:groups AS uuid[]),
        CAST(:transactions AS text[]), CAST(:landings AS text[]), CAST(:times AS timestamptz[]),
        CAST(:amounts AS bigint[]), CAST(:claims AS integer[]), CAST(:postings AS uuid[]),
        CAST(:debits AS uuid[]), CAST(:credits AS uuid[]), CAST(:journal AS uuid[]))
    AS l (id, order_id, group_id, transaction_id, landing, paid_at, amount_fen, claim_units,
        posting_id, debit_id, credit_id, journal_id)
), heard AS (
    INSERT INTO inbox_message
        (id, source, external_id, kind, body, occurred_at, state, settled_at)
    SELECT id, source, external_id, kind, body::jsonb, told_at, 'applied', now()
    FROM unnest(CAST(:letter_ids AS uuid[]), CAST(:sources AS text[]),
        CAST(:external_ids AS text[]), CAST(:kinds AS text[]), CAST(:letters AS text[]),
        CAST(:told AS timestamptz[])) AS h (id, source, external_id, kind, body, told_at)
    ON CONFLICT (source, external_id) DO NOTHING
), posted AS (
    INSERT INTO ledger_transaction (id, kind, reference, occurred_at)
    SELECT posting_id, 'capture', 'capture:' || transaction_id, paid_at FROM line
), entered AS (
    INSERT INTO ledger_entry (id, transaction_id, account, order_id, amount_fen)
    SELECT debit_id, posting_id, 'provider', order_id, amount_fen FROM line
    UNION ALL SELECT credit_id, posting_id, 'deposits', order_id, -amount_fen FROM line
), captured AS (
    UPDATE payment_line p SET transaction_id = l.transaction_id, captured_at = l.paid_at,
        state = CASE WHEN l.landing = 'orphan' THEN 'orphaned' ELSE 'captured' END
    FROM line l WHERE p.id = l.id
), paid AS (
    UPDATE payment SET state = 'captured', poll_at = NULL
    WHERE id = ANY(CAST(:payments AS uuid[]))
), seated AS (
    UPDATE buyer_order o SET state = 'paid', paid_at = l.paid_at, claim_units = l.claim_units,
        closed_reason = NULL
    FROM line l WHERE o.id = l.order_id AND l.landing <> 'orphan'
        AND o.state IN ('reserved', 'released')
    RETURNING o.id
), told AS (
    INSERT INTO order_journal (id, order_id, group_id, kind, detail)
    SELECT journal_id, order_id, group_id,
        CASE WHEN landing = 'orphan' THEN 'orphaned' ELSE 'pay' END,
        jsonb_build_object('transaction', transaction_id, 'landing', landing)
    FROM line
), counted AS (
    UPDATE buying_group g SET state = c.state, held_seats = c.held_seats,
        paid_seats = c.paid_seats, leader_id = c.leader_id, progress = g.progress + 1,
        deadline_at = CASE WHEN c.opened THEN kit_now() + v.window_seconds * interval '1 second'
            ELSE g.deadline_at END,
        due_at = CASE WHEN c.succeeded THEN NULL
            WHEN c.opened THEN kit_now() + v.window_seconds * interval '1 second'
            ELSE g.due_at END,
        closed_at = CASE WHEN c.succeeded THEN kit_now() END,
        ship_by = CASE WHEN c.succeeded
            THEN kit_now() + g.ship_within_seconds * interval '1 second' END
    FROM unnest(CAST(:counted AS uuid[]), CAST(:seen AS text[]), CAST(:states AS text[]),
        CAST(:held AS integer[]), CAST(:paid AS integer[]), CAST(:leaders AS uuid[]),
        CAST(:opened AS boolean[]), CAST(:succeeded AS boolean[]))
        AS c (id, seen, state, held_seats, paid_seats, leader_id, opened, succeeded),
        campaign_version v
    WHERE g.id = c.id AND g.state = c.seen
        AND v.campaign_id = g.campaign_id AND v.version = g.version
    RETURNING g.id
), facts AS (
    INSERT INTO outbox_message (id, topic, key, body)
    SELECT id, topic, key, body::jsonb FROM unnest(CAST(:fact_ids AS uuid[]),
        CAST(:topics AS text[]), CAST(:keys AS text[]), CAST(:bodies AS text[]))
        AS f (id, topic, key, body)
)
SELECT (SELECT count(*) FROM seated) AS seated, (SELECT count(*) FROM counted) AS counted
"""


async def skus_of(session: AsyncSession, line_ids: Sequence[UUID]) -> list[str]:
    """Return the SKUs that payment lines are about; an order's SKU never changes."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT DISTINCT o.sku FROM payment_line l JOIN buyer_order o ON o.id = l.order_id"
            " WHERE l.id = ANY(CAST(:lines AS uuid[]))"
        ),
        {"lines": list(line_ids)},
    )
    return [row.sku for row in rows]


async def lock(session: AsyncSession, line_ids: Sequence[UUID]) -> dict[UUID, CapturedLine]:
    """Lock lines with their orders and groups; return them as they are now."""
    connection = await session.connection()
    rows = await connection.execute(text(_LOCK), {"lines": list(line_ids)})
    return {
        row.line_id: CapturedLine(
            line_id=row.line_id,
            payment_id=row.payment_id,
            order_id=row.order_id,
            user_id=row.user_id,
            amount_fen=row.amount_fen,
            line_state=LineState(row.line_state),
            order_state=OrderState(row.order_state),
            quantity=row.quantity,
            units=row.units,
            claim_units=row.claim_units,
            transaction_id=row.transaction_id,
            paid_at=row.paid_at,
            group=locked_group(row),
        )
        for row in rows
    }


async def has_seat(session: AsyncSession, *, group_id: UUID, user_id: UUID) -> bool:
    """Return whether a user has a live seat in a running group; the group is locked."""
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT EXISTS (SELECT FROM buyer_order WHERE group_id = :group_id"
            " AND user_id = :user_id AND state IN ('reserved','paid'))"
        ),
        {"group_id": group_id, "user_id": user_id},
    )
    return bool(found.scalar_one())


async def seat_elsewhere(session: AsyncSession, row: CapturedLine) -> bool:
    """Return whether the payer's limit leaves no room for the released order to come back.

    The SKU's budget is locked, so no join of the same campaign runs beside this.
    """
    connection = await session.connection()
    found = await connection.execute(
        text(
            "SELECT coalesce(bool_or(o.group_id = g.id), false)"
            " OR coalesce(sum(o.quantity), 0) + CAST(:quantity AS integer) > g.per_user_limit"
            " FROM buying_group g LEFT JOIN buyer_order o ON o.user_id = :user_id"
            " AND o.campaign_id = g.campaign_id AND o.state IN ('reserved','paid','confirmed',"
            " 'won','allocated','shipped','delivered')"
            " WHERE g.id = :group_id GROUP BY g.id"
        ),
        {"user_id": row.user_id, "group_id": row.group.id, "quantity": row.quantity},
    )
    return bool(found.scalar_one())


async def write(
    session: AsyncSession,
    *,
    landed: Sequence[Landed],
    seen: Mapping[UUID, LockedGroup],
    groups: Mapping[UUID, CountedGroup],
    letters: Sequence[HeardLetter],
) -> tuple[int, int]:
    """Write captures; return how many orders and groups moved.

    Args:
        seen: the groups as they were locked.
        groups: those that a seat was counted in, after.
    """
    facts = _facts(landed, groups)
    rows = [one.row for one in landed]
    ids = list(groups)
    after = [groups[group_id] for group_id in ids]
    given: dict[str, Any] = {
        "lines": [row.line_id for row in rows],
        "orders": [row.order_id for row in rows],
        "groups": [row.group.id for row in rows],
        "transactions": [row.transaction_id for row in rows],
        "landings": [one.landing.value for one in landed],
        "times": [row.paid_at for row in rows],
        "amounts": [row.amount_fen for row in rows],
        "claims": [
            one.row.units if one.landing is Landing.REOPEN else one.row.claim_units
            for one in landed
        ],
        "postings": [new_id() for _ in rows],
        "debits": [new_id() for _ in rows],
        "credits": [new_id() for _ in rows],
        "journal": [new_id() for _ in rows],
        "payments": list({row.payment_id for row in rows}),
        "counted": ids,
        "seen": [seen[group_id].view.state.value for group_id in ids],
        "states": [one.group.view.state.value for one in after],
        "held": [one.group.view.held_seats for one in after],
        "paid": [one.group.view.paid_seats for one in after],
        "leaders": [one.group.leader_id for one in after],
        "opened": [one.opened for one in after],
        "succeeded": [one.succeeded for one in after],
        "letter_ids": [new_id() for _ in letters],
        "sources": [letter.source for letter in letters],
        "external_ids": [letter.external_id for letter in letters],
        "kinds": [letter.kind for letter in letters],
        "letters": [letter.body for letter in letters],
        "told": [letter.occurred_at for letter in letters],
        "fact_ids": [new_id() for _ in facts],
        "topics": [topic for topic, _, _ in facts],
        "keys": [key for _, key, _ in facts],
        "bodies": [body for _, _, body in facts],
    }
    connection = await session.connection()
    done = (await connection.execute(text(_WRITE), given)).one()
    return done.seated, done.counted


def _facts(
    landed: Sequence[Landed], groups: Mapping[UUID, CountedGroup]
) -> list[tuple[str, str, str]]:
    """Return (topic, key, JSON body) of what is to be told."""
    facts = []
    for one in landed:
        if one.landing is Landing.ORPHAN:
            continue
        group = one.row.group
        paid = {
            "order_id": str(one.row.order_id),
            "group_id": str(group.id),
            "sku": group.sku,
            "amount_fen": one.row.amount_fen,
            "paid_seats": one.paid_seats,
            "capacity": group.view.capacity,
        }
        facts.append(("order.paid", str(group.id), json.dumps(paid)))
    for group_id, after in groups.items():
        if after.opened:
            opened = {
                "group_id": str(group_id),
                "campaign_id": str(after.group.campaign_id),
                "sku": after.group.sku,
            }
            facts.append(("group.opened", str(group_id), json.dumps(opened)))
    return facts
