-- Every room's tables. One statement ends at a line that ends with ';'.

CREATE TABLE kit_clock (
    one BOOLEAN NOT NULL,
    ahead INTERVAL NOT NULL,
    PRIMARY KEY (one),
    CONSTRAINT kit_clock_one_row CHECK (one)
);

INSERT INTO kit_clock (one, ahead) VALUES (true, interval '0');

-- Business time. STABLE: when it is VOLATILE, an index probe on a due time becomes a scan.
CREATE FUNCTION kit_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    RETURN statement_timestamp() + (SELECT ahead FROM kit_clock);

-- Journals are corrected by new rows. A single quoted body, so that no line of it ends a statement.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''% is append-only'', TG_TABLE_NAME; END';

CREATE TABLE budget_mark (
    sku VARCHAR NOT NULL,
    mark UUID NOT NULL,
    marked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (sku, mark)
);

CREATE TABLE buyer (
    id UUID NOT NULL,
    openid VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (openid)
);

CREATE TABLE carrier (
    code VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    max_parcel_grams INTEGER DEFAULT 30000 NOT NULL,
    PRIMARY KEY (code)
);

CREATE TABLE feed_source (
    warehouse VARCHAR NOT NULL,
    last_snapshot_as_of TIMESTAMP WITH TIME ZONE,
    last_complete_as_of TIMESTAMP WITH TIME ZONE,
    last_event_at TIMESTAMP WITH TIME ZONE,
    last_heard_at TIMESTAMP WITH TIME ZONE,
    etag VARCHAR,
    last_error VARCHAR,
    PRIMARY KEY (warehouse)
);

CREATE TABLE fulfilment_plan (
    id UUID NOT NULL,
    status VARCHAR NOT NULL,
    proof VARCHAR DEFAULT '' NOT NULL,
    groups INTEGER NOT NULL,
    orders INTEGER NOT NULL,
    uncovered_orders INTEGER NOT NULL,
    cost_fen INTEGER NOT NULL,
    nearest_cost_fen INTEGER,
    detail JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE idempotent_answer (
    owner VARCHAR NOT NULL,
    route VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    body_hash BYTEA NOT NULL,
    status INTEGER NOT NULL,
    answer JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (owner, route, key)
);
CREATE INDEX idempotent_answer_age ON idempotent_answer (created_at);

CREATE TABLE inbox_message (
    id UUID NOT NULL,
    source VARCHAR NOT NULL,
    external_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    body JSONB NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    state VARCHAR(32) DEFAULT 'received' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE,
    settled_at TIMESTAMP WITH TIME ZONE,
    reason VARCHAR,
    PRIMARY KEY (id),
    CONSTRAINT inbox_once UNIQUE (source, external_id),
    CONSTRAINT inboxstate CHECK (state IN ('received', 'applied', 'parked'))
);
CREATE INDEX inbox_parked ON inbox_message (id) WHERE state = 'parked';
CREATE INDEX inbox_waiting ON inbox_message (id) WHERE state = 'received';

CREATE TABLE lease (
    name VARCHAR NOT NULL,
    holder UUID NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE ledger_transaction (
    id UUID NOT NULL,
    kind VARCHAR NOT NULL,
    reference VARCHAR NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (reference)
);

CREATE TABLE order_journal (
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    group_id UUID NOT NULL,
    kind VARCHAR NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    detail JSONB DEFAULT '{}' NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX order_journal_order ON order_journal (order_id);

CREATE TABLE outbox_message (
    id UUID NOT NULL,
    topic VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    body JSONB NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE,
    sent_at TIMESTAMP WITH TIME ZONE,
    dead_at TIMESTAMP WITH TIME ZONE,
    error VARCHAR,
    PRIMARY KEY (id)
);
CREATE INDEX outbox_unsent ON outbox_message (id) WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_unsent_by_key ON outbox_message (key, id) WHERE sent_at IS NULL AND dead_at IS NULL;

CREATE TABLE partner (
    kind VARCHAR NOT NULL,
    code VARCHAR NOT NULL,
    url VARCHAR,
    secret VARCHAR,
    previous_secret VARCHAR,
    calls_per_second FLOAT DEFAULT '50.0' NOT NULL,
    calls_at_once INTEGER DEFAULT 8 NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    PRIMARY KEY (kind, code)
);

CREATE TABLE payment (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    provider VARCHAR NOT NULL,
    state VARCHAR(32) DEFAULT 'pending' NOT NULL,
    amount_fen BIGINT NOT NULL,
    combined BOOLEAN DEFAULT false NOT NULL,
    prepay_id VARCHAR,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    poll_at TIMESTAMP WITH TIME ZONE,
    polls INTEGER DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT payment_amount CHECK (amount_fen > 0),
    CONSTRAINT paymentstate CHECK (state IN ('pending', 'closed', 'captured'))
);
CREATE INDEX payment_poll ON payment (poll_at) WHERE state = 'pending';

CREATE TABLE payment_anomaly (
    id UUID NOT NULL,
    provider VARCHAR NOT NULL,
    external_id VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    detail JSONB NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE product (
    sku VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    weight_grams INTEGER NOT NULL,
    volume_cm3 INTEGER NOT NULL,
    safety_units INTEGER DEFAULT 0 NOT NULL,
    holding_fen INTEGER DEFAULT 0 NOT NULL,
    writeoff_fen INTEGER DEFAULT 0 NOT NULL,
    max_excess_units INTEGER DEFAULT 0 NOT NULL,
    shelf_life_days INTEGER,
    moq_risk_accepted BOOLEAN DEFAULT false NOT NULL,
    PRIMARY KEY (sku),
    CONSTRAINT product_weight CHECK (weight_grams > 0),
    CONSTRAINT product_volume CHECK (volume_cm3 > 0)
);

CREATE TABLE purchase_order_journal (
    id UUID NOT NULL,
    po_id UUID NOT NULL,
    kind VARCHAR NOT NULL,
    actor VARCHAR DEFAULT '' NOT NULL,
    detail JSONB NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX purchase_order_journal_po ON purchase_order_journal (po_id);

CREATE TABLE purchase_plan (
    id UUID NOT NULL,
    key VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    objective_e4 BIGINT,
    lower_bound_e4 BIGINT,
    proof VARCHAR DEFAULT '' NOT NULL,
    problem JSONB NOT NULL,
    result JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (key)
);

CREATE TABLE supplier (
    code VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    currency VARCHAR DEFAULT 'CNY' NOT NULL,
    timezone VARCHAR DEFAULT 'Asia/Shanghai' NOT NULL,
    cut_off TIME WITHOUT TIME ZONE DEFAULT '17:00:00' NOT NULL,
    min_order_value_fen INTEGER DEFAULT 0 NOT NULL,
    fixed_order_cost_fen INTEGER DEFAULT 0 NOT NULL,
    spend_tiers JSONB NOT NULL,
    freight_fen JSONB NOT NULL,
    price_tolerance_bp INTEGER DEFAULT 0 NOT NULL,
    over_delivery_bp INTEGER DEFAULT 0 NOT NULL,
    ack_sla_hours INTEGER DEFAULT 24 NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    PRIMARY KEY (code)
);

CREATE TABLE wake_up (
    flow VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    reason VARCHAR DEFAULT '' NOT NULL,
    asked INTEGER DEFAULT 1 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (flow, key)
);
CREATE INDEX wake_up_due ON wake_up (due_at);

CREATE TABLE warehouse (
    code VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR(32) DEFAULT 'own' NOT NULL,
    province VARCHAR NOT NULL,
    city VARCHAR NOT NULL,
    lon FLOAT NOT NULL,
    lat FLOAT NOT NULL,
    timezone VARCHAR DEFAULT 'Asia/Shanghai' NOT NULL,
    cut_off TIME WITHOUT TIME ZONE DEFAULT '18:00:00' NOT NULL,
    handling_hours INTEGER DEFAULT 2 NOT NULL,
    daily_parcels INTEGER NOT NULL,
    wave_cost_fen INTEGER DEFAULT 0 NOT NULL,
    on_hold BOOLEAN DEFAULT false NOT NULL,
    PRIMARY KEY (code),
    CONSTRAINT warehouse_capacity CHECK (daily_parcels >= 0),
    CONSTRAINT warehousekind CHECK (kind IN ('own', 'third_party', 'local', 'supplier_direct'))
);

CREATE TABLE campaign (
    id UUID NOT NULL,
    code VARCHAR NOT NULL,
    sku VARCHAR NOT NULL,
    state VARCHAR(32) DEFAULT 'active' NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (code),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT campaignstate CHECK (state IN ('draft', 'active', 'paused', 'ended'))
);
CREATE INDEX campaign_listing ON campaign (state, id);

CREATE TABLE discrepancy (
    id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    units INTEGER NOT NULL,
    detail JSONB NOT NULL,
    state VARCHAR(32) DEFAULT 'open' NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT discrepancystate CHECK (state IN ('open', 'resolved'))
);
CREATE UNIQUE INDEX discrepancy_open_place ON discrepancy (sku, warehouse, kind) WHERE state = 'open';

CREATE TABLE lane (
    warehouse VARCHAR NOT NULL,
    carrier VARCHAR NOT NULL,
    province VARCHAR NOT NULL,
    first_grams INTEGER NOT NULL,
    first_fen INTEGER NOT NULL,
    step_grams INTEGER NOT NULL,
    step_fen INTEGER NOT NULL,
    days INTEGER NOT NULL,
    PRIMARY KEY (warehouse, carrier, province),
    CONSTRAINT lane_weights CHECK (first_grams > 0 AND step_grams > 0),
    CONSTRAINT lane_prices CHECK (first_fen >= 0 AND step_fen >= 0),
    CONSTRAINT lane_days CHECK (days >= 0),
    FOREIGN KEY(warehouse) REFERENCES warehouse (code),
    FOREIGN KEY(carrier) REFERENCES carrier (code)
);
CREATE INDEX lane_province ON lane (province);

CREATE TABLE ledger_entry (
    id UUID NOT NULL,
    transaction_id UUID NOT NULL,
    account VARCHAR(32) NOT NULL,
    order_id UUID NOT NULL,
    amount_fen BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT ledger_entry_amount CHECK (amount_fen <> 0),
    FOREIGN KEY(transaction_id) REFERENCES ledger_transaction (id),
    CONSTRAINT account CHECK (account IN ('provider', 'deposits', 'refunds_due', 'sales'))
);
CREATE INDEX ledger_entry_order ON ledger_entry (order_id, account);
CREATE INDEX ledger_entry_transaction ON ledger_entry (transaction_id);

CREATE TABLE payment_line (
    id UUID NOT NULL,
    payment_id UUID NOT NULL,
    order_id UUID NOT NULL,
    amount_fen BIGINT NOT NULL,
    state VARCHAR(32) DEFAULT 'pending' NOT NULL,
    transaction_id VARCHAR,
    captured_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT payment_line_amount CHECK (amount_fen > 0),
    CONSTRAINT payment_line_transaction UNIQUE (transaction_id),
    FOREIGN KEY(payment_id) REFERENCES payment (id),
    CONSTRAINT linestate CHECK (state IN ('pending', 'closed', 'captured', 'orphaned'))
);
CREATE UNIQUE INDEX payment_line_one_live ON payment_line (order_id) WHERE state = 'pending';
CREATE INDEX payment_line_order ON payment_line (order_id);
CREATE INDEX payment_line_payment ON payment_line (payment_id);

CREATE TABLE purchase_order (
    id UUID NOT NULL,
    plan_key VARCHAR NOT NULL,
    plan_id UUID NOT NULL,
    supplier VARCHAR NOT NULL,
    state VARCHAR(32) DEFAULT 'draft' NOT NULL,
    send_state VARCHAR(32) DEFAULT 'unsent' NOT NULL,
    total_fen BIGINT NOT NULL,
    supplier_ref VARCHAR,
    supplier_revision INTEGER DEFAULT 0 NOT NULL,
    proposal JSONB,
    replaces_po_id UUID,
    replanned_at TIMESTAMP WITH TIME ZONE,
    rest_until TIMESTAMP WITH TIME ZONE,
    approved_by VARCHAR,
    approved_at TIMESTAMP WITH TIME ZONE,
    closed_reason VARCHAR,
    attempts INTEGER DEFAULT 0 NOT NULL,
    send_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    due_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT purchase_order_total CHECK (total_fen >= 0),
    CONSTRAINT purchase_order_plan_key UNIQUE (plan_key),
    FOREIGN KEY(plan_id) REFERENCES purchase_plan (id),
    FOREIGN KEY(supplier) REFERENCES supplier (code),
    CONSTRAINT purchaseorderstate CHECK (state IN ('draft', 'pending_approval', 'approved', 'sent',
        'acknowledged', 'partially_accepted', 'change_proposed', 'rejected', 'in_transit',
        'partially_received', 'received', 'closed', 'on_hold', 'cancel_requested', 'cancelled')),
    CONSTRAINT sendstate CHECK (send_state IN ('unsent', 'unknown', 'sent'))
);
CREATE INDEX purchase_order_overdue ON purchase_order (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX purchase_order_rest ON purchase_order (rest_until) WHERE rest_until IS NOT NULL;
CREATE INDEX purchase_order_state ON purchase_order (state, id);
CREATE INDEX purchase_order_to_send ON purchase_order (send_at) WHERE state = 'approved';

CREATE TABLE reservation (
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    units INTEGER NOT NULL,
    state VARCHAR(32) DEFAULT 'live' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT reservation_units CHECK (units > 0),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT reservationstate CHECK (state IN ('live', 'shipped', 'dissolved'))
);
CREATE INDEX reservation_live_place ON reservation (sku, warehouse) WHERE state = 'live';
CREATE UNIQUE INDEX reservation_one_live ON reservation (order_id) WHERE state = 'live';

CREATE TABLE seat_budget (
    sku VARCHAR NOT NULL,
    budget_units INTEGER DEFAULT 0 NOT NULL,
    claimed_units INTEGER DEFAULT 0 NOT NULL,
    cap_seats INTEGER,
    taken_seats INTEGER DEFAULT 0 NOT NULL,
    ship_by_seconds INTEGER,
    recompute_at TIMESTAMP WITH TIME ZONE,
    computed_at TIMESTAMP WITH TIME ZONE,
    parts JSONB DEFAULT '{}' NOT NULL,
    PRIMARY KEY (sku),
    CONSTRAINT seat_budget_claimed CHECK (claimed_units >= 0),
    CONSTRAINT seat_budget_taken CHECK (taken_seats >= 0),
    FOREIGN KEY(sku) REFERENCES product (sku)
);
CREATE INDEX seat_budget_recompute ON seat_budget (recompute_at);

CREATE TABLE session (
    token_hash BYTEA NOT NULL,
    user_id UUID,
    role VARCHAR DEFAULT 'buyer' NOT NULL,
    actor VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (token_hash),
    FOREIGN KEY(user_id) REFERENCES buyer (id)
);

CREATE TABLE snapshot_line (
    warehouse VARCHAR NOT NULL,
    sku VARCHAR NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    on_hand INTEGER NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (warehouse, sku),
    FOREIGN KEY(sku) REFERENCES product (sku)
);

CREATE TABLE stock_level (
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    on_hand INTEGER DEFAULT 0 NOT NULL,
    held INTEGER DEFAULT 0 NOT NULL,
    reserved INTEGER DEFAULT 0 NOT NULL,
    last_seq BIGINT DEFAULT 0 NOT NULL,
    PRIMARY KEY (sku, warehouse),
    CONSTRAINT stock_level_on_hand CHECK (on_hand >= 0),
    CONSTRAINT stock_level_held CHECK (held >= 0),
    CONSTRAINT stock_level_reserved CHECK (reserved >= 0),
    FOREIGN KEY(sku) REFERENCES product (sku)
);

CREATE TABLE stock_movement (
    id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    bucket VARCHAR(32) NOT NULL,
    qty_delta INTEGER NOT NULL,
    kind VARCHAR(32) NOT NULL,
    reference VARCHAR NOT NULL,
    idempotency_key VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    reason VARCHAR DEFAULT '' NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT stock_movement_seq UNIQUE (sku, warehouse, seq),
    CONSTRAINT stock_movement_moves CHECK (qty_delta <> 0),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT bucket CHECK (bucket IN ('available', 'held')),
    CONSTRAINT movementtype CHECK (kind IN ('receipt', 'ship', 'return', 'adjust', 'transfer_out',
        'transfer_in', 'reconcile', 'hold', 'unhold')),
    UNIQUE (idempotency_key)
);
CREATE INDEX stock_movement_time ON stock_movement (sku, warehouse, occurred_at);

CREATE TABLE supply_agreement (
    id UUID NOT NULL,
    supplier VARCHAR NOT NULL,
    sku VARCHAR NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    moq INTEGER DEFAULT 1 NOT NULL,
    pack INTEGER DEFAULT 1 NOT NULL,
    max_units INTEGER,
    capacity_per_day INTEGER NOT NULL,
    lead_days INTEGER NOT NULL,
    hard_safety_days INTEGER DEFAULT 0 NOT NULL,
    soft_safety_days INTEGER DEFAULT 0 NOT NULL,
    cancel_window_hours INTEGER DEFAULT 0 NOT NULL,
    price_mode VARCHAR(32) DEFAULT 'all_units' NOT NULL,
    committed_units INTEGER,
    allowance_bp INTEGER DEFAULT 0 NOT NULL,
    released_units INTEGER DEFAULT 0 NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT agreement_version UNIQUE (supplier, sku, version),
    CONSTRAINT agreement_moq CHECK (moq > 0 AND pack > 0),
    CONSTRAINT agreement_capacity CHECK (capacity_per_day >= 0),
    CONSTRAINT agreement_max CHECK (max_units IS NULL OR max_units >= moq),
    FOREIGN KEY(supplier) REFERENCES supplier (code),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT pricemode CHECK (price_mode IN ('all_units', 'incremental'))
);
CREATE INDEX agreement_sku ON supply_agreement (sku);

CREATE TABLE supply_capability (
    supplier VARCHAR NOT NULL,
    sku VARCHAR NOT NULL,
    capacity_per_day INTEGER NOT NULL,
    days_to_sell INTEGER NOT NULL,
    lead_days INTEGER NOT NULL,
    moq_units INTEGER NOT NULL,
    open_units INTEGER DEFAULT 0 NOT NULL,
    lost_units INTEGER DEFAULT 0 NOT NULL,
    valid_to TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (supplier, sku),
    FOREIGN KEY(sku) REFERENCES product (sku)
);

CREATE TABLE supply_promise (
    line_id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    units INTEGER NOT NULL,
    pegged_units INTEGER DEFAULT 0 NOT NULL,
    promised_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state VARCHAR(32) DEFAULT 'open' NOT NULL,
    PRIMARY KEY (line_id),
    CONSTRAINT supply_promise_units CHECK (units >= 0),
    CONSTRAINT supply_promise_pegged CHECK (pegged_units >= 0),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT promisestate CHECK (state IN ('open', 'closed'))
);
CREATE INDEX supply_promise_sku ON supply_promise (sku) WHERE state = 'open';

CREATE TABLE wave (
    id UUID NOT NULL,
    warehouse VARCHAR NOT NULL,
    carrier VARCHAR NOT NULL,
    cut_off_at TIMESTAMP WITH TIME ZONE NOT NULL,
    number INTEGER DEFAULT 1 NOT NULL,
    state VARCHAR(32) DEFAULT 'open' NOT NULL,
    parcels INTEGER DEFAULT 0 NOT NULL,
    manifested_at TIMESTAMP WITH TIME ZONE,
    shipped_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT wave_slot UNIQUE (warehouse, carrier, cut_off_at, number),
    CONSTRAINT wave_parcels CHECK (parcels >= 0),
    FOREIGN KEY(warehouse) REFERENCES warehouse (code),
    FOREIGN KEY(carrier) REFERENCES carrier (code),
    CONSTRAINT wavestate CHECK (state IN ('open', 'locked', 'manifested', 'shipped', 'cancelled'))
);
CREATE INDEX wave_due ON wave (cut_off_at) WHERE state = 'open';
CREATE INDEX wave_under_way ON wave (id) WHERE state IN ('locked','manifested');

CREATE TABLE buying_group (
    id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    version INTEGER NOT NULL,
    sku VARCHAR NOT NULL,
    mode VARCHAR(32) NOT NULL,
    state VARCHAR(32) DEFAULT 'draft' NOT NULL,
    capacity INTEGER NOT NULL,
    min_size INTEGER NOT NULL,
    price_fen INTEGER NOT NULL,
    units_per_seat INTEGER NOT NULL,
    per_user_limit INTEGER NOT NULL,
    seat_ttl_seconds INTEGER NOT NULL,
    ship_within_seconds INTEGER NOT NULL,
    late_payment_policy VARCHAR(32) NOT NULL,
    warehouse_policy VARCHAR(32) NOT NULL,
    leader_id UUID NOT NULL,
    held_seats INTEGER DEFAULT 0 NOT NULL,
    paid_seats INTEGER DEFAULT 0 NOT NULL,
    progress INTEGER DEFAULT 0 NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    deadline_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    ship_by TIMESTAMP WITH TIME ZONE,
    final_price_fen INTEGER,
    merged_into UUID,
    planned_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT group_seats CHECK (held_seats >= 0 AND paid_seats >= 0),
    CONSTRAINT group_capacity CHECK (held_seats + paid_seats <= capacity),
    FOREIGN KEY(campaign_id) REFERENCES campaign (id),
    CONSTRAINT mode CHECK (mode IN ('fixed', 'tiered', 'lottery')),
    CONSTRAINT groupstate CHECK (state IN ('draft', 'open', 'closing', 'succeeded', 'drawn',
        'failed', 'cancelled')),
    CONSTRAINT latepayment CHECK (late_payment_policy IN ('reopen_if_room', 'refund', 'new_group')),
    CONSTRAINT warehousepolicy CHECK (warehouse_policy IN ('whole', 'split_ok'))
);
CREATE INDEX group_due ON buying_group (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX group_joinable ON buying_group (campaign_id, id) WHERE state IN ('draft','open');
CREATE INDEX group_sku_state ON buying_group (sku, state);

CREATE TABLE campaign_version (
    campaign_id UUID NOT NULL,
    version INTEGER NOT NULL,
    title VARCHAR NOT NULL,
    mode VARCHAR(32) NOT NULL,
    capacity INTEGER NOT NULL,
    min_size INTEGER NOT NULL,
    window_seconds INTEGER DEFAULT 86400 NOT NULL,
    seat_ttl_seconds INTEGER DEFAULT 900 NOT NULL,
    per_user_limit INTEGER DEFAULT 1 NOT NULL,
    seat_cap INTEGER,
    units_per_seat INTEGER DEFAULT 1 NOT NULL,
    list_price_fen INTEGER NOT NULL,
    price_fen INTEGER NOT NULL,
    tiers JSONB NOT NULL,
    winners INTEGER,
    late_payment_policy VARCHAR(32) NOT NULL,
    warehouse_policy VARCHAR(32) NOT NULL,
    ship_within_seconds INTEGER NOT NULL,
    allow_merge BOOLEAN DEFAULT false NOT NULL,
    terms VARCHAR DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (campaign_id, version),
    CONSTRAINT campaign_capacity CHECK (capacity BETWEEN 2 AND 1000),
    CONSTRAINT campaign_min_size CHECK (min_size BETWEEN 1 AND capacity),
    CONSTRAINT campaign_price CHECK (price_fen > 0),
    CONSTRAINT campaign_list_price CHECK (list_price_fen >= price_fen),
    CONSTRAINT campaign_units CHECK (units_per_seat > 0),
    CONSTRAINT campaign_window CHECK (window_seconds > 0),
    CONSTRAINT campaign_seat_ttl CHECK (seat_ttl_seconds > 0),
    FOREIGN KEY(campaign_id) REFERENCES campaign (id),
    CONSTRAINT mode CHECK (mode IN ('fixed', 'tiered', 'lottery')),
    CONSTRAINT latepayment CHECK (late_payment_policy IN ('reopen_if_room', 'refund', 'new_group')),
    CONSTRAINT warehousepolicy CHECK (warehouse_policy IN ('whole', 'split_ok'))
);

CREATE TABLE despatch_advice (
    po_id UUID NOT NULL,
    asn_no VARCHAR NOT NULL,
    revision INTEGER NOT NULL,
    cancelled BOOLEAN DEFAULT false NOT NULL,
    expected_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lines JSONB NOT NULL,
    PRIMARY KEY (po_id, asn_no),
    FOREIGN KEY(po_id) REFERENCES purchase_order (id)
);

CREATE TABLE peg (
    id UUID NOT NULL,
    order_id UUID NOT NULL,
    line_id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    units INTEGER NOT NULL,
    state VARCHAR(32) DEFAULT 'live' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT peg_units CHECK (units > 0),
    FOREIGN KEY(line_id) REFERENCES supply_promise (line_id),
    FOREIGN KEY(sku) REFERENCES product (sku),
    CONSTRAINT pegstate CHECK (state IN ('live', 'reserved', 'dissolved'))
);
CREATE INDEX peg_live_line ON peg (line_id) WHERE state = 'live';
CREATE UNIQUE INDEX peg_one_live ON peg (order_id) WHERE state = 'live';

CREATE TABLE price_tier (
    agreement_id UUID NOT NULL,
    min_units INTEGER NOT NULL,
    unit_price_fen INTEGER NOT NULL,
    PRIMARY KEY (agreement_id, min_units),
    CONSTRAINT price_tier_from CHECK (min_units > 0),
    CONSTRAINT price_tier_price CHECK (unit_price_fen > 0),
    FOREIGN KEY(agreement_id) REFERENCES supply_agreement (id)
);

CREATE TABLE purchase_order_line (
    id UUID NOT NULL,
    po_id UUID NOT NULL,
    line_no INTEGER NOT NULL,
    agreement_id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    warehouse VARCHAR NOT NULL,
    unit_price_fen INTEGER NOT NULL,
    ordered_units INTEGER NOT NULL,
    unanswered_units INTEGER NOT NULL,
    accepted_units INTEGER DEFAULT 0 NOT NULL,
    rejected_units INTEGER DEFAULT 0 NOT NULL,
    cancelled_units INTEGER DEFAULT 0 NOT NULL,
    open_units INTEGER DEFAULT 0 NOT NULL,
    good_units INTEGER DEFAULT 0 NOT NULL,
    damaged_units INTEGER DEFAULT 0 NOT NULL,
    short_closed_units INTEGER DEFAULT 0 NOT NULL,
    over_units INTEGER DEFAULT 0 NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    promised_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT purchase_order_line_no UNIQUE (po_id, line_no),
    CONSTRAINT purchase_order_line_ordered CHECK (ordered_units = accepted_units + rejected_units +
        cancelled_units + unanswered_units),
    CONSTRAINT purchase_order_line_accepted CHECK (accepted_units = good_units + damaged_units +
        short_closed_units + open_units),
    CONSTRAINT purchase_order_line_signs CHECK (ordered_units > 0 AND accepted_units >= 0 AND
        rejected_units >= 0 AND cancelled_units >= 0 AND unanswered_units >= 0 AND good_units >= 0
        AND damaged_units >= 0 AND short_closed_units >= 0 AND open_units >= 0),
    FOREIGN KEY(po_id) REFERENCES purchase_order (id),
    FOREIGN KEY(agreement_id) REFERENCES supply_agreement (id)
);
CREATE INDEX purchase_order_line_sku ON purchase_order_line (sku);

CREATE TABLE receipt (
    id UUID NOT NULL,
    warehouse VARCHAR NOT NULL,
    receipt_no VARCHAR NOT NULL,
    po_id UUID NOT NULL,
    asn_no VARCHAR,
    lines JSONB NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT receipt_once UNIQUE (warehouse, receipt_no),
    FOREIGN KEY(po_id) REFERENCES purchase_order (id)
);
CREATE INDEX receipt_po ON receipt (po_id);

CREATE TABLE refund (
    id UUID NOT NULL,
    line_id UUID NOT NULL,
    order_id UUID NOT NULL,
    kind VARCHAR(32) NOT NULL,
    amount_fen BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    state VARCHAR(32) DEFAULT 'queued' NOT NULL,
    provider_refund_id VARCHAR,
    attempts INTEGER DEFAULT 0 NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_error VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT refund_amount CHECK (amount_fen > 0),
    CONSTRAINT refund_once_per_line UNIQUE (line_id, kind),
    FOREIGN KEY(line_id) REFERENCES payment_line (id),
    CONSTRAINT refundkind CHECK (kind IN ('whole', 'difference')),
    CONSTRAINT refundstate CHECK (state IN ('queued', 'accepted', 'succeeded', 'refund_attention'))
);
CREATE INDEX refund_due ON refund (due_at) WHERE state IN ('queued','accepted');
CREATE INDEX refund_order ON refund (order_id);

CREATE TABLE shipment (
    id UUID NOT NULL,
    wave_id UUID,
    warehouse VARCHAR NOT NULL,
    carrier VARCHAR NOT NULL,
    province VARCHAR NOT NULL,
    city VARCHAR NOT NULL,
    weight_grams INTEGER NOT NULL,
    state VARCHAR(32) DEFAULT 'planned' NOT NULL,
    label_state VARCHAR(32) DEFAULT 'none' NOT NULL,
    label_id VARCHAR,
    tracking_no VARCHAR,
    price_fen INTEGER,
    label_error VARCHAR,
    not_before TIMESTAMP WITH TIME ZONE,
    tracking VARCHAR(32) DEFAULT 'none' NOT NULL,
    promised_at TIMESTAMP WITH TIME ZONE,
    shipped_at TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT shipment_weight CHECK (weight_grams > 0),
    FOREIGN KEY(wave_id) REFERENCES wave (id),
    FOREIGN KEY(warehouse) REFERENCES warehouse (code),
    FOREIGN KEY(carrier) REFERENCES carrier (code),
    CONSTRAINT shipmentstate CHECK (state IN ('planned', 'locked', 'shipped', 'delivered',
        'returned', 'lost', 'cancelled')),
    CONSTRAINT labelstate CHECK (label_state IN ('none', 'unknown', 'purchased', 'voided')),
    CONSTRAINT trackingstatus CHECK (tracking IN ('none', 'label_created', 'collected',
        'in_transit', 'exception', 'out_for_delivery', 'lost', 'returned', 'delivered'))
);
CREATE INDEX shipment_label_left_over ON shipment (id)
    WHERE state = 'cancelled' AND label_state IN ('purchased','unknown');
CREATE INDEX shipment_movable ON shipment (warehouse) WHERE state = 'planned';
CREATE UNIQUE INDEX shipment_tracking ON shipment (carrier, tracking_no);
CREATE INDEX shipment_wave ON shipment (wave_id);

CREATE TABLE buyer_order (
    id UUID NOT NULL,
    group_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    user_id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    quantity INTEGER NOT NULL,
    units INTEGER NOT NULL,
    price_fen INTEGER NOT NULL,
    amount_fen BIGINT NOT NULL,
    state VARCHAR(32) DEFAULT 'reserved' NOT NULL,
    claim_units INTEGER NOT NULL,
    province VARCHAR NOT NULL,
    city VARCHAR NOT NULL,
    address JSONB NOT NULL,
    reserved_until TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    paid_at TIMESTAMP WITH TIME ZONE,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    shipped_at TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    closed_reason VARCHAR,
    PRIMARY KEY (id),
    CONSTRAINT order_amounts CHECK (quantity > 0 AND units > 0 AND amount_fen > 0),
    CONSTRAINT order_claim CHECK (claim_units >= 0),
    FOREIGN KEY(group_id) REFERENCES buying_group (id),
    CONSTRAINT orderstate CHECK (state IN ('reserved', 'released', 'paid', 'confirmed', 'won',
        'lost', 'allocated', 'shipped', 'delivered', 'refund_due', 'refunding', 'refunded',
        'refund_attention'))
);
CREATE INDEX order_expiry ON buyer_order (reserved_until) WHERE state = 'reserved';
CREATE INDEX order_expiry_sku ON buyer_order (sku, reserved_until) WHERE state = 'reserved';
CREATE INDEX order_group ON buyer_order (group_id);
CREATE UNIQUE INDEX order_one_live ON buyer_order (group_id, user_id)
    WHERE state IN ('reserved','paid','confirmed','won','allocated','shipped','delivered');
CREATE INDEX order_uncovered ON buyer_order (sku, id) WHERE state IN ('confirmed','won');
CREATE INDEX order_user ON buyer_order (user_id, id);
CREATE INDEX order_user_campaign ON buyer_order (user_id, campaign_id)
    WHERE state IN ('reserved','paid','confirmed','won','allocated','shipped','delivered');

CREATE TABLE shipment_order (
    shipment_id UUID NOT NULL,
    order_id UUID NOT NULL,
    group_id UUID NOT NULL,
    sku VARCHAR NOT NULL,
    units INTEGER NOT NULL,
    PRIMARY KEY (shipment_id, order_id),
    FOREIGN KEY(shipment_id) REFERENCES shipment (id)
);
CREATE INDEX shipment_order_order ON shipment_order (order_id);

CREATE TABLE tracking_event (
    carrier VARCHAR NOT NULL,
    event_id VARCHAR NOT NULL,
    shipment_id UUID NOT NULL,
    status VARCHAR(32) NOT NULL,
    place VARCHAR DEFAULT '' NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT kit_now() NOT NULL,
    PRIMARY KEY (carrier, event_id),
    FOREIGN KEY(shipment_id) REFERENCES shipment (id),
    CONSTRAINT trackingstatus CHECK (status IN ('none', 'label_created', 'collected', 'in_transit',
        'exception', 'out_for_delivery', 'lost', 'returned', 'delivered'))
);
CREATE INDEX tracking_event_shipment ON tracking_event (shipment_id);

CREATE TRIGGER stock_movement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_movement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER ledger_transaction_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER ledger_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER order_journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER purchase_order_journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON purchase_order_journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER tracking_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tracking_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Updated in place all day: room on each page keeps those updates off the indexes.
ALTER TABLE seat_budget SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02);

ALTER TABLE buying_group SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02);

ALTER TABLE buyer_order SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02);

ALTER TABLE stock_level SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02);
