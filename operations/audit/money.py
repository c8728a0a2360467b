"""M1 to M7: every fen has a place, and the ledger, the payments and the refunds agree on it."""

from typing import Final

from operations.audit.invariant import Invariant

_M1: Final = """
SELECT 'ledger_transaction ' || t.id AS row,
    CASE WHEN count(e.id) = 0 THEN format('%s has no entries', t.reference)
        ELSE format('the entries of %s sum to %s fen', t.reference, sum(e.amount_fen))
    END AS detail
FROM ledger_transaction t LEFT JOIN ledger_entry e ON e.transaction_id = t.id
GROUP BY t.id HAVING coalesce(sum(e.amount_fen), 1) <> 0
"""

# Orphaned lines are money without a seat: M7 sees to them.
_M2: Final = """
WITH lines AS (
    SELECT order_id, count(*) FILTER (WHERE state = 'captured') AS captures,
        coalesce(sum(amount_fen) FILTER (WHERE state = 'captured'), 0) AS captured_fen,
        sum(amount_fen) AS received_fen
    FROM payment_line WHERE state IN ('captured', 'orphaned') GROUP BY order_id
), booked AS (
    SELECT order_id, sum(amount_fen) AS fen FROM ledger_entry
    WHERE account = 'provider' AND amount_fen > 0 GROUP BY order_id
)
SELECT 'buyer_order ' || o.id AS row, format('it is %s and costs %s fen: %s captures of %s fen',
    o.state, o.amount_fen, coalesce(l.captures, 0), coalesce(l.captured_fen, 0)) AS detail
FROM buyer_order o LEFT JOIN lines l ON l.order_id = o.id
WHERE o.state NOT IN ('reserved', 'released')
    AND (coalesce(l.captures, 0) <> 1 OR l.captured_fen <> o.amount_fen)
UNION ALL
SELECT 'buyer_order ' || coalesce(l.order_id, b.order_id),
    format('its payments received %s fen, the ledger says %s', coalesce(l.received_fen, 0),
        coalesce(b.fen, 0))
FROM lines l FULL JOIN booked b ON b.order_id = l.order_id
WHERE coalesce(l.received_fen, 0) <> coalesce(b.fen, 0)
"""

_M3: Final = """
SELECT 'payment_line ' || l.id AS row, format('refunds of %s fen for %s fen that are %s',
    sum(r.amount_fen), l.amount_fen, l.state) AS detail
FROM refund r JOIN payment_line l ON l.id = r.line_id
GROUP BY l.id HAVING sum(r.amount_fen)
    > CASE WHEN l.state IN ('captured', 'orphaned') THEN l.amount_fen ELSE 0 END
"""

_M4: Final = """
WITH lines AS (
    SELECT order_id, sum(amount_fen) AS fen FROM payment_line
    WHERE state = 'captured' GROUP BY order_id
), returned AS (
    SELECT r.order_id, sum(r.amount_fen) AS fen,
        coalesce(sum(r.amount_fen) FILTER (WHERE l.state = 'captured'), 0) AS seat_fen
    FROM refund r JOIN payment_line l ON l.id = r.line_id
    WHERE r.state = 'succeeded' GROUP BY r.order_id
), booked AS (
    SELECT order_id, -sum(amount_fen) AS fen FROM ledger_entry
    WHERE account = 'provider' AND amount_fen < 0 GROUP BY order_id
)
SELECT 'buyer_order ' || o.id AS row, format('it is refunded: %s fen came, %s fen went back',
    coalesce(l.fen, 0), coalesce(r.seat_fen, 0)) AS detail
FROM buyer_order o LEFT JOIN lines l ON l.order_id = o.id
LEFT JOIN returned r ON r.order_id = o.id
WHERE o.state = 'refunded' AND coalesce(l.fen, 0) <> coalesce(r.seat_fen, 0)
UNION ALL
SELECT 'buyer_order ' || coalesce(r.order_id, b.order_id),
    format('its refunds returned %s fen, the ledger says %s', coalesce(r.fen, 0),
        coalesce(b.fen, 0))
FROM returned r FULL JOIN booked b ON b.order_id = r.order_id
WHERE coalesce(r.fen, 0) <> coalesce(b.fen, 0)
"""

_M5: Final = """
SELECT 'payment_line ' || min(id::text) AS row,
    format('the provider''s transaction %s is captured %s times', transaction_id, count(*))
    AS detail
FROM payment_line WHERE state IN ('captured', 'orphaned') AND transaction_id IS NOT NULL
GROUP BY transaction_id HAVING count(*) > 1
UNION ALL
SELECT 'payment_line ' || id, format('it is %s without a transaction of the provider', state)
FROM payment_line WHERE state IN ('captured', 'orphaned') AND transaction_id IS NULL
UNION ALL
SELECT 'payment_line ' || id, format('it is %s and names the transaction %s', state,
    transaction_id)
FROM payment_line WHERE state NOT IN ('captured', 'orphaned') AND transaction_id IS NOT NULL
"""

_M6: Final = """
SELECT 'payment_line ' || l.id AS row, format('%s fen are captured for order %s, which is %s',
    l.amount_fen, o.id, o.state) AS detail
FROM payment_line l JOIN buyer_order o ON o.id = l.order_id
WHERE l.state = 'captured' AND o.state IN ('reserved', 'released')
UNION ALL
SELECT 'buyer_order ' || o.id, format('it is %s and %s fen rest on it', o.state,
    -sum(e.amount_fen))
FROM buyer_order o JOIN ledger_entry e ON e.order_id = o.id AND e.account = 'deposits'
WHERE o.state IN ('reserved', 'released') GROUP BY o.id HAVING sum(e.amount_fen) <> 0
"""

# A refund that is listed for attention is money that a person sees.
_M7: Final = """
SELECT 'payment_line ' || l.id AS row,
    format('%s fen for order %s, which is %s: only %s fen are refunded, queued or listed',
        l.amount_fen, l.order_id, coalesce(o.state, 'missing'),
        coalesce(sum(r.amount_fen), 0)) AS detail
FROM payment_line l LEFT JOIN buyer_order o ON o.id = l.order_id
LEFT JOIN refund r ON r.line_id = l.id
WHERE l.state = 'orphaned' OR (l.state = 'captured' AND (o.id IS NULL
    OR o.state IN ('lost', 'refund_due', 'refunding', 'refunded', 'refund_attention')))
GROUP BY l.id, o.state HAVING coalesce(sum(r.amount_fen), 0) < l.amount_fen
"""

INVARIANTS: Final = (
    Invariant(name="M1", says="every ledger transaction sums to 0", breaches=_M1),
    Invariant(name="M2", says="a paid order received exactly its amount once", breaches=_M2),
    Invariant(name="M3", says="refunds never exceed the capture", breaches=_M3),
    Invariant(name="M4", says="refunded means returned in full", breaches=_M4),
    Invariant(name="M5", says="one capture per provider transaction", breaches=_M5),
    Invariant(name="M6", says="no money rests on seats that were not paid", breaches=_M6),
    Invariant(
        name="M7",
        says="every capture is on a seat, refunded, queued or listed for attention",
        breaches=_M7,
    ),
)
