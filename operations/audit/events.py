"""E1 to E4: what happened was told, and what was heard was applied, in time and once."""

from typing import Final

from operations.audit.invariant import Invariant

_E1: Final = """
SELECT 'buyer_order ' || o.id AS row, format('it is %s; it is %s the journal and %s the outbox',
    o.state, CASE WHEN j.order_id IS NULL THEN 'missing from' ELSE 'in' END,
    CASE WHEN m.order_id IS NULL THEN 'missing from' ELSE 'in' END) AS detail
FROM buyer_order o
LEFT JOIN (SELECT DISTINCT order_id FROM order_journal WHERE kind = 'reserve') j
    ON j.order_id = o.id
LEFT JOIN (SELECT DISTINCT body ->> 'order_id' AS order_id FROM outbox_message
    WHERE topic = 'order.reserved') m ON m.order_id = o.id::text
WHERE j.order_id IS NULL OR m.order_id IS NULL
"""

# Wall time: a late message is a machine's fault, whatever day it is in the shop.
_E2: Final = """
SELECT 'outbox_message ' || id AS row, format('%s of %s is unsent since %s, after %s tries', topic,
    key, created_at, attempts) AS detail
FROM outbox_message WHERE sent_at IS NULL AND dead_at IS NULL
    AND created_at < now() - interval '60 seconds'
"""

_E3: Final = """
SELECT 'inbox_message ' || id AS row, format('%s from %s waits since %s, after %s tries', kind,
    source, received_at, attempts) AS detail
FROM inbox_message WHERE state = 'received' AND received_at < now() - interval '60 seconds'
"""

_E4: Final = """
SELECT format('inbox_message %s %s', source, external_id) AS row,
    format('it was taken in %s times, and applied %s times', count(*),
        count(*) FILTER (WHERE state = 'applied')) AS detail
FROM inbox_message GROUP BY source, external_id HAVING count(*) > 1
"""

INVARIANTS: Final = (
    Invariant(name="E1", says="every order has its event", breaches=_E1),
    Invariant(name="E2", says="no event is unsent for a minute and not dead", breaches=_E2),
    Invariant(name="E3", says="no message is unprocessed for a minute", breaches=_E3),
    Invariant(name="E4", says="one applied event per source and id", breaches=_E4),
)
