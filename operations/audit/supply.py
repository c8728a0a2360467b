"""P1 to P6: purchase orders add up, keep to their agreements, and goods came as receipts say."""

from typing import Final

from operations.audit.invariant import Invariant

_P1: Final = """
SELECT 'purchase_order_line ' || id AS row,
    format('%s ordered, but %s accepted, %s rejected, %s cancelled and %s unanswered',
        ordered_units, accepted_units, rejected_units, cancelled_units, unanswered_units)
    AS detail
FROM purchase_order_line WHERE ordered_units
    <> accepted_units + rejected_units + cancelled_units + unanswered_units
"""

_P2: Final = """
SELECT 'purchase_order_line ' || id AS row,
    format('%s accepted, but %s good, %s damaged, %s closed short and %s open', accepted_units,
        good_units, damaged_units, short_closed_units, open_units) AS detail
FROM purchase_order_line WHERE accepted_units
    <> good_units + damaged_units + short_closed_units + open_units
"""

# MOQ, pack and tier bind what one order buys of a SKU, over its warehouses. An incremental order
# has a line for each step of the price list, so what it costs in all is compared.
_P3: Final = """
WITH bought AS (
    SELECT po_id, agreement_id, sum(ordered_units) AS units,
        sum(ordered_units::bigint * unit_price_fen) AS cost_fen
    FROM purchase_order_line GROUP BY po_id, agreement_id
), ladder AS (
    SELECT agreement_id, unit_price_fen, min_units,
        row_number() OVER steps = 1 AS first, lead(min_units) OVER steps AS next_units
    FROM price_tier WINDOW steps AS (PARTITION BY agreement_id ORDER BY min_units)
), priced AS (
    SELECT b.po_id, b.agreement_id,
        max(b.units * l.unit_price_fen) FILTER (WHERE b.units >= l.min_units
            AND (l.next_units IS NULL OR b.units < l.next_units)) AS all_units_fen,
        sum(l.unit_price_fen * greatest(0, least(b.units, coalesce(l.next_units - 1, b.units))
            - CASE WHEN l.first THEN 0 ELSE l.min_units - 1 END)) AS incremental_fen
    FROM bought b JOIN ladder l ON l.agreement_id = b.agreement_id
    GROUP BY b.po_id, b.agreement_id
)
SELECT 'purchase_order ' || b.po_id AS row,
    format('%s units of %s at %s fen in all; MOQ %s, pack %s, the price list says %s fen',
        b.units, a.sku, b.cost_fen, a.moq, a.pack, p.fen) AS detail
FROM bought b JOIN supply_agreement a ON a.id = b.agreement_id
LEFT JOIN LATERAL (SELECT CASE a.price_mode WHEN 'incremental' THEN q.incremental_fen
    ELSE q.all_units_fen END AS fen FROM priced q
    WHERE q.po_id = b.po_id AND q.agreement_id = b.agreement_id) p ON true
WHERE b.units < a.moq OR b.units % a.pack <> 0 OR b.cost_fen IS DISTINCT FROM p.fen
"""

_P4: Final = """
WITH counted AS (
    SELECT r.id, r.po_id, r.warehouse, r.receipt_no, c.line_no, c.good_units + c.damaged_units
        AS units FROM receipt r, jsonb_to_recordset(r.lines)
        AS c (line_no int, good_units int, damaged_units int)
), booked AS (
    SELECT warehouse, reference, sku, sum(qty_delta) AS units FROM stock_movement
    WHERE kind = 'receipt' AND idempotency_key LIKE 'receipt:%' GROUP BY warehouse, reference, sku
), said AS (
    SELECT c.warehouse, 'receipt:' || c.receipt_no AS reference, l.sku, sum(c.units) AS units
    FROM counted c JOIN purchase_order_line l ON l.po_id = c.po_id AND l.line_no = c.line_no
    GROUP BY c.warehouse, c.receipt_no, l.sku HAVING sum(c.units) <> 0
), taken AS (
    SELECT po_id, line_no, sum(units) AS units FROM counted GROUP BY po_id, line_no
)
SELECT format('receipt %s %s', coalesce(s.warehouse, b.warehouse),
    substr(coalesce(s.reference, b.reference), 9)) AS row,
    format('it counts %s units of %s, the stock ledger %s', coalesce(s.units, 0),
        coalesce(s.sku, b.sku), coalesce(b.units, 0)) AS detail
FROM said s FULL JOIN booked b ON b.warehouse = s.warehouse AND b.reference = s.reference
    AND b.sku = s.sku
WHERE coalesce(s.units, 0) <> coalesce(b.units, 0)
UNION ALL
SELECT 'purchase_order_line ' || l.id, format('%s good, %s damaged and %s over, receipts count %s',
    l.good_units, l.damaged_units, l.over_units, coalesce(t.units, 0))
FROM purchase_order_line l LEFT JOIN taken t ON t.po_id = l.po_id AND t.line_no = l.line_no
WHERE l.good_units + l.damaged_units + l.over_units <> coalesce(t.units, 0)
"""

_P5: Final = """
SELECT 'purchase_order ' || min(id::text) AS row, format('%s orders have the plan key %s',
    count(*), plan_key) AS detail
FROM purchase_order GROUP BY plan_key HAVING count(*) > 1
"""

_P6: Final = """
WITH under_way AS (
    SELECT agreement_id, sum(unanswered_units + open_units) AS units
    FROM purchase_order_line GROUP BY agreement_id
)
SELECT 'supply_agreement ' || a.id AS row,
    format('%s units released and %s under way of %s committed, allowance %s bp',
        a.released_units, coalesce(u.units, 0), a.committed_units, a.allowance_bp) AS detail
FROM supply_agreement a LEFT JOIN under_way u ON u.agreement_id = a.id
WHERE a.committed_units IS NOT NULL AND (coalesce(u.units, 0) > a.released_units
    OR a.released_units
        > a.committed_units + a.committed_units * CAST(a.allowance_bp AS bigint) / 10000)
"""

INVARIANTS: Final = (
    Invariant(
        name="P1", says="ordered = accepted + rejected + cancelled + unanswered", breaches=_P1
    ),
    Invariant(name="P2", says="accepted = good + damaged + closed short + open", breaches=_P2),
    Invariant(
        name="P3",
        says="an order buys at least the MOQ, whole packs, at the prices of its agreement",
        breaches=_P3,
    ),
    Invariant(name="P4", says="receipts are movements and lines", breaches=_P4),
    Invariant(name="P5", says="one purchase order per plan and supplier", breaches=_P5),
    Invariant(name="P6", says="releases keep within the commitment", breaches=_P6),
)
