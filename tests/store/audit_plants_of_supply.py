"""Violations of the invariants of supply, logistics and events, one at a time."""

from tests.store.audit_plant import plant

_EDIT_MOVES = "ALTER TABLE stock_movement DISABLE TRIGGER USER"

PLANTS = (
    # --- supply ---
    plant(
        "P1",
        "purchase_order_line {po line}",
        "20 ordered, but 20 accepted, 5 rejected",
        "ALTER TABLE purchase_order_line DROP CONSTRAINT purchase_order_line_ordered",
        "UPDATE purchase_order_line SET rejected_units = 5 WHERE id = :po_line",
    ),
    plant(
        "P2",
        "purchase_order_line {po line}",
        "20 accepted, but 12 good, 1 damaged, 0 closed short and 8 open",
        "ALTER TABLE purchase_order_line DROP CONSTRAINT purchase_order_line_accepted",
        "UPDATE purchase_order_line SET open_units = 8 WHERE id = :po_line",
    ),
    plant(
        "P3",
        "purchase_order {purchase}",
        "20 units of tea at 980 fen in all; MOQ 10, pack 5, the price list says 1000 fen",
        "UPDATE purchase_order_line SET unit_price_fen = 49 WHERE id = :po_line",
    ),
    plant(
        "P3",
        "purchase_order {purchase}",
        "MOQ 25",
        "UPDATE supply_agreement SET moq = 25 WHERE id = :agreement",
    ),
    plant(
        "P3",
        "purchase_order {purchase}",
        "pack 8",
        "UPDATE supply_agreement SET pack = 8 WHERE id = :agreement",
    ),
    plant(
        "P3",
        "purchase_order {ladder purchase}",
        "25 units of mug at 750 fen in all; MOQ 10, pack 5, the price list says 720 fen",
        "UPDATE purchase_order_line SET unit_price_fen = 30 WHERE id = :ladder_line_2",
    ),
    plant(
        "P4",
        "receipt east R1",
        "it counts 13 units of tea, the stock ledger 12",
        _EDIT_MOVES,
        "UPDATE stock_movement SET idempotency_key = 'else', kind = 'adjust'"
        " WHERE id = :movement_3",
    ),
    plant(
        "P4",
        "purchase_order_line {po line}",
        "13 good, 1 damaged and 0 over, receipts count 13",
        "UPDATE purchase_order_line SET good_units = 13, open_units = 6 WHERE id = :po_line",
    ),
    plant(
        "P5",
        "purchase_order {purchase}",
        "2 orders have the plan key plan:purchase",
        "ALTER TABLE purchase_order DROP CONSTRAINT purchase_order_plan_key",
        "UPDATE purchase_order SET plan_key = 'plan:purchase'",
    ),
    plant(
        "P6",
        "supply_agreement {agreement}",
        "111 units released and 7 under way of 100 committed, allowance 1000 bp",
        "UPDATE supply_agreement SET released_units = 111 WHERE id = :agreement",
    ),
    # --- logistics ---
    plant(
        "L1",
        "buying_group {group ready}",
        "from 2 warehouses",
        "INSERT INTO warehouse (code, name, province, city, lon, lat, daily_parcels)"
        " VALUES ('west', 'West', '510000', '510100', 104, 30, 10)",
        "UPDATE shipment SET warehouse = 'west' WHERE id = :parcel_allocated",
    ),
    plant(
        "L1",
        "buying_group {group ready}",
        "from 1 warehouses at 1 instants; 1 of its parcels stay behind",
        "INSERT INTO wave (id, warehouse, carrier, cut_off_at, state, parcels)"
        " VALUES (:new, 'east', 'quick', now(), 'locked', 1)",
        "UPDATE shipment SET wave_id = :new, state = 'locked' WHERE id = :parcel_allocated",
    ),
    plant(
        "L2",
        "buyer_order {shipped}",
        "it shipped 2 of 1 units",
        "UPDATE shipment_order SET units = 2 WHERE order_id = :shipped",
    ),
    plant(
        "L2",
        "buyer_order {uncovered}",
        "it shipped 1 of 1 units and is confirmed; its group is open",
        # Its parcel has left although its group had not succeeded.
        "INSERT INTO buying_group SELECT (g).* FROM (SELECT jsonb_populate_record(b,"
        "  jsonb_build_object('id', CAST(:new AS uuid), 'state', 'open', 'paid_seats', 0,"
        "  'held_seats', 0, 'warehouse_policy', 'split_ok', 'deadline_at', '2100-01-01'))"
        "  AS g FROM buying_group b WHERE b.id = :group_short) made",
        "UPDATE buyer_order SET group_id = :new, confirmed_at = NULL, claim_units = 1"
        " WHERE id = :uncovered",
        "UPDATE buying_group SET paid_seats = 1 WHERE id = :new",
        "UPDATE buying_group SET state = 'cancelled', held_seats = 0, paid_seats = 0"
        " WHERE id = :group_short",
        "DELETE FROM outbox_message WHERE id = :success_short",
        "UPDATE buyer_order SET confirmed_at = NULL WHERE id = :refunded",
        "INSERT INTO shipment (id, wave_id, warehouse, carrier, province, city, weight_grams,"
        " state, label_state, label_id, tracking_no) VALUES (:new, :wave, 'east', 'quick',"
        " '320000', '320200', 500, 'shipped', 'purchased', 'L-new', 'N-new')",
        "INSERT INTO shipment_order (shipment_id, order_id, group_id, sku, units)"
        " VALUES (:new, :uncovered, :new, 'tea', 1)",
        "UPDATE wave SET parcels = 3",
    ),
    plant(
        "L3",
        "shipment {parcel delivered}",
        "label L-delivered of quick is on 2 parcels",
        "UPDATE shipment SET label_id = 'L-delivered' WHERE id = :parcel_shipped",
    ),
    plant(
        "L3",
        "shipment {parcel shipped}",
        "it is shipped in a wave that is shipped, and its label is unknown",
        "UPDATE shipment SET label_state = 'unknown' WHERE id = :parcel_shipped",
    ),
    plant(
        "L3",
        "buyer_order {pegged}",
        "2 of its 1 units are in live parcels",
        "INSERT INTO shipment_order (shipment_id, order_id, group_id, sku, units)"
        " VALUES (:parcel_allocated, :pegged, :group_ready, 'tea', 1)",
    ),
    plant(
        "L4",
        "wave {wave}",
        "it counts 3 parcels and holds 2",
        "UPDATE wave SET parcels = 3",
    ),
    plant(
        "L4",
        "warehouse east",
        "2 parcels leave at",
        "UPDATE warehouse SET daily_parcels = 1",
    ),
    plant(
        "L5",
        "shipment {parcel shipped}",
        "its tracking is in_transit, the highest heard is collected",
        "UPDATE shipment SET tracking = 'in_transit' WHERE id = :parcel_shipped",
    ),
    # --- events ---
    plant(
        "E1",
        "buyer_order {paid}",
        "it is missing from the journal and in the outbox",
        "ALTER TABLE order_journal DISABLE TRIGGER USER",
        "DELETE FROM order_journal WHERE id = :journal_paid",
    ),
    plant(
        "E1",
        "buyer_order {paid}",
        "it is in the journal and missing from the outbox",
        "DELETE FROM outbox_message WHERE id = :event_paid",
    ),
    plant(
        "E2",
        "outbox_message {event paid}",
        "is unsent since",
        "UPDATE outbox_message SET sent_at = NULL, created_at = now() - interval '61 seconds'"
        " WHERE id = :event_paid",
    ),
    plant(
        "E3",
        "inbox_message {letter}",
        "purchase_order.accepted from suppliers:jade waits since",
        "UPDATE inbox_message SET state = 'received', received_at = now() - interval '61 seconds'",
    ),
    plant(
        "E4",
        "inbox_message suppliers:jade evt-1",
        "it was taken in 2 times, and applied 2 times",
        "ALTER TABLE inbox_message DROP CONSTRAINT inbox_once",
        "INSERT INTO inbox_message (id, source, external_id, kind, body, occurred_at, state)"
        " SELECT :new, source, external_id, kind, body, occurred_at, state FROM inbox_message",
    ),
)
