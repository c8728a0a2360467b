"""Close parcels that have left and arrived, and the orders in them; in whatever order we heard."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from groups import orders
from kit import outbox
from logistics.tracking import ENDS


async def settle_deliveries(session: AsyncSession, shipment_ids: Collection[UUID]) -> set[UUID]:
    """Close these parcels as their tracking says; return the orders that are delivered by it.

    A parcel closes once its warehouse said that it left and its carrier said how it ended. An
    order is delivered with the last of its parcels. The caller holds the orders' locks.
    """
    connection = await session.connection()
    closed = await connection.execute(
        text(
            "UPDATE shipment s SET state = n.state, delivered_at = (SELECT min(e.occurred_at)"
            "  FROM tracking_event e WHERE e.shipment_id = s.id AND e.status = 'delivered')"
            " FROM unnest(CAST(:statuses AS text[]), CAST(:states AS text[]))"
            "  AS n (tracking, state)"
            " WHERE s.id = ANY(CAST(:ids AS uuid[])) AND s.tracking = n.tracking"
            " AND s.state IN ('shipped', 'lost', 'returned') AND s.state <> n.state"
            " RETURNING s.id"
        ),
        {
            "ids": list(shipment_ids),
            "statuses": [status.value for status in ENDS],
            "states": [state.value for state in ENDS.values()],
        },
    )
    ids = [row.id for row in closed]
    if not ids:
        return set()
    rows = await connection.execute(
        text(
            "SELECT so.order_id, max(s.delivered_at) AS at FROM shipment_order so"
            " JOIN shipment s ON s.id = so.shipment_id AND s.state <> 'cancelled'"
            " WHERE so.order_id IN (SELECT order_id FROM shipment_order"
            "  WHERE shipment_id = ANY(CAST(:ids AS uuid[])))"
            " GROUP BY so.order_id HAVING bool_and(s.state = 'delivered') ORDER BY so.order_id"
        ),
        {"ids": ids},
    )
    moments = {row.order_id: row.at for row in rows}
    if not moments:
        return set()
    delivered = await orders.mark_delivered(session, list(moments), max(moments.values()))
    told = sorted(delivered)
    if len({moments[order_id] for order_id in told}) > 1:
        # One move for all of them, then each its own moment.
        await connection.execute(
            text(
                "UPDATE buyer_order o SET delivered_at = n.at FROM unnest("
                " CAST(:ids AS uuid[]), CAST(:moments AS timestamptz[])) AS n (id, at)"
                " WHERE o.id = n.id"
            ),
            {"ids": told, "moments": [moments[order_id] for order_id in told]},
        )
    await outbox.emit(
        session,
        [
            outbox.Fact(
                topic="order.delivered",
                key=str(order_id),
                body={
                    "order_id": str(order_id),
                    "delivered_at": moments[order_id].isoformat(),
                },
            )
            for order_id in told
        ],
    )
    return delivered
