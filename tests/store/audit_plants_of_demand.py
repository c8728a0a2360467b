"""Violations of the invariants of money, goods and groups, one at a time."""

from tests.store.audit_plant import plant

_EDIT_LEDGER = "ALTER TABLE ledger_entry DISABLE TRIGGER USER"
_EDIT_MOVES = "ALTER TABLE stock_movement DISABLE TRIGGER USER"

PLANTS = (
    # --- money ---
    plant(
        "M1",
        "ledger_transaction {posting earn shipped}",
        "sum to 1 fen",
        _EDIT_LEDGER,
        "UPDATE ledger_entry SET amount_fen = amount_fen + 1"
        " WHERE transaction_id = :posting_earn_shipped AND account = 'sales'",
    ),
    plant(
        "M1",
        "ledger_transaction {new}",
        "x has no entries",
        "INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
        " VALUES (:new, 'earn', 'x', now())",
    ),
    plant(
        "M2",
        "buyer_order {uncovered}",
        "costs 1001 fen: 1 captures of 1000 fen",
        "UPDATE buyer_order SET amount_fen = 1001 WHERE id = :uncovered",
    ),
    plant(
        "M2",
        "buyer_order {paid}",
        "received 1000 fen, the ledger says 2000",
        "INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
        " VALUES (:new, 'capture', 'again', now())",
        "INSERT INTO ledger_entry (id, transaction_id, account, order_id, amount_fen) VALUES"
        " (gen_random_uuid(), :new, 'provider', :paid, 1000),"
        " (gen_random_uuid(), :new, 'deposits', :paid, -1000)",
    ),
    plant(
        "M3",
        "payment_line {line owed}",
        "refunds of 1001 fen for 1000 fen",
        "UPDATE refund SET amount_fen = 1001 WHERE id = :refund_owed",
    ),
    plant(
        "M4",
        "buyer_order {refunded}",
        "1000 fen came, 999 fen went back",
        _EDIT_LEDGER,
        "UPDATE refund SET amount_fen = 999 WHERE id = :refund_refunded",
        "INSERT INTO refund (id, line_id, order_id, kind, amount_fen, reason) VALUES"
        " (:new, :line_refunded, :refunded, 'difference', 1, 'test')",
        "UPDATE ledger_entry SET amount_fen = amount_fen / 1000 * 999"
        " WHERE transaction_id = :posting_refund_refunded",
    ),
    plant(
        "M4",
        "buyer_order {owed}",
        "returned 1000 fen, the ledger says 0",
        "UPDATE refund SET state = 'succeeded' WHERE id = :refund_owed",
    ),
    plant(
        "M5",
        "payment_line {line uncovered}",
        "T-paid is captured 2 times",
        "ALTER TABLE payment_line DROP CONSTRAINT payment_line_transaction",
        "UPDATE payment_line SET transaction_id = 'T-paid' WHERE id = :line_uncovered",
    ),
    plant(
        "M5",
        "payment_line {line paid}",
        "without a transaction",
        "UPDATE payment_line SET transaction_id = NULL WHERE id = :line_paid",
    ),
    plant(
        "M6",
        "buyer_order {late}",
        "it is released and 1000 fen rest on it",
        _EDIT_LEDGER,
        "UPDATE ledger_entry SET account = 'sales'"
        " WHERE transaction_id = :posting_refund_due_late AND account = 'deposits'",
    ),
    plant(
        "M6",
        "payment_line {line late}",
        "1000 fen are captured for order {late}, which is released",
        "UPDATE payment_line SET state = 'captured' WHERE id = :line_late",
    ),
    plant(
        "M7",
        "payment_line {line refunded}",
        "only 0 fen are refunded, queued or listed",
        "UPDATE buyer_order SET state = 'refund_due' WHERE id = :refunded",
        "DELETE FROM refund WHERE id = :refund_refunded",
        "ALTER TABLE ledger_entry DISABLE TRIGGER USER",
        "DELETE FROM ledger_entry WHERE transaction_id = :posting_refund_refunded",
        "ALTER TABLE ledger_transaction DISABLE TRIGGER USER",
        "DELETE FROM ledger_transaction WHERE id = :posting_refund_refunded",
    ),
    # --- goods ---
    plant(
        "S1",
        "stock_level tea east",
        "22 on hand, 1 of them held; movements say 21 and 1",
        "UPDATE stock_level SET on_hand = 22",
    ),
    plant(
        "S1",
        "stock_level tea east",
        "5 movements are numbered 1 to 6",
        _EDIT_MOVES,
        "UPDATE stock_movement SET seq = 6 WHERE id = :movement_1",
        "UPDATE stock_movement SET seq = 1 WHERE id = :movement_2",
        "UPDATE stock_level SET last_seq = 6",
    ),
    plant(
        "S2",
        "stock_level tea east",
        "2 reserved, live reservations are for 1",
        "UPDATE stock_level SET reserved = 2",
    ),
    plant(
        "S3",
        "stock_level tea east",
        "1 reserved and 1 held of 1 on hand",
        "INSERT INTO stock_movement (id, sku, warehouse, seq, bucket, qty_delta, kind, reference,"
        " idempotency_key, actor, occurred_at) VALUES (:new, 'tea', 'east', 6, 'available', -20,"
        " 'adjust', 'count', 'count', 'test', now())",
        "UPDATE stock_level SET on_hand = 1, last_seq = 6",
    ),
    plant(
        "S4",
        "buyer_order {uncovered}",
        "needs 1 units: 0 reservations of 0, 0 pegs of 0, a claim of 0",
        "UPDATE buyer_order SET claim_units = 0 WHERE id = :uncovered",
        "UPDATE seat_budget SET claimed_units = claimed_units - 1 WHERE sku = 'tea'",
    ),
    plant(
        "S4",
        "buyer_order {allocated}",
        "1 reservations of 1, 1 pegs of 1",
        "INSERT INTO peg (id, order_id, line_id, sku, warehouse, units)"
        " VALUES (:new, :allocated, :po_line, 'tea', 'east', 1)",
        "UPDATE supply_promise SET pegged_units = 2",
    ),
    plant(
        "S5",
        "reservation {new}",
        "1 units for order {refunded}, which is refunded",
        "INSERT INTO reservation (id, order_id, sku, warehouse, units)"
        " VALUES (:new, :refunded, 'tea', 'east', 1)",
        "UPDATE stock_level SET reserved = 2",
    ),
    plant(
        "S5",
        "buyer_order {refunded}",
        "1 units for order {refunded}, which is refunded",
        "UPDATE buyer_order SET claim_units = 1 WHERE id = :refunded",
    ),
    plant(
        "S6",
        "buyer_order {shipped}",
        "2 of its reservations shipped",
        "INSERT INTO reservation (id, order_id, sku, warehouse, units, state, resolved_at)"
        " VALUES (:new, :shipped, 'tea', 'east', 1, 'shipped', now())",
    ),
    plant(
        "S6",
        "reservation {reservation shipped}",
        "it is shipped, resolved at ",
        "UPDATE reservation SET resolved_at = NULL WHERE id = :reservation_shipped",
    ),
    plant(
        "S6",
        "reservation {reservation shipped}",
        "1 units shipped from east, the ledger says 0 from nowhere",
        _EDIT_MOVES,
        "UPDATE stock_movement SET idempotency_key = 'other' WHERE id = :movement_5",
    ),
    plant(
        "S7",
        "seat_budget tea",
        "4 units claimed, live orders claim 3",
        "UPDATE seat_budget SET claimed_units = 4 WHERE sku = 'tea'",
    ),
    plant(
        "S8",
        "supply_promise {po line}",
        "1 units pegged (1 noted) of 0 to come",
        "UPDATE supply_promise SET units = 0",
    ),
    plant(
        "S8",
        "supply_promise {po line}",
        "1 units pegged (2 noted) of 7 to come",
        "UPDATE supply_promise SET pegged_units = 2",
    ),
    # --- groups ---
    plant(
        "G1",
        "buying_group {group open}",
        "2 live seats, 1 of them held, for 2; it counts 0 paid and 1 held",
        "UPDATE buying_group SET paid_seats = 0 WHERE id = :group_open",
    ),
    plant(
        "G1",
        "buying_group {group ready}",
        "2 live seats, 0 of them held, for 1",
        "ALTER TABLE buying_group DROP CONSTRAINT group_capacity",
        "UPDATE buying_group SET capacity = 1 WHERE id = :group_ready",
    ),
    plant(
        "G2",
        "buying_group {group ready}",
        "has 2 live orders in it",
        "DROP INDEX order_one_live",
        "UPDATE buyer_order SET user_id = :user_pegged WHERE id = :allocated",
    ),
    plant(
        "G3",
        "buying_group {group ready}",
        "it is succeeded: 2 confirmed seats and 2 paid of 2 (at least 2), 2 success events",
        "INSERT INTO outbox_message (id, topic, key, body, sent_at)"
        " VALUES (:new, 'group.succeeded', CAST(:group_ready AS uuid)::text, '{}', now())",
    ),
    plant(
        "G3",
        "buying_group {group ladder}",
        "1 confirmed seats",
        "UPDATE buyer_order SET confirmed_at = NULL WHERE id = :second",
    ),
    plant(
        "G3",
        "buying_group {group ladder}",
        "of 4 (at least 2), 1 success events",
        "UPDATE buying_group SET closed_at = opened_at WHERE id = :group_ladder",
    ),
    plant(
        "G3",
        "buying_group {group open}",
        "it is open: 0 confirmed seats and 2 paid of 2",
        "UPDATE buyer_order SET state = 'paid', paid_at = now() WHERE id = :held",
        "UPDATE payment_line SET state = 'captured', transaction_id = 'T-held'"
        " WHERE id = :line_held",
        "INSERT INTO ledger_transaction (id, kind, reference, occurred_at)"
        " VALUES (:new, 'capture', 'capture:held', now())",
        "INSERT INTO ledger_entry (id, transaction_id, account, order_id, amount_fen) VALUES"
        " (gen_random_uuid(), :new, 'provider', :held, 1000),"
        " (gen_random_uuid(), :new, 'deposits', :held, -1000)",
        "UPDATE buying_group SET held_seats = 0, paid_seats = 2 WHERE id = :group_open",
    ),
    plant(
        "G4",
        "buyer_order {owed}",
        "it is paid in group {group failed}, which is failed",
        "UPDATE buyer_order SET state = 'paid' WHERE id = :owed",
        "UPDATE seat_budget SET taken_seats = taken_seats + 1 WHERE sku = 'tea'",
    ),
    plant(
        "G4",
        "buying_group {group failed}",
        "it is failed and counts 0 held and 1 paid seats",
        "UPDATE buying_group SET paid_seats = 1 WHERE id = :group_failed",
    ),
    plant(
        "G5",
        "seat_budget tea",
        "6 seats taken, orders live or shipped say 7",
        "UPDATE seat_budget SET taken_seats = 6 WHERE sku = 'tea'",
    ),
    plant(
        "G5",
        "seat_budget tea",
        "7 seats taken, orders live or shipped say 7, the highest cap was 6",
        "UPDATE campaign_version SET seat_cap = 6 WHERE campaign_id = :campaign_tea",
    ),
    plant(
        "G6",
        "buying_group {group open}",
        "it is open, its deadline was",
        "UPDATE buying_group SET deadline_at = kit_now() - interval '12 minutes'"
        " WHERE id = :group_open",
    ),
)
