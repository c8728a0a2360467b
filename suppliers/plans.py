"""Purchase plans in the store: what they are made from, and the orders that carry them out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import LostRace, NotFound
from kit.ids import new_id
from suppliers.orders import JournalEntry, LineDraft, OrderDraft, write_journal
from suppliers.problems import Ware
from suppliers.states import PurchaseOrderEvent, PurchaseOrderState, advance

_PLANNING_LOCK: Final = 0x0B0D1


class UnknownPlan(NotFound):
    """There is no such plan."""

    code = "purchase_plan.unknown"


class CommitmentExceeded(LostRace):
    """Another order has used up what an agreement's commitment allows; plan again."""

    code = "purchase_plan.commitment_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan to be written, or as it was read."""

    id: UUID
    key: str
    status: str
    objective_e4: int | None
    lower_bound_e4: int | None
    proof: str
    problem: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Units of a refused order that nobody has planned for again."""

    po_id: UUID
    sku: str


async def find(
    session: AsyncSession, *, key: str | None = None, plan_id: UUID | None = None
) -> Plan | None:
    """Return the plan with this key or id, None when there is none."""
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "SELECT id, key, status, objective_e4, lower_bound_e4, proof, problem, result"
                " FROM purchase_plan WHERE key = CAST(:key AS text) OR id = CAST(:id AS uuid)"
            ),
            {"key": key, "id": plan_id},
        )
    ).one_or_none()
    if row is None:
        return None
    return Plan(
        id=row.id,
        key=row.key,
        status=row.status,
        objective_e4=row.objective_e4,
        lower_bound_e4=row.lower_bound_e4,
        proof=row.proof,
        problem=row.problem,
        result=row.result,
    )


async def lock_planning(session: AsyncSession) -> None:
    """Let one plan be written at a time, until the transaction ends."""
    connection = await session.connection()
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PLANNING_LOCK})


async def last_plan(session: AsyncSession) -> UUID | None:
    """Return the latest plan; another one after reading means that there is new inbound."""
    connection = await session.connection()
    row = await connection.execute(text("SELECT id FROM purchase_plan ORDER BY id DESC LIMIT 1"))
    return row.scalar_one_or_none()


async def available(session: AsyncSession, skus: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return by SKU and warehouse what nobody owns: free stock and unpegged inbound.

    Inbound is what any order may still bring, also one that waits for approval or its sending:
    what is ordered must not be ordered again.
    """
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "WITH free AS (SELECT sku, warehouse, greatest(on_hand - held - reserved, 0) AS units"
            "  FROM stock_level WHERE sku = ANY(CAST(:skus AS text[]))),"
            " inbound AS (SELECT l.sku, l.warehouse,"
            "  greatest(l.unanswered_units + l.open_units - coalesce(p.pegged_units, 0), 0)"
            "   AS units"
            "  FROM purchase_order_line l LEFT JOIN supply_promise p ON p.line_id = l.id"
            "  WHERE l.sku = ANY(CAST(:skus AS text[])) AND l.unanswered_units + l.open_units > 0)"
            " SELECT sku, warehouse, sum(units) AS units"
            " FROM (SELECT * FROM free UNION ALL SELECT * FROM inbound) AS unowned"
            " GROUP BY sku, warehouse HAVING sum(units) > 0"
        ),
        {"skus": list(skus)},
    )
    return {(row.sku, row.warehouse): int(row.units) for row in rows}


async def wares(session: AsyncSession, skus: Sequence[str]) -> dict[str, Ware]:
    """Return what the plan must know of products."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT sku, weight_grams, holding_fen, writeoff_fen, max_excess_units, safety_units,"
            " moq_risk_accepted FROM product WHERE sku = ANY(CAST(:skus AS text[]))"
        ),
        {"skus": list(skus)},
    )
    return {row.sku: Ware(**row._mapping) for row in rows}  # noqa: SLF001  # public, see its docs


async def refused(session: AsyncSession) -> list[Refused]:
    """Return refused goods that no plan has looked at since, the earliest order first."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT p.id, l.sku FROM purchase_order p"
            " JOIN purchase_order_line l ON l.po_id = p.id"
            " WHERE p.replanned_at IS NULL AND (l.rejected_units > 0"
            "  OR (p.state = 'cancelled' AND l.cancelled_units > 0))"
            " GROUP BY p.id, l.sku ORDER BY p.id, l.sku"
        )
    )
    return [Refused(po_id=row.id, sku=row.sku) for row in rows]


async def insert(session: AsyncSession, plan: Plan) -> None:
    """Write a plan."""
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO purchase_plan (id, key, status, objective_e4, lower_bound_e4, proof,"
            " problem, result) VALUES (:id, :key, :status, :objective, :bound, :proof,"
            " CAST(:problem AS jsonb), CAST(:result AS jsonb))"
        ),
        {
            "id": plan.id,
            "key": plan.key,
            "status": plan.status,
            "objective": plan.objective_e4,
            "bound": plan.lower_bound_e4,
            "proof": plan.proof,
            "problem": json.dumps(plan.problem),
            "result": json.dumps(plan.result),
        },
    )


async def insert_orders(
    session: AsyncSession, drafts: Sequence[OrderDraft], *, approval_limit_fen: int
) -> None:
    """Write the orders of a plan; above the limit a person is asked.

    Raises:
        CommitmentExceeded: an agreement's commitment does not allow the units any more.
    """
    if not drafts:
        return
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO purchase_order (id, plan_key, plan_id, supplier, state, total_fen,"
            " replaces_po_id) SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]),"
            " CAST(:plans AS uuid[]), CAST(:suppliers AS text[]), CAST(:states AS text[]),"
            " CAST(:totals AS bigint[]), CAST(:replaces AS uuid[]))"
        ),
        {
            "ids": [draft.id for draft in drafts],
            "keys": [draft.plan_key for draft in drafts],
            "plans": [draft.plan_id for draft in drafts],
            "suppliers": [draft.supplier for draft in drafts],
            "states": [first_state(draft, approval_limit_fen).value for draft in drafts],
            "totals": [draft.total_fen for draft in drafts],
            "replaces": [draft.replaces_po_id for draft in drafts],
        },
    )
    await _insert_lines(session, drafts)
    await _release(session, [line for draft in drafts for line in draft.lines])
    entries = [
        JournalEntry(
            po_id=draft.id,
            kind=_first_event(draft, approval_limit_fen).value,
            actor="caravan",
            detail={"plan_id": str(draft.plan_id), "total_fen": draft.total_fen},
        )
        for draft in drafts
    ]
    await write_journal(session, entries)


def first_state(draft: OrderDraft, approval_limit_fen: int) -> PurchaseOrderState:
    """Return the state in which an order is written."""
    return advance(PurchaseOrderState.DRAFT, _first_event(draft, approval_limit_fen))


def _first_event(draft: OrderDraft, approval_limit_fen: int) -> PurchaseOrderEvent:
    if draft.total_fen > approval_limit_fen:
        return PurchaseOrderEvent.ASK_APPROVAL
    return PurchaseOrderEvent.APPROVE


async def _insert_lines(session: AsyncSession, drafts: Sequence[OrderDraft]) -> None:
    rows = [
        (draft.id, number, line)
        for draft in drafts
        for number, line in enumerate(draft.lines, start=1)
    ]
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO purchase_order_line (id, po_id, line_no, agreement_id, sku, warehouse,"
            " unit_price_fen, ordered_units, unanswered_units, requested_at, promised_at)"
            " SELECT id, po_id, line_no, agreement_id, sku, warehouse, price, units, units,"
            " requested_at, promised_at FROM unnest(CAST(:ids AS uuid[]),"
            " CAST(:po_ids AS uuid[]), CAST(:numbers AS integer[]), CAST(:agreements AS uuid[]),"
            " CAST(:skus AS text[]), CAST(:warehouses AS text[]), CAST(:prices AS integer[]),"
            " CAST(:units AS integer[]), CAST(:requested AS timestamptz[]),"
            " CAST(:promised AS timestamptz[])) AS n (id, po_id, line_no, agreement_id, sku,"
            " warehouse, price, units, requested_at, promised_at)"
        ),
        {
            "ids": [new_id() for _ in rows],
            "po_ids": [po_id for po_id, _, _ in rows],
            "numbers": [number for _, number, _ in rows],
            "agreements": [line.agreement_id for *_, line in rows],
            "skus": [line.sku for *_, line in rows],
            "warehouses": [line.warehouse for *_, line in rows],
            "prices": [line.unit_price_fen for *_, line in rows],
            "units": [line.units for *_, line in rows],
            "requested": [line.requested_at for *_, line in rows],
            "promised": [line.promised_at for *_, line in rows],
        },
    )


async def _release(session: AsyncSession, lines: Sequence[LineDraft]) -> None:
    """Count the units against the agreements' commitments."""
    units: dict[UUID, int] = {}
    for line in lines:
        units[line.agreement_id] = units.get(line.agreement_id, 0) + line.units
    ids = sorted(units)
    connection = await session.connection()
    released = await connection.execute(
        text(
            "UPDATE supply_agreement a SET released_units = a.released_units + n.units"
            " FROM unnest(CAST(:ids AS uuid[]), CAST(:units AS integer[])) AS n (id, units)"
            " WHERE a.id = n.id AND (a.committed_units IS NULL OR a.released_units + n.units"
            "  <= a.committed_units + a.committed_units * CAST(a.allowance_bp AS bigint) / 10000)"
        ),
        {"ids": ids, "units": [units[agreement_id] for agreement_id in ids]},
    )
    if released.rowcount < len(ids):
        raise CommitmentExceeded("an agreement's commitment does not allow so much any more")


async def mark_replanned(session: AsyncSession, po_ids: Sequence[UUID]) -> None:
    """Note that a plan has looked at refused orders."""
    connection = await session.connection()
    await connection.execute(
        text(
            "UPDATE purchase_order SET replanned_at = kit_now()"
            " WHERE id = ANY(CAST(:ids AS uuid[]))"
        ),
        {"ids": list(po_ids)},
    )
