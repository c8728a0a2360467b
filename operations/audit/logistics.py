"""L1 to L5: parcels leave whole, once, for groups that succeeded, and their news adds up."""

from typing import Final

from operations.audit.invariant import Invariant

# Parcels of one group may leave with several carriers, hence in several waves of one instant.
_L1: Final = """
WITH members AS (
    SELECT o.group_id, s.warehouse, o.id, w.cut_off_at,
        w.state IN ('locked', 'manifested', 'shipped') AS released
    FROM buyer_order o JOIN buying_group g ON g.id = o.group_id AND g.warehouse_policy = 'whole'
    JOIN shipment_order so ON so.order_id = o.id
    JOIN shipment s ON s.id = so.shipment_id AND s.state <> 'cancelled'
    LEFT JOIN wave w ON w.id = s.wave_id
    WHERE o.state IN ('confirmed', 'won', 'allocated', 'shipped', 'delivered')
), uncovered AS (
    SELECT group_id, count(*) AS orders FROM buyer_order
    WHERE state IN ('confirmed', 'won') AND claim_units > 0 GROUP BY group_id
)
SELECT 'buying_group ' || m.group_id AS row,
    format('it leaves whole, but from %s warehouses at %s instants; %s of its parcels stay behind',
        count(DISTINCT m.warehouse),
        count(DISTINCT m.cut_off_at) FILTER (WHERE m.released),
        count(*) FILTER (WHERE m.released IS NOT TRUE) + coalesce(u.orders, 0)) AS detail
FROM members m LEFT JOIN uncovered u ON u.group_id = m.group_id
GROUP BY m.group_id, u.orders
HAVING count(DISTINCT m.warehouse) > 1
    OR count(DISTINCT m.cut_off_at) FILTER (WHERE m.released) > 1
    OR (bool_or(m.released) AND (u.orders > 0 OR bool_or(m.released IS NOT TRUE)))
"""

_L2: Final = """
WITH sent AS (
    SELECT so.order_id, sum(so.units) AS units FROM shipment_order so
    JOIN shipment s ON s.id = so.shipment_id
    WHERE s.state IN ('shipped', 'delivered', 'returned', 'lost') GROUP BY so.order_id
)
SELECT 'buyer_order ' || o.id AS row,
    format('it shipped %s of %s units and is %s; its group is %s', coalesce(s.units, 0), o.units,
        o.state, g.state) AS detail
FROM buyer_order o JOIN buying_group g ON g.id = o.group_id LEFT JOIN sent s ON s.order_id = o.id
WHERE (o.shipped_at IS NOT NULL OR o.state IN ('shipped', 'delivered') OR s.units IS NOT NULL)
    AND (g.state NOT IN ('succeeded', 'drawn') OR coalesce(s.units, 0) > o.units
        OR ((o.shipped_at IS NOT NULL OR o.state IN ('shipped', 'delivered'))
            AND coalesce(s.units, 0) <> o.units))
"""

_L3: Final = """
SELECT 'shipment ' || min(id::text) AS row, format('label %s of %s is on %s parcels', label_id,
    carrier, count(*)) AS detail
FROM shipment WHERE label_state = 'purchased' AND label_id IS NOT NULL
GROUP BY carrier, label_id HAVING count(*) > 1
UNION ALL
SELECT 'shipment ' || s.id, format('it is %s in a wave that is %s, and its label is %s', s.state,
    coalesce(w.state, 'none'), s.label_state)
FROM shipment s LEFT JOIN wave w ON w.id = s.wave_id
WHERE s.label_state <> 'purchased' AND (s.state IN ('shipped', 'delivered', 'returned', 'lost')
    OR (s.state = 'locked' AND w.state IN ('manifested', 'shipped')))
UNION ALL
SELECT 'shipment ' || id, 'its label is purchased and has no number'
FROM shipment WHERE label_state = 'purchased' AND (label_id IS NULL OR tracking_no IS NULL)
UNION ALL
SELECT 'buyer_order ' || o.id, format('%s of its %s units are in live parcels', sum(so.units),
    o.units)
FROM buyer_order o JOIN shipment_order so ON so.order_id = o.id
JOIN shipment s ON s.id = so.shipment_id AND s.state IN ('planned', 'locked')
GROUP BY o.id HAVING sum(so.units) > o.units
"""

_L4: Final = """
WITH loaded AS (
    SELECT wave_id, count(*) AS parcels FROM shipment
    WHERE wave_id IS NOT NULL AND state <> 'cancelled' GROUP BY wave_id
)
SELECT 'wave ' || w.id AS row, format('it counts %s parcels and holds %s', w.parcels,
    coalesce(l.parcels, 0)) AS detail
FROM wave w LEFT JOIN loaded l ON l.wave_id = w.id
WHERE w.parcels <> coalesce(l.parcels, 0)
UNION ALL
SELECT 'warehouse ' || h.code, format('%s parcels leave at %s, it can send %s a day',
    sum(l.parcels), w.cut_off_at, h.daily_parcels)
FROM wave w JOIN loaded l ON l.wave_id = w.id JOIN warehouse h ON h.code = w.warehouse
GROUP BY h.code, w.cut_off_at HAVING sum(l.parcels) > h.daily_parcels
"""

# The order of ranks is that of logistics.tables.TrackingStatus.
_L5: Final = """
WITH rank AS (
    SELECT status, ordinality AS height FROM unnest(ARRAY['none', 'label_created', 'collected',
        'in_transit', 'exception', 'out_for_delivery', 'lost', 'returned', 'delivered'])
        WITH ORDINALITY AS r (status, ordinality)
), heard AS (
    SELECT e.shipment_id, max(r.height) AS height FROM tracking_event e
    JOIN rank r ON r.status = e.status GROUP BY e.shipment_id
)
SELECT 'shipment ' || s.id AS row, format('its tracking is %s, the highest heard is %s',
    s.tracking, coalesce(top.status, 'none')) AS detail
FROM shipment s JOIN rank mine ON mine.status = s.tracking
LEFT JOIN heard h ON h.shipment_id = s.id LEFT JOIN rank top ON top.height = h.height
WHERE mine.height <> coalesce(h.height, 1)
"""

INVARIANTS: Final = (
    Invariant(
        name="L1",
        says="a group under the policy whole has one warehouse and one release",
        breaches=_L1,
    ),
    Invariant(
        name="L2",
        says="only succeeded groups ship, and what shipped is what was ordered",
        breaches=_L2,
    ),
    Invariant(name="L3", says="one live label per parcel, one parcel per unit", breaches=_L3),
    Invariant(name="L4", says="waves hold what they count, within the capacity", breaches=_L4),
    Invariant(name="L5", says="the tracking status is the highest rank heard", breaches=_L5),
)
