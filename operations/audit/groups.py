"""G1 to G6: groups hold the seats they count and end as their paid seats decide."""

from typing import Final

from operations.audit.invariant import Invariant

# The counts of a group are kept while it runs, and frozen when it succeeds.
_G1: Final = """
WITH seats AS (
    SELECT group_id, count(*) AS live, count(*) FILTER (WHERE state = 'reserved') AS held
    FROM buyer_order WHERE state IN ('reserved', 'paid', 'confirmed', 'won', 'allocated',
        'shipped', 'delivered') GROUP BY group_id
)
SELECT 'buying_group ' || g.id AS row,
    format('%s live seats, %s of them held, for %s; it counts %s paid and %s held',
        coalesce(s.live, 0), coalesce(s.held, 0), g.capacity, g.paid_seats, g.held_seats)
    AS detail
FROM buying_group g LEFT JOIN seats s ON s.group_id = g.id
WHERE coalesce(s.live, 0) > g.capacity OR (g.state IN ('draft', 'open', 'closing')
    AND (g.held_seats, g.paid_seats)
        IS DISTINCT FROM (coalesce(s.held, 0), coalesce(s.live, 0) - coalesce(s.held, 0)))
"""

_G2: Final = """
SELECT 'buying_group ' || group_id AS row,
    format('user %s has %s live orders in it', user_id, count(*)) AS detail
FROM buyer_order WHERE state IN ('reserved', 'paid', 'confirmed', 'won', 'allocated', 'shipped',
    'delivered') GROUP BY group_id, user_id HAVING count(*) > 1
"""

# Who was confirmed stays known after an after-sale refund. A tiered group may succeed at its
# deadline with min_size, any other only when it is full.
_G3: Final = """
WITH events AS (
    SELECT key, count(*) AS told FROM outbox_message WHERE topic = 'group.succeeded' GROUP BY key
), confirmed AS (
    SELECT group_id, count(*) AS seats FROM buyer_order
    WHERE confirmed_at IS NOT NULL GROUP BY group_id
)
SELECT 'buying_group ' || g.id AS row,
    format('it is %s: %s confirmed seats and %s paid of %s (at least %s), %s success events',
        g.state, coalesce(c.seats, 0), g.paid_seats, g.capacity, g.min_size, coalesce(e.told, 0))
    AS detail
FROM buying_group g LEFT JOIN events e ON e.key = g.id::text
LEFT JOIN confirmed c ON c.group_id = g.id
WHERE CASE WHEN g.state IN ('succeeded', 'drawn')
    THEN coalesce(e.told, 0) <> 1 OR coalesce(c.seats, 0) < CASE
        WHEN g.mode = 'tiered' AND g.closed_at >= g.deadline_at THEN g.min_size
        ELSE g.capacity END
    ELSE coalesce(e.told, 0) > 0 OR coalesce(c.seats, 0) > 0 OR g.paid_seats >= g.capacity
    END
"""

_G4: Final = """
WITH over AS (
    SELECT o.id, o.group_id, o.state, g.state AS group_state
    FROM buyer_order o JOIN buying_group g ON g.id = o.group_id
    WHERE g.state IN ('failed', 'cancelled')
)
SELECT 'buyer_order ' || id AS row, format('it is %s in group %s, which is %s', state, group_id,
    group_state) AS detail
FROM over WHERE state IN ('reserved', 'paid', 'confirmed', 'won', 'allocated', 'shipped',
    'delivered')
UNION ALL
SELECT 'reservation ' || r.id, format('it is live for group %s, which is %s', o.group_id,
    o.group_state)
FROM over o JOIN reservation r ON r.order_id = o.id AND r.state = 'live'
UNION ALL
SELECT 'peg ' || p.id, format('it is live for group %s, which is %s', o.group_id, o.group_state)
FROM over o JOIN peg p ON p.order_id = o.id AND p.state = 'live'
UNION ALL
SELECT 'payment_line ' || l.id, format('%s fen of group %s, which is %s, are not all queued',
    l.amount_fen, o.group_id, o.group_state)
FROM over o JOIN payment_line l ON l.order_id = o.id AND l.state IN ('captured', 'orphaned')
LEFT JOIN refund r ON r.line_id = l.id
GROUP BY l.id, o.group_id, o.group_state HAVING coalesce(sum(r.amount_fen), 0) < l.amount_fen
UNION ALL
SELECT 'buying_group ' || id, format('it is %s and counts %s held and %s paid seats', state,
    held_seats, paid_seats)
FROM buying_group WHERE state IN ('failed', 'cancelled') AND held_seats + paid_seats > 0
"""

# A cap may be lowered below what was given. What can be said from the rows: a product that always
# sold under a cap, in one campaign, has never had more seats than the highest of its caps.
_G5: Final = """
WITH seats AS (
    SELECT sku, count(*) AS taken FROM buyer_order
    WHERE shipped_at IS NOT NULL OR state IN ('reserved', 'paid', 'confirmed', 'won',
        'allocated', 'shipped', 'delivered') GROUP BY sku
), caps AS (
    SELECT c.sku, max(v.seat_cap) AS highest FROM campaign c
    JOIN campaign_version v ON v.campaign_id = c.id GROUP BY c.sku
    HAVING count(DISTINCT c.id) = 1 AND bool_and(v.seat_cap IS NOT NULL)
)
SELECT 'seat_budget ' || coalesce(b.sku, s.sku) AS row,
    format('%s seats taken, orders live or shipped say %s, the highest cap was %s',
        coalesce(b.taken_seats, 0), coalesce(s.taken, 0), coalesce(c.highest::text, 'none'))
    AS detail
FROM seat_budget b FULL JOIN seats s ON s.sku = b.sku LEFT JOIN caps c ON c.sku = b.sku
WHERE coalesce(b.taken_seats, 0) <> coalesce(s.taken, 0) OR b.taken_seats > c.highest
"""

# A minute more, in which the clerk finds it.
_G6: Final = """
SELECT 'buying_group ' || id AS row, format('it is %s, its deadline was %s', state, deadline_at)
    AS detail
FROM buying_group WHERE state IN ('draft', 'open', 'closing')
    AND deadline_at + (CAST(:grace_seconds AS integer) + 60) * interval '1 second' < kit_now()
"""

INVARIANTS: Final = (
    Invariant(
        name="G1",
        says="live seats never exceed the capacity, and a running group counts its own",
        breaches=_G1,
    ),
    Invariant(name="G2", says="one live order per user and group", breaches=_G2),
    Invariant(
        name="G3",
        says="a group succeeded when and only when enough seats were paid, with one event",
        breaches=_G3,
    ),
    Invariant(
        name="G4",
        says="failed or cancelled groups hold no live seat, no stock and no unqueued money",
        breaches=_G4,
    ),
    Invariant(
        name="G5",
        says="taken_seats are the seats that are live or were consumed, within the cap",
        breaches=_G5,
    ),
    Invariant(name="G6", says="no group runs past its deadline and grace", breaches=_G6),
)
