"""The money ledger: balanced postings, each named by what caused it so that it is made once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.ids import new_id
from payments.tables import Account

CAPTURE: Final = "capture"
REFUND_DUE: Final = "refund_due"
REFUND: Final = "refund"
EARN: Final = "earn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a posting; debits are positive, credits negative."""

    account: Account
    order_id: UUID
    amount_fen: int


class Unbalanced(ValueError):
    """The entries of a posting do not sum to zero: a bug, nothing was written."""


async def post(
    session: AsyncSession,
    kind: str,
    reference: str,
    *,
    occurred_at: datetime,
    entries: Sequence[Entry],
) -> bool:
    """Write one balanced posting; return False when its reference was posted before.

    Raises:
        Unbalanced: the entries do not sum to zero.
    """
    if sum(entry.amount_fen for entry in entries) != 0 or not entries:
        raise Unbalanced(f"{kind} {reference} does not sum to zero")
    connection = await session.connection()
    posted = await connection.execute(
        text(
            "WITH posted AS (INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
            " VALUES (:id, :kind, :reference, :occurred_at)"
            " ON CONFLICT (reference) DO NOTHING RETURNING id)"
            " INSERT INTO ledger_entry (id, transaction_id, account, order_id, amount_fen)"
            " SELECT e.id, posted.id, e.account, e.order_id, e.amount_fen FROM posted,"
            " unnest(CAST(:ids AS uuid[]), CAST(:accounts AS text[]), CAST(:orders AS uuid[]),"
            " CAST(:amounts AS bigint[])) AS e (id, account, order_id, amount_fen)"
        ),
        {
            "id": new_id(),
            "kind": kind,
            "reference": reference,
            "occurred_at": occurred_at,
            "ids": [new_id() for _ in entries],
            "accounts": [entry.account.value for entry in entries],
            "orders": [entry.order_id for entry in entries],
            "amounts": [entry.amount_fen for entry in entries],
        },
    )
    return posted.rowcount == len(entries)


async def earn(session: AsyncSession, order_ids: Sequence[UUID], *, occurred_at: datetime) -> int:
    """Turn what rests on shipped orders from deposits into sales, once; return how many moved.

    A tier difference that is owed back has left the deposits already, so what rests is the price.
    """
    if not order_ids:
        return 0
    connection = await session.connection()
    wanted = list(dict.fromkeys(order_ids))
    earned = await connection.execute(
        text(
            "WITH wanted AS (SELECT * FROM unnest(CAST(:orders AS uuid[]),"
            "  CAST(:ids AS uuid[]), CAST(:debits AS uuid[]), CAST(:credits AS uuid[]))"
            "  AS w (order_id, id, debit_id, credit_id)),"
            " resting AS (SELECT w.*, -sum(e.amount_fen) AS fen FROM wanted w"
            "  JOIN ledger_entry e ON e.order_id = w.order_id AND e.account = 'deposits'"
            "  GROUP BY w.order_id, w.id, w.debit_id, w.credit_id HAVING sum(e.amount_fen) < 0),"
            " posted AS (INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
            "  SELECT id, CAST(:kind AS text), CAST(:kind AS text) || ':' || order_id,"
            "   CAST(:occurred_at AS timestamptz) FROM resting"
            "  ON CONFLICT (reference) DO NOTHING RETURNING id)"
            " INSERT INTO ledger_entry (id, transaction_id, account, order_id, amount_fen)"
            " SELECT side.id, r.id, side.account, r.order_id, side.fen FROM resting r"
            " JOIN posted USING (id), LATERAL (VALUES (r.debit_id, 'deposits', r.fen),"
            "  (r.credit_id, 'sales', -r.fen)) AS side (id, account, fen)"
        ),
        {
            "orders": wanted,
            "ids": [new_id() for _ in wanted],
            "debits": [new_id() for _ in wanted],
            "credits": [new_id() for _ in wanted],
            "kind": EARN,
            "occurred_at": occurred_at,
        },
    )
    return earned.rowcount // 2
