"""The audit of ten thousand orders in a shop where every invariant holds."""

import time

import pytest
from sqlalchemy import text

from kit.db import transaction
from operations.audit import audit
from tests.store.audit_world import build

pytestmark = pytest.mark.usefixtures("store")

# Copies of the group that has gone, of its two orders and of all that hangs on them. A copy's id is
# made of the number n and the original's; patches say what else differs.
_COPY = """
INSERT INTO {table} SELECT (made.copy).* FROM (
    SELECT jsonb_populate_record(t, jsonb_build_object({patch})) AS copy
    FROM {table} t, generate_series(1, CAST(:copies AS integer)) n WHERE {where}
) made
"""
_OF_ORDERS = "t.order_id IN (:delivered, :shipped)"
_COPIES = (
    ("buying_group", "t.id = :group_gone", {"id": "t.id"}),
    ("buyer_order", "t.id IN (:delivered, :shipped)", {"id": "t.id", "group_id": "t.group_id"}),
    (
        "order_journal",
        _OF_ORDERS,
        {"id": "t.id", "order_id": "t.order_id", "group_id": "t.group_id"},
    ),
    (
        "payment_line",
        _OF_ORDERS,
        {"id": "t.id", "order_id": "t.order_id", "transaction_id": "t.id"},
    ),
    (
        "ledger_transaction",
        f"t.id IN (SELECT transaction_id FROM ledger_entry t WHERE {_OF_ORDERS})",  # noqa: S608 - ours
        {"id": "t.id", "reference": "t.id"},
    ),
    (
        "ledger_entry",
        _OF_ORDERS,
        {"id": "t.id", "order_id": "t.order_id", "transaction_id": "t.transaction_id"},
    ),
    ("reservation", _OF_ORDERS, {"id": "t.id", "order_id": "t.order_id"}),
    (
        "shipment",
        "t.id IN (:parcel_delivered, :parcel_shipped)",
        {"id": "t.id", "label_id": "t.id", "tracking_no": "t.id"},
    ),
    (
        "shipment_order",
        _OF_ORDERS,
        {"shipment_id": "t.shipment_id", "order_id": "t.order_id", "group_id": "t.group_id"},
    ),
    (
        "tracking_event",
        "true",
        {"event_id": "t.event_id", "shipment_id": "t.shipment_id"},
    ),
)


# What the copies mean for the rows that are not copied.
_FITTING = (
    """INSERT INTO outbox_message (id, topic, key, body, sent_at)
    SELECT gen_random_uuid(), 'order.reserved', group_id::text,
        jsonb_build_object('order_id', id), now() FROM buyer_order
    WHERE id NOT IN (SELECT CAST(body ->> 'order_id' AS uuid) FROM outbox_message
        WHERE topic = 'order.reserved')""",
    """INSERT INTO outbox_message (id, topic, key, body, sent_at)
    SELECT gen_random_uuid(), 'group.succeeded', id::text, '{}', now() FROM buying_group
    WHERE state = 'succeeded' AND id::text NOT IN (SELECT key FROM outbox_message
        WHERE topic = 'group.succeeded')""",
    """INSERT INTO stock_movement (id, sku, warehouse, seq, bucket, qty_delta, kind, reference,
        idempotency_key, actor, occurred_at)
    SELECT gen_random_uuid(), 'tea', 'east', 5 + row_number() OVER (), 'available', -1, 'ship',
        'wave', 'ship:' || order_id, 'test', now() FROM reservation
    WHERE state = 'shipped' AND order_id NOT IN (:delivered, :shipped)""",
    """INSERT INTO stock_movement (id, sku, warehouse, seq, bucket, qty_delta, kind, reference,
        idempotency_key, actor, occurred_at) VALUES (gen_random_uuid(), 'tea', 'east', 10006,
        'available', 10000, 'adjust', 'count', 'count', 'test', now())""",
    "UPDATE stock_level SET last_seq = 10006",
    "UPDATE seat_budget SET taken_seats = 10007 WHERE sku = 'tea'",
    "UPDATE campaign_version SET seat_cap = NULL",
    "UPDATE wave SET parcels = 10002",
    "UPDATE warehouse SET daily_parcels = 20000",
)


def _copying(table: str, where: str, ids: dict[str, str]) -> str:
    patch = ", ".join(f"'{name}', md5({source} || ' ' || n)::uuid" for name, source in ids.items())
    return _COPY.format(table=table, where=where, patch=patch)


async def test_ten_thousand_orders_are_checked_in_seconds() -> None:
    async with transaction(long=True) as session:
        ids = await build(session)
        named = {name.replace(" ", "_"): row_id for name, row_id in ids.items()}
        connection = await session.connection()
        for statement in (*(_copying(*each) for each in _COPIES), *_FITTING):
            await connection.execute(text(statement), named | {"copies": 5_000})

    began = time.monotonic()
    found = (await audit()).violations
    seconds = time.monotonic() - began

    assert found == ()
    assert seconds < 5
