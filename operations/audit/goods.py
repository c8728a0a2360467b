"""S1 to S8: units are where the movements say, and belong to those who were promised them."""

from typing import Final

from operations.audit.invariant import Invariant

_S1: Final = """
WITH moved AS (
    SELECT sku, warehouse, sum(qty_delta) AS on_hand, count(*) AS moves, max(seq) AS last_seq,
        min(seq) AS first_seq,
        coalesce(sum(qty_delta) FILTER (WHERE bucket = 'held'), 0) AS held
    FROM stock_movement GROUP BY sku, warehouse
)
SELECT format('stock_level %s %s', coalesce(l.sku, m.sku), coalesce(l.warehouse, m.warehouse))
    AS row,
    CASE WHEN coalesce(m.moves, 0) <> coalesce(m.last_seq, 0)
        OR coalesce(l.last_seq, 0) <> coalesce(m.last_seq, 0) OR coalesce(m.first_seq, 1) <> 1
        THEN format('%s movements are numbered %s to %s, the level has seen number %s',
            coalesce(m.moves, 0), coalesce(m.first_seq, 0), coalesce(m.last_seq, 0), l.last_seq)
        ELSE format('%s on hand, %s of them held; movements say %s and %s', l.on_hand, l.held,
            coalesce(m.on_hand, 0), coalesce(m.held, 0))
    END AS detail
FROM stock_level l FULL JOIN moved m ON m.sku = l.sku AND m.warehouse = l.warehouse
WHERE (l.on_hand, l.held, l.last_seq, coalesce(m.moves, 0), coalesce(m.first_seq, 1))
    IS DISTINCT FROM (coalesce(m.on_hand, 0), coalesce(m.held, 0), coalesce(m.last_seq, 0),
        coalesce(m.last_seq, 0), 1)
"""

_S2: Final = """
WITH promised AS (
    SELECT sku, warehouse, sum(units) AS units FROM reservation
    WHERE state = 'live' GROUP BY sku, warehouse
)
SELECT format('stock_level %s %s', coalesce(l.sku, p.sku), coalesce(l.warehouse, p.warehouse))
    AS row, format('%s reserved, live reservations are for %s', coalesce(l.reserved, 0),
    coalesce(p.units, 0)) AS detail
FROM stock_level l FULL JOIN promised p ON p.sku = l.sku AND p.warehouse = l.warehouse
WHERE coalesce(l.reserved, 0) <> coalesce(p.units, 0)
"""

_S3: Final = """
SELECT format('stock_level %s %s', l.sku, l.warehouse) AS row,
    format('%s reserved and %s held of %s on hand, and no open discrepancy says so', l.reserved,
        l.held, l.on_hand) AS detail
FROM stock_level l LEFT JOIN discrepancy d ON d.sku = l.sku AND d.warehouse = l.warehouse
    AND d.kind = 'shortage' AND d.state = 'open'
WHERE l.reserved + l.held > l.on_hand AND d.id IS NULL
"""

# An uncovered order is listed by the claim it still holds. Lottery orders hold none of their own
# before the draw.
_S4: Final = """
WITH reserved AS (
    SELECT order_id, count(*) AS live, sum(units) AS units FROM reservation
    WHERE state = 'live' GROUP BY order_id
), pegged AS (
    SELECT order_id, count(*) AS live, sum(units) AS units FROM peg
    WHERE state = 'live' GROUP BY order_id
)
SELECT 'buyer_order ' || o.id AS row,
    format('it is %s and needs %s units: %s reservations of %s, %s pegs of %s, a claim of %s',
        o.state, o.units, coalesce(r.live, 0), coalesce(r.units, 0), coalesce(p.live, 0),
        coalesce(p.units, 0), o.claim_units) AS detail
FROM buyer_order o JOIN buying_group g ON g.id = o.group_id
LEFT JOIN reserved r ON r.order_id = o.id LEFT JOIN pegged p ON p.order_id = o.id
WHERE o.state IN ('confirmed', 'won', 'allocated')
    AND NOT (g.mode = 'lottery' AND o.state = 'confirmed')
    AND CASE WHEN o.state = 'allocated'
        THEN (coalesce(r.live, 0), coalesce(p.live, 0), o.claim_units, r.units)
            IS DISTINCT FROM (1, 0, 0, o.units)
        ELSE coalesce(r.live, 0) > 0 OR (coalesce(p.live, 0), coalesce(p.units, 0), o.claim_units)
            NOT IN ((0, 0, o.units), (1, o.units, 0))
    END
"""

_S5: Final = """
WITH holding AS (
    SELECT 'reservation ' || id AS row, order_id, units FROM reservation WHERE state = 'live'
    UNION ALL
    SELECT 'peg ' || id, order_id, units FROM peg WHERE state = 'live'
    UNION ALL
    SELECT 'buyer_order ' || id, id, claim_units FROM buyer_order
    WHERE claim_units > 0 AND state NOT IN ('reserved', 'paid', 'confirmed', 'won')
)
SELECT h.row, format('%s units for order %s, which is %s', h.units, h.order_id,
    coalesce(o.state, 'missing')) AS detail
FROM holding h LEFT JOIN buyer_order o ON o.id = h.order_id
WHERE o.id IS NULL OR o.state NOT IN ('confirmed', 'won', 'allocated')
"""

_S6: Final = """
SELECT 'reservation ' || id AS row, format('it is %s, resolved at %s', state, resolved_at)
    AS detail
FROM reservation WHERE (state = 'live') <> (resolved_at IS NULL)
UNION ALL
SELECT 'peg ' || id, format('it is %s, resolved at %s', state, resolved_at)
FROM peg WHERE (state = 'live') <> (resolved_at IS NULL)
UNION ALL
SELECT 'buyer_order ' || order_id, format('%s of its reservations shipped', count(*))
FROM reservation WHERE state = 'shipped' GROUP BY order_id HAVING count(*) > 1
UNION ALL
SELECT 'reservation ' || r.id, format('%s units shipped from %s, the ledger says %s from %s',
    r.units, r.warehouse, coalesce(-m.qty_delta, 0), coalesce(m.warehouse, 'nowhere'))
FROM reservation r LEFT JOIN stock_movement m ON m.idempotency_key = 'ship:' || r.order_id
WHERE r.state = 'shipped'
    AND (m.sku, m.warehouse, m.qty_delta) IS DISTINCT FROM (r.sku, r.warehouse, -r.units)
UNION ALL
SELECT 'buyer_order ' || o.id, format('it is %s and no reservation of it shipped', o.state)
FROM buyer_order o WHERE o.shipped_at IS NOT NULL
    AND o.id NOT IN (SELECT order_id FROM reservation WHERE state = 'shipped')
"""

_S7: Final = """
WITH claims AS (
    SELECT sku, sum(claim_units) AS units FROM buyer_order
    WHERE state IN ('reserved', 'paid', 'confirmed', 'won') GROUP BY sku
)
SELECT 'seat_budget ' || coalesce(b.sku, c.sku) AS row,
    format('%s units claimed, live orders claim %s', coalesce(b.claimed_units, 0),
        coalesce(c.units, 0)) AS detail
FROM seat_budget b FULL JOIN claims c ON c.sku = b.sku
WHERE coalesce(b.claimed_units, 0) <> coalesce(c.units, 0)
"""

_S8: Final = """
WITH pegged AS (
    SELECT line_id, sum(units) AS units FROM peg WHERE state = 'live' GROUP BY line_id
)
SELECT 'supply_promise ' || s.line_id AS row,
    format('%s units pegged (%s noted) of %s to come; the purchase order expects %s',
        coalesce(p.units, 0), s.pegged_units, s.units, l.unanswered_units + l.open_units)
    AS detail
FROM supply_promise s LEFT JOIN pegged p ON p.line_id = s.line_id
LEFT JOIN purchase_order_line l ON l.id = s.line_id
WHERE coalesce(p.units, 0) <> s.pegged_units OR s.pegged_units > s.units
    OR s.pegged_units > l.unanswered_units + l.open_units
"""

INVARIANTS: Final = (
    Invariant(
        name="S1",
        says="on_hand and held are the sum of the movements, whose numbers have no holes",
        breaches=_S1,
    ),
    Invariant(name="S2", says="reserved is the sum of the live reservations", breaches=_S2),
    Invariant(
        name="S3",
        says="reserved + held <= on_hand, or an open discrepancy explains it",
        breaches=_S3,
    ),
    Invariant(
        name="S4",
        says="a confirmed unshipped order has exactly one reservation or peg, or is uncovered",
        breaches=_S4,
    ),
    Invariant(
        name="S5",
        says="only orders that are confirmed and unshipped hold goods, only live ones claims",
        breaches=_S5,
    ),
    Invariant(name="S6", says="a reservation resolves once", breaches=_S6),
    Invariant(name="S7", says="claimed_units is the sum of the live claims", breaches=_S7),
    Invariant(name="S8", says="pegs never exceed the open inbound", breaches=_S8),
)
