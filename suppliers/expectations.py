"""When something is expected of a purchase order, and when what has not come is given up."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from suppliers.orders import OrderLine, SupplyOrder
from suppliers.states import PurchaseOrderState

# The rest of a split delivery comes with the next day's truck; half a day more is its unloading.
SHORT_AFTER: Final = timedelta(hours=36)

_UNANSWERED: Final = frozenset({PurchaseOrderState.SENT, PurchaseOrderState.CHANGE_PROPOSED})
_OVER: Final = frozenset(
    {
        PurchaseOrderState.REJECTED,
        PurchaseOrderState.RECEIVED,
        PurchaseOrderState.CLOSED,
        PurchaseOrderState.CANCELLED,
    }
)


def arrival(line: OrderLine, *, advised: Mapping[int, datetime]) -> datetime:
    """Return when a line's goods should be there: as advised, else as promised."""
    return advised.get(line.line_no, line.promised_at)


def due_at(
    order: SupplyOrder, *, advised: Mapping[int, datetime], ack_sla_hours: int
) -> datetime | None:
    """Return when the order is overdue unless it is heard of: an answer first, then goods."""
    if order.state in _OVER or order.settled:
        return None
    if order.state in _UNANSWERED and order.sent_at is not None:
        return order.sent_at + timedelta(hours=ack_sla_hours)
    return SHORT_AFTER + min(
        arrival(line, advised=advised) for line in order.lines if not line.units.settled
    )


def short_lines(
    order: SupplyOrder,
    *,
    advised: Mapping[int, datetime],
    received: Mapping[tuple[UUID, str], datetime],
    now: datetime,
) -> tuple[OrderLine, ...]:
    """Return the lines whose rest is given up: goods of the order came, and nothing since.

    A line is short when its warehouse has received goods of this order, and both that receipt and
    the arrival expected for the line lie `SHORT_AFTER` back. Where nothing has come at all the
    order is late, not short: it stays open and overdue, for a person to look at.
    """
    short = []
    for line in order.lines:
        last = received.get((order.id, line.warehouse))
        if line.units.settled or last is None:
            continue
        if max(last, arrival(line, advised=advised)) + SHORT_AFTER <= now:
            short.append(line)
    return tuple(short)
