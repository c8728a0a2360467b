"""The SQL of admission, one statement each for a whole batch, in the driver's own parameters.

Keys, groups and orders are looked up by LATERAL index probes, and the first statement turns
sequential scans off for the transaction: the plans of prepared statements outlive the statistics
they were made with, and a plan made on an empty table must still be right on a large one.
"""

from typing import Final

_LIVE: Final = "('reserved','paid','confirmed','won','allocated','shipped','delivered')"

# Budgets before groups, both ascending: the gate on count(*) makes the groups wait for the
# budgets. A group's SKU and campaign never change, so they may be read before the lock.
LOCK: Final = """
WITH tuned AS MATERIALIZED (SELECT set_config('enable_seqscan', 'off', true) AS setting),
named AS MATERIALIZED (
    SELECT g.sku FROM unnest($1::uuid[]) AS want (id) CROSS JOIN LATERAL
        (SELECT sku FROM buying_group WHERE id = want.id LIMIT 1) AS g
    UNION
    SELECT c.sku FROM unnest($2::uuid[]) AS want (id) CROSS JOIN LATERAL
        (SELECT sku FROM campaign WHERE id = want.id LIMIT 1) AS c
),
budgets AS MATERIALIZED (
    SELECT b.* FROM (SELECT sku FROM named ORDER BY sku) AS n CROSS JOIN LATERAL
        (SELECT sku, budget_units, claimed_units, cap_seats, taken_seats FROM seat_budget
         WHERE sku = n.sku LIMIT 1 FOR NO KEY UPDATE) AS b
    WHERE (SELECT count(*) FROM tuned) = 1
),
groups AS MATERIALIZED (
    SELECT g.* FROM unnest($1::uuid[]) AS want (id) CROSS JOIN LATERAL
        (SELECT id, campaign_id, sku, mode, state, capacity, min_size, price_fen,
                units_per_seat, per_user_limit, seat_ttl_seconds, deadline_at, held_seats,
                paid_seats, progress FROM buying_group
         WHERE id = want.id LIMIT 1 FOR NO KEY UPDATE) AS g
    WHERE (SELECT count(*) FROM budgets) >= 0
)
SELECT 'budget', NULL::uuid, NULL::uuid, sku, NULL, NULL, budget_units, claimed_units,
    cap_seats, taken_seats, NULL::int, NULL::int, NULL::int, NULL::int, NULL::int,
    NULL::timestamptz FROM budgets
UNION ALL
SELECT 'group', id, campaign_id, sku, mode, state, capacity, min_size, price_fen,
    units_per_seat, per_user_limit, seat_ttl_seconds, held_seats, paid_seats, progress,
    deadline_at FROM groups
UNION ALL
SELECT 'campaign', c.id, NULL, c.sku, v.mode, c.state, v.capacity, v.min_size, v.price_fen,
    v.units_per_seat, v.per_user_limit, v.seat_ttl_seconds, v.window_seconds, v.version, NULL,
    NULL FROM (SELECT campaign_id AS id FROM groups UNION SELECT unnest($2::uuid[])) AS want
    CROSS JOIN LATERAL (SELECT id, sku, state, version FROM campaign
        WHERE id = want.id LIMIT 1) AS c
    CROSS JOIN LATERAL (SELECT * FROM campaign_version
        WHERE campaign_id = c.id AND version = c.version LIMIT 1) AS v
"""

READ: Final = f"""
SELECT clock.now, found.ordinal, found.body_hash, found.status, found.answer, found.groups,
    found.quantity
FROM (SELECT kit_now() AS now) AS clock LEFT JOIN (
    SELECT ask.ordinal, kept.body_hash, kept.status, kept.answer, held.groups, held.quantity
    FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::uuid[]) WITH ORDINALITY
        AS ask (owner, route, key, user_id, campaign_id, ordinal)
    LEFT JOIN LATERAL (SELECT body_hash, status, answer::text AS answer FROM idempotent_answer
        WHERE owner = ask.owner AND route = ask.route AND key = ask.key LIMIT 1) AS kept ON true
    LEFT JOIN LATERAL (SELECT array_agg(group_id) AS groups, sum(quantity)::int AS quantity
        FROM buyer_order WHERE user_id = ask.user_id AND campaign_id = ask.campaign_id
        AND state IN {_LIVE}) AS held ON true
    WHERE kept.status IS NOT NULL OR held.quantity IS NOT NULL
) AS found ON true
"""  # noqa: S608  # built from constants

# Running groups of the batch ($1) are locked already; others are taken only when nobody holds
# them. The conditions on the order stand twice because a payment may have come since the snapshot;
# nobody can have joined since, because joining takes the budget first.
#
# A leader whose seat goes hands over to the earliest paid member, else the earliest who may still
# pay. A group of the batch that is left empty waits for its joiner, who will lead it; another one
# is cancelled. In another group a leader stays while anybody else does: handing over needs the
# group's members as they are under its lock, and the clerk will do it.
RELEASE: Final = """
WITH clock AS MATERIALIZED (SELECT kit_now() AS now),
due AS MATERIALIZED (
    (SELECT o.id, o.group_id, o.claim_units FROM unnest($1::uuid[]) AS want (id)
     CROSS JOIN LATERAL (SELECT id, group_id, claim_units FROM buyer_order
         WHERE group_id = want.id AND state = 'reserved'
         AND reserved_until <= (SELECT now FROM clock)) AS o LIMIT $3)
    UNION ALL
    (SELECT o.id, o.group_id, o.claim_units FROM unnest($2::text[]) AS want (sku)
     CROSS JOIN LATERAL (SELECT id, group_id, claim_units FROM buyer_order
         WHERE sku = want.sku AND state = 'reserved'
         AND reserved_until <= (SELECT now FROM clock)
         AND group_id <> ALL ($1::uuid[]) ORDER BY reserved_until LIMIT $3) AS o)
),
others AS MATERIALIZED (
    SELECT g.id, g.leader_id FROM (SELECT DISTINCT group_id FROM due
        WHERE group_id <> ALL ($1::uuid[]) ORDER BY group_id) AS d CROSS JOIN LATERAL
        (SELECT id, leader_id FROM buying_group
         WHERE id = d.group_id AND state IN ('draft', 'open') LIMIT 1
         FOR NO KEY UPDATE SKIP LOCKED) AS g
),
released AS (
    UPDATE buyer_order AS o SET state = 'released', claim_units = 0, closed_reason = 'expired'
    FROM due WHERE o.id = due.id AND o.state = 'reserved'
    AND o.reserved_until <= (SELECT now FROM clock)
    AND (o.group_id = ANY ($1::uuid[]) OR EXISTS (SELECT FROM others WHERE id = o.group_id
        AND (leader_id <> o.user_id OR NOT EXISTS (SELECT FROM buyer_order AS stays
            WHERE stays.group_id = o.group_id AND stays.id <> o.id
            AND (stays.state = 'paid' OR (stays.state = 'reserved'
                AND stays.reserved_until > (SELECT now FROM clock)))))))
    RETURNING o.id, o.user_id, o.group_id, o.campaign_id, o.sku, o.quantity, due.claim_units
),
left_groups AS (
    SELECT r.group_id, r.seats, r.group_id = ANY ($1::uuid[]) AS own, heir.user_id AS heir_id,
        coalesce(heir.state = 'paid', false) AND was.state = 'draft' AS opens,
        (SELECT now FROM clock) + terms.window_seconds * interval '1 second' AS window_ends
    FROM (SELECT group_id, count(*)::int AS seats, array_agg(user_id) AS users,
            array_agg(id) AS orders FROM released GROUP BY group_id) AS r
    CROSS JOIN LATERAL (SELECT leader_id, state, campaign_id, version FROM buying_group
        WHERE id = r.group_id LIMIT 1) AS was
    CROSS JOIN LATERAL (SELECT window_seconds FROM campaign_version
        WHERE campaign_id = was.campaign_id AND version = was.version LIMIT 1) AS terms
    LEFT JOIN LATERAL (SELECT user_id, state FROM buyer_order
        WHERE group_id = r.group_id AND state IN ('reserved', 'paid') AND id <> ALL (r.orders)
        ORDER BY state = 'reserved', paid_at, id LIMIT 1) AS heir
        ON was.leader_id = ANY (r.users)
),
counted AS (
    UPDATE buying_group AS g SET held_seats = g.held_seats - l.seats,
        progress = g.progress + l.seats,
        leader_id = coalesce(l.heir_id, g.leader_id),
        state = CASE WHEN l.opens THEN 'open'
            WHEN NOT l.own AND g.held_seats + g.paid_seats = l.seats THEN 'cancelled'
            ELSE g.state END,
        deadline_at = CASE WHEN l.opens THEN l.window_ends ELSE g.deadline_at END,
        due_at = CASE WHEN l.opens THEN l.window_ends
            WHEN NOT l.own AND g.held_seats + g.paid_seats = l.seats THEN NULL
            ELSE g.due_at END,
        closed_at = CASE WHEN NOT l.own AND g.held_seats + g.paid_seats = l.seats
            THEN (SELECT now FROM clock) ELSE g.closed_at END
    FROM left_groups AS l WHERE g.id = l.group_id
    RETURNING g.id, g.state, g.deadline_at, l.opens
),
given_back AS (
    UPDATE seat_budget AS b SET claimed_units = b.claimed_units - r.units,
        taken_seats = b.taken_seats - r.seats
    FROM (SELECT sku, sum(claim_units) AS units, count(*) AS seats FROM released
          GROUP BY sku) AS r
    WHERE b.sku = r.sku
)
SELECT r.id, r.user_id, r.group_id, r.campaign_id, r.sku, r.quantity, r.claim_units, c.state,
    c.deadline_at, c.opens
FROM released AS r JOIN counted AS c ON c.id = r.group_id ORDER BY r.id
"""

# The locks make the WHERE of the budget always true; it stays as the last guard.
WRITE: Final = """
WITH kept AS (
    INSERT INTO idempotent_answer (owner, route, key, body_hash, status, answer)
    SELECT owner, route, key, body_hash, status, answer::jsonb
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::int[], $6::text[])
        AS k (owner, route, key, body_hash, status, answer)
),
opened AS (
    INSERT INTO buying_group (id, campaign_id, version, sku, mode, capacity, min_size, price_fen,
        units_per_seat, per_user_limit, seat_ttl_seconds, ship_within_seconds,
        late_payment_policy, warehouse_policy, leader_id, held_seats, progress, opened_at,
        deadline_at, due_at)
    SELECT n.id, n.campaign_id, n.version, n.sku, v.mode, v.capacity, v.min_size, v.price_fen,
        v.units_per_seat, v.per_user_limit, v.seat_ttl_seconds, v.ship_within_seconds,
        v.late_payment_policy, v.warehouse_policy, n.leader_id, 1, 1, $32, n.deadline_at,
        n.deadline_at
    FROM unnest($26::uuid[], $27::uuid[], $28::int[], $29::text[], $30::uuid[],
        $31::timestamptz[]) AS n (id, campaign_id, version, sku, leader_id, deadline_at)
    CROSS JOIN LATERAL (SELECT * FROM campaign_version WHERE campaign_id = n.campaign_id
        AND version = n.version LIMIT 1) AS v
),
ordered AS (
    INSERT INTO buyer_order (id, group_id, campaign_id, user_id, sku, quantity, units, price_fen,
        amount_fen, claim_units, province, city, address, reserved_until, created_at)
    SELECT id, group_id, campaign_id, user_id, sku, quantity, units, price_fen,
        price_fen::bigint * quantity, units, province, city, address::jsonb, reserved_until, $32
    FROM unnest($7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[], $11::text[], $12::int[],
        $13::int[], $14::int[], $15::text[], $16::text[], $17::text[], $18::timestamptz[])
        AS o (id, group_id, campaign_id, user_id, sku, quantity, units, price_fen, province,
        city, address, reserved_until)
),
written AS (
    INSERT INTO order_journal (id, order_id, group_id, kind, detail, occurred_at)
    SELECT id, order_id, group_id, kind, detail::jsonb, $32
    FROM unnest($19::uuid[], $20::uuid[], $21::uuid[], $22::text[], $23::text[])
        AS j (id, order_id, group_id, kind, detail)
),
told AS (
    INSERT INTO outbox_message (id, topic, key, body, occurred_at)
    SELECT id, topic, key, body::jsonb, $32
    FROM unnest($24::uuid[], $25::text[], $33::text[], $34::text[])
        AS m (id, topic, key, body)
),
joined AS (
    UPDATE buying_group AS g SET held_seats = g.held_seats + j.seats,
        progress = g.progress + j.seats, leader_id = coalesce(j.leader_id, g.leader_id)
    FROM unnest($35::uuid[], $36::int[], $37::uuid[]) AS j (id, seats, leader_id)
    WHERE g.id = j.id
    RETURNING g.id
),
claimed AS (
    UPDATE seat_budget AS b SET claimed_units = b.claimed_units + c.units,
        taken_seats = b.taken_seats + c.seats
    FROM unnest($38::text[], $39::int[], $40::int[]) AS c (sku, units, seats)
    WHERE b.sku = c.sku AND b.claimed_units + c.units <= b.budget_units
    AND (b.cap_seats IS NULL OR b.taken_seats + c.seats <= b.cap_seats)
    RETURNING b.sku
)
SELECT (SELECT count(*) FROM joined), (SELECT count(*) FROM claimed)
"""
