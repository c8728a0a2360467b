"""Purchase orders in the store: read, lock, move by the table, keep lines and journal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from kit.errors import LostRace, NotFound
from kit.ids import new_id
from suppliers.lines import LineUnits
from suppliers.states import PurchaseOrderEvent, PurchaseOrderState, advance
from suppliers.tables import SendState

_UNITS: Final = tuple(LineUnits.__dataclass_fields__)
_HEAD: Final = (
    "SELECT id, plan_id, supplier, state, send_state, total_fen, supplier_ref, supplier_revision,"
    " proposal, replaces_po_id, attempts, approved_by, sent_at, due_at, created_at"
    " FROM purchase_order"
)
_LINES: Final = (
    "SELECT l.*, a.hard_safety_days + a.soft_safety_days AS safety_days"
    " FROM purchase_order_line l JOIN supply_agreement a ON a.id = l.agreement_id"
)


class UnknownPurchaseOrder(NotFound):
    """There is no such purchase order."""

    code = "purchase_order.unknown"

    def __init__(self, po_id: UUID) -> None:
        super().__init__(f"there is no purchase order {po_id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """A line as it is stored."""

    id: UUID
    line_no: int
    agreement_id: UUID
    sku: str
    warehouse: str
    unit_price_fen: int
    requested_at: datetime
    promised_at: datetime
    safety_days: int
    units: LineUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyOrder:
    """A purchase order with its lines, as it was read."""

    id: UUID
    plan_id: UUID
    supplier: str
    state: PurchaseOrderState
    send_state: SendState
    total_fen: int
    supplier_ref: str | None
    supplier_revision: int
    proposal: Mapping[str, Any] | None
    replaces_po_id: UUID | None
    attempts: int
    approved_by: str | None
    sent_at: datetime | None
    due_at: datetime | None
    created_at: datetime
    lines: tuple[OrderLine, ...]

    @property
    def skus(self) -> tuple[str, ...]:
        """SKUs of all lines, ascending."""
        return tuple(sorted({line.sku for line in self.lines}))

    @property
    def settled(self) -> bool:
        """Whether nothing of it is expected any more."""
        return all(line.units.settled for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDraft:
    """A line to be ordered."""

    agreement_id: UUID
    sku: str
    warehouse: str
    units: int
    unit_price_fen: int
    requested_at: datetime
    promised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDraft:
    """A purchase order to be written: one for each plan and supplier."""

    id: UUID
    plan_key: str
    plan_id: UUID
    supplier: str
    total_fen: int
    replaces_po_id: UUID | None
    lines: tuple[LineDraft, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """What happened to a purchase order."""

    po_id: UUID
    kind: str
    actor: str = ""
    detail: Mapping[str, Any]


async def read(session: AsyncSession, po_id: UUID) -> SupplyOrder:
    """Return the order; raise UnknownPurchaseOrder when there is none."""
    connection = await session.connection()
    head = (await connection.execute(text(_HEAD + " WHERE id = :id"), {"id": po_id})).one_or_none()
    if head is None:
        raise UnknownPurchaseOrder(po_id)
    lines = await connection.execute(
        text(_LINES + " WHERE l.po_id = :id ORDER BY l.line_no"), {"id": po_id}
    )
    return _order(head, lines.all())


async def read_many(session: AsyncSession, po_ids: Sequence[UUID]) -> list[SupplyOrder]:
    """Return the orders with these ids, ascending; those that do not exist are left out."""
    connection = await session.connection()
    heads = await connection.execute(
        text(_HEAD + " WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id"), {"ids": list(po_ids)}
    )
    lines = await connection.execute(
        text(_LINES + " WHERE l.po_id = ANY(CAST(:ids AS uuid[])) ORDER BY l.po_id, l.line_no"),
        {"ids": list(po_ids)},
    )
    by_order: dict[UUID, list[Row[Any]]] = {}
    for line in lines:
        by_order.setdefault(line.po_id, []).append(line)
    return [_order(head, by_order.get(head.id, [])) for head in heads]


async def lock(session: AsyncSession, po_id: UUID) -> SupplyOrder:
    """Lock the order and its lines, then return them as they are now.

    Lock the SKUs' budgets, the pegged orders and the stock levels first.
    """
    connection = await session.connection()
    await connection.execute(
        text("SELECT FROM purchase_order WHERE id = :id FOR UPDATE"), {"id": po_id}
    )
    await connection.execute(
        text("SELECT FROM purchase_order_line WHERE po_id = :id ORDER BY id FOR UPDATE"),
        {"id": po_id},
    )
    return await read(session, po_id)


async def move(
    session: AsyncSession,
    order: SupplyOrder,
    event: PurchaseOrderEvent,
    *,
    actor: str = "",
    detail: Mapping[str, Any] | None = None,
) -> SupplyOrder:
    """Move the order by the table, with its journal entry, and return it.

    Raises:
        IllegalTransition: its state does not answer to the event.
        LostRace: it is no longer in the state it was read in.
    """
    state = advance(order.state, event)
    connection = await session.connection()
    moved = await connection.execute(
        text("UPDATE purchase_order SET state = :state WHERE id = :id AND state = :seen"),
        {"state": state.value, "id": order.id, "seen": order.state.value},
    )
    if moved.rowcount == 0:
        raise LostRace(f"purchase order {order.id} is no longer {order.state.value}")
    entry = JournalEntry(
        po_id=order.id,
        kind=event.value,
        actor=actor,
        detail={**(detail or {}), "from": order.state.value, "to": state.value},
    )
    await write_journal(session, [entry])
    return replace(order, state=state)


async def write_journal(session: AsyncSession, entries: Sequence[JournalEntry]) -> None:
    """Append to the journal."""
    connection = await session.connection()
    await connection.execute(
        text(
            "INSERT INTO purchase_order_journal (id, po_id, kind, actor, detail)"
            " SELECT id, po_id, kind, actor, CAST(detail AS jsonb) FROM unnest("
            "CAST(:ids AS uuid[]), CAST(:po_ids AS uuid[]), CAST(:kinds AS text[]),"
            " CAST(:actors AS text[]), CAST(:details AS text[]))"
            " AS entry (id, po_id, kind, actor, detail)"
        ),
        {
            "ids": [new_id() for _ in entries],
            "po_ids": [entry.po_id for entry in entries],
            "kinds": [entry.kind for entry in entries],
            "actors": [entry.actor for entry in entries],
            "details": [json.dumps(dict(entry.detail)) for entry in entries],
        },
    )


async def save_lines(session: AsyncSession, lines: Sequence[OrderLine]) -> None:
    """Write units and promised dates of lines that are locked, in one statement."""
    if not lines:
        return
    arrays = ", ".join(f"CAST(:{name} AS integer[])" for name in _UNITS)
    assignments = ", ".join(f"{name} = said.{name}" for name in _UNITS)
    # Only our own column names are put into the text.
    statement = (
        f"UPDATE purchase_order_line l SET promised_at = said.promised_at, {assignments}"  # noqa: S608
        f" FROM unnest(CAST(:ids AS uuid[]), CAST(:promised AS timestamptz[]), {arrays})"
        f" AS said (id, promised_at, {', '.join(_UNITS)}) WHERE l.id = said.id"
    )
    units = [asdict(line.units) for line in lines]
    connection = await session.connection()
    await connection.execute(
        text(statement),
        {
            "ids": [line.id for line in lines],
            "promised": [line.promised_at for line in lines],
            **{name: [row[name] for row in units] for name in _UNITS},
        },
    )


def _order(head: Row[Any], lines: Sequence[Row[Any]]) -> SupplyOrder:
    values = dict(head._mapping)  # noqa: SLF001  # SQLAlchemy's public name for a row's mapping
    values["state"] = PurchaseOrderState(values["state"])
    values["send_state"] = SendState(values["send_state"])
    return SupplyOrder(**values, lines=tuple(_line(line) for line in lines))


def _line(row: Row[Any]) -> OrderLine:
    return OrderLine(
        id=row.id,
        line_no=row.line_no,
        agreement_id=row.agreement_id,
        sku=row.sku,
        warehouse=row.warehouse,
        unit_price_fen=row.unit_price_fen,
        requested_at=row.requested_at,
        promised_at=row.promised_at,
        safety_days=row.safety_days,
        units=LineUnits(**{name: getattr(row, name) for name in _UNITS}),
    )
