//! The tables of the embedded store, and how an older file becomes a current one.
//!
//! Nothing on the write path has a random index: orders are appended by their growing number, events in blocks of one
//! row a commit. A random unique index would cost ten times as much.

use rusqlite::Connection;

use super::super::store::StoreError;

/// One script a version, applied in order; `user_version` counts those that have been. Never change a released one.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE sales (
        sale_id         INTEGER PRIMARY KEY,
        tenant          TEXT NOT NULL,
        campaign        TEXT NOT NULL,
        sku             TEXT NOT NULL,
        title           TEXT NOT NULL,
        price_cents     INTEGER NOT NULL CHECK (price_cents >= 0),
        currency        TEXT NOT NULL,
        per_buyer_limit INTEGER NOT NULL CHECK (per_buyer_limit > 0),
        starts_at_ms    INTEGER NOT NULL,
        ends_at_ms      INTEGER NOT NULL,
        pay_within_s    INTEGER NOT NULL,
        rate_per_s      INTEGER,
        burst           INTEGER,
        paused          INTEGER NOT NULL,
        total           INTEGER NOT NULL,
        sold            INTEGER NOT NULL DEFAULT 0 CHECK (sold BETWEEN 0 AND total),
        UNIQUE (tenant, campaign, sku)
    ) STRICT;

    CREATE TABLE orders (
        order_id        INTEGER PRIMARY KEY,
        sale_id         INTEGER NOT NULL,
        buyer           TEXT NOT NULL,
        quantity        INTEGER NOT NULL,
        amount_cents    INTEGER NOT NULL,
        status          INTEGER NOT NULL,
        created_at_ms   INTEGER NOT NULL,
        pay_before_ms   INTEGER NOT NULL,
        idempotency_key TEXT,
        paid_at_ms      INTEGER,
        payment_attempt INTEGER NOT NULL DEFAULT 0,
        payment_method  TEXT
    ) STRICT;

    -- One row a commit and kind: the events numbered last_seq - n + 1 to last_seq, of the n orders whose numbers stand
    -- in order_ids, eight big-endian bytes each.
    CREATE TABLE event_blocks (
        last_seq        INTEGER PRIMARY KEY,
        kind            INTEGER NOT NULL,
        at_ms           INTEGER NOT NULL,
        order_ids       BLOB NOT NULL
    ) STRICT;
", "
    -- Tells this store from every other: part of what leaves the engine and must be unique outside.
    CREATE TABLE store_identity (
        only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
        identity        BLOB NOT NULL CHECK (length(identity) = 16)
    ) STRICT;
    INSERT INTO store_identity VALUES (1, randomblob(16));

    -- The journal of the order's latest attempt to pay. An attempt that is under way while these columns are added names
    -- no gateway, has no direction, and keeps the key it was begun with (form 0).
    ALTER TABLE orders ADD COLUMN payment_gateway TEXT;
    ALTER TABLE orders ADD COLUMN payment_key_form INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN payment_direction INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN payment_why TEXT;

    -- Payments that an operator ended by hand, and why: status is the order's from then on.
    CREATE TABLE operator_settlements (
        order_id        INTEGER NOT NULL,
        payment_attempt INTEGER NOT NULL,
        status          INTEGER NOT NULL,
        at_ms           INTEGER NOT NULL,
        reason          TEXT NOT NULL,
        PRIMARY KEY (order_id, payment_attempt)
    ) STRICT;
", "
    -- Time that does not count against who has to pay. sale_id 0: all sales. An outage lasts until until_ms; a gift has none.
    CREATE TABLE graces (
        sale_id         INTEGER NOT NULL,
        from_ms         INTEGER NOT NULL,
        is_gift         INTEGER NOT NULL,
        until_ms        INTEGER,
        by_ms           INTEGER NOT NULL,
        reason          TEXT NOT NULL,
        PRIMARY KEY (sale_id, from_ms, is_gift)
    ) STRICT;

    -- The latest moment at which an engine is known to have lived.
    CREATE TABLE alive (
        only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
        at_ms           INTEGER NOT NULL
    ) STRICT;
", "
    -- Counts the changes of a sale's terms and total: what an operator's change was made from.
    ALTER TABLE sales ADD COLUMN change INTEGER NOT NULL DEFAULT 1;
", "
    -- Who did what, and why. Rows are only ever added, each in the transaction of its act. No tenant: it is about all of
    -- them.
    CREATE TABLE trail (
        seq             INTEGER PRIMARY KEY,
        at_ms           INTEGER NOT NULL,
        tenant          TEXT,
        who             TEXT NOT NULL,
        role            TEXT NOT NULL,
        address         TEXT NOT NULL,
        request_id      TEXT NOT NULL,
        act             TEXT NOT NULL,
        object          TEXT NOT NULL,
        was             TEXT,
        became          TEXT,
        reason          TEXT
    ) STRICT;
    CREATE TRIGGER trail_not_changed BEFORE UPDATE ON trail
        BEGIN SELECT RAISE(ABORT, 'the trail is only ever added to'); END;
    CREATE TRIGGER trail_not_shortened BEFORE DELETE ON trail
        BEGIN SELECT RAISE(ABORT, 'the trail is only ever added to'); END;
    -- What replaces a row deletes it without the trigger above.
    CREATE TRIGGER trail_not_replaced BEFORE INSERT ON trail WHEN EXISTS (SELECT 1 FROM trail WHERE seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'the trail is only ever added to'); END;
", "
    -- When the sale's pause ends; NULL when somebody has to end it.
    ALTER TABLE sales ADD COLUMN paused_until_ms INTEGER;

    -- All sales of a tenant that are stopped at once, or were; tenant '': those of all. change counts the changes.
    CREATE TABLE stops (
        tenant          TEXT PRIMARY KEY,
        is_stopped      INTEGER NOT NULL,
        change          INTEGER NOT NULL
    ) STRICT;
", "
    -- The orders of one sale, oldest first (SQLite adds the row's number): what looks at a sale looks at nothing else. It
    -- grows at one edge a sale.
    CREATE INDEX orders_by_sale ON orders (sale_id);

    -- 0: live. 1: archived, its orders move to archived_orders. 2: deleted; the row keeps its number from being given again.
    ALTER TABLE sales ADD COLUMN retired INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sales ADD COLUMN retired_at_ms INTEGER;
    ALTER TABLE sales ADD COLUMN is_moving INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX moving_sales ON sales (is_moving) WHERE is_moving = 1;

    -- The orders of archived sales. Nothing is ever written here while somebody waits: it may have an index of buyers.
    CREATE TABLE archived_orders (
        order_id        INTEGER PRIMARY KEY,
        sale_id         INTEGER NOT NULL,
        buyer           TEXT NOT NULL,
        quantity        INTEGER NOT NULL,
        amount_cents    INTEGER NOT NULL,
        status          INTEGER NOT NULL,
        created_at_ms   INTEGER NOT NULL,
        pay_before_ms   INTEGER NOT NULL,
        idempotency_key TEXT,
        paid_at_ms      INTEGER,
        payment_attempt INTEGER NOT NULL,
        payment_method  TEXT,
        payment_gateway TEXT,
        payment_key_form INTEGER NOT NULL,
        payment_direction INTEGER NOT NULL,
        payment_why     TEXT
    ) STRICT;
    CREATE INDEX archived_orders_by_sale ON archived_orders (sale_id);
    CREATE INDEX archived_orders_by_buyer ON archived_orders (buyer);
    CREATE VIEW all_orders AS
        SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
            paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why
        FROM orders
        UNION ALL
        SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
            paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why
        FROM archived_orders;
", "
    -- What was given back of what an order paid: how often that was begun, the latest refund, and the sums of those that were
    -- made. Whatever bug there is in memory, no refund begins that would give back more than was paid (7 is refunding).
    ALTER TABLE orders ADD COLUMN refunds INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN refund_cents INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN refund_restock INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE orders ADD COLUMN refunded_cents INTEGER NOT NULL DEFAULT 0
        CHECK (refunded_cents + CASE status WHEN 7 THEN refund_cents ELSE 0 END <= amount_cents);
    ALTER TABLE orders ADD COLUMN restocked INTEGER NOT NULL DEFAULT 0 CHECK (restocked <= quantity);

    ALTER TABLE archived_orders ADD COLUMN refunds INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE archived_orders ADD COLUMN refund_cents INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE archived_orders ADD COLUMN refund_restock INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE archived_orders ADD COLUMN refunded_cents INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE archived_orders ADD COLUMN restocked INTEGER NOT NULL DEFAULT 0;
    DROP VIEW all_orders;
    CREATE VIEW all_orders AS
        SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
            paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why,
            refunds, refund_cents, refund_restock, refunded_cents, restocked
        FROM orders
        UNION ALL
        SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
            paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why,
            refunds, refund_cents, refund_restock, refunded_cents, restocked
        FROM archived_orders;

    -- Each refund. state: 0 under way, 1 made, 2 came to nothing. refunded_cents: by this one and those before it.
    CREATE TABLE refunds (
        order_id        INTEGER NOT NULL,
        number          INTEGER NOT NULL,
        state           INTEGER NOT NULL,
        amount_cents    INTEGER NOT NULL,
        restock         INTEGER NOT NULL,
        begun_at_ms     INTEGER NOT NULL,
        ended_at_ms     INTEGER,
        reason          TEXT NOT NULL,
        why             TEXT,
        refunded_cents  INTEGER NOT NULL,
        PRIMARY KEY (order_id, number)
    ) STRICT;
", "
    -- The terms of the sale's waiting room; NULL: it never had one. room_mode: 0 off, 1 by arrival, 2 drawn. The seed stays with
    -- the sale.
    ALTER TABLE sales ADD COLUMN room_mode INTEGER;
    ALTER TABLE sales ADD COLUMN room_opens_at_ms INTEGER;
    ALTER TABLE sales ADD COLUMN room_rate_per_s INTEGER;
    ALTER TABLE sales ADD COLUMN room_grace_s INTEGER;
    ALTER TABLE sales ADD COLUMN room_holds INTEGER;
    ALTER TABLE sales ADD COLUMN room_seed BLOB CHECK (length(room_seed) = 16);

    -- How far each room has come. Counts and marks never fall. drawn_at_ms: who joined before is drawn; NULL until the draw
    -- begins.
    CREATE TABLE waiting_rooms (
        sale_id         INTEGER PRIMARY KEY,
        draw_mark       INTEGER NOT NULL DEFAULT 0,
        fifo_mark_ms    INTEGER NOT NULL DEFAULT 0,
        drawn_at_ms     INTEGER,
        drawn           INTEGER NOT NULL DEFAULT 0,
        admitted        INTEGER NOT NULL DEFAULT 0,
        registered      INTEGER NOT NULL DEFAULT 0,
        rate_per_s      INTEGER NOT NULL DEFAULT 0,
        absent_permille INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- Who registered when. Time comes first in the key: the table grows at one edge a sale.
    CREATE TABLE registrations (
        sale_id         INTEGER NOT NULL,
        joined_at_ms    INTEGER NOT NULL,
        who             BLOB NOT NULL,
        PRIMARY KEY (sale_id, joined_at_ms, who)
    ) STRICT, WITHOUT ROWID;

    -- What the marks were from which moment on.
    CREATE TABLE room_moves (
        sale_id         INTEGER NOT NULL,
        at_ms           INTEGER NOT NULL,
        draw_mark       INTEGER NOT NULL,
        fifo_mark_ms    INTEGER NOT NULL,
        drawn_at_ms     INTEGER,
        drawn           INTEGER NOT NULL,
        admitted        INTEGER NOT NULL,
        registered      INTEGER NOT NULL,
        rate_per_s      INTEGER NOT NULL,
        absent_permille INTEGER NOT NULL,
        PRIMARY KEY (sale_id, at_ms)
    ) STRICT, WITHOUT ROWID;

    -- What passes are signed with where no key is configured.
    CREATE TABLE pass_secret (
        only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
        secret          BLOB NOT NULL CHECK (length(secret) = 32)
    ) STRICT;
    INSERT INTO pass_secret VALUES (1, randomblob(32));
", "
    -- Refunds that are under way, of whatever sale: few. And the orders of archived sales that are at one: a start looks for them.
    CREATE INDEX open_refunds ON refunds (order_id) WHERE state = 0;
    CREATE INDEX archived_refunding ON archived_orders (status) WHERE status = 7;
    -- As of other orders: no refund begins that would give back more than was paid.
    CREATE TRIGGER archived_refunds_within_what_was_paid BEFORE UPDATE ON archived_orders
        WHEN NEW.refunded_cents + CASE NEW.status WHEN 7 THEN NEW.refund_cents ELSE 0 END > NEW.amount_cents
            OR NEW.restocked > NEW.quantity
        BEGIN SELECT RAISE(ABORT, 'more would be given back than was paid'); END;
", "
    -- How far each endpoint of webhooks has been told of the events of orders and of the acts on sales, and how it fares. held:
    -- sales that are behind, with the number to go on from, as JSON. owner: whose deliveries count; generation counts claims and
    -- operators' acts.
    CREATE TABLE webhooks (
        name            TEXT PRIMARY KEY,
        owner           INTEGER NOT NULL DEFAULT 0,
        generation      INTEGER NOT NULL DEFAULT 0,
        orders_through  INTEGER NOT NULL,
        orders_held     TEXT NOT NULL DEFAULT '{}',
        sales_through   INTEGER NOT NULL,
        sales_held      TEXT NOT NULL DEFAULT '{}',
        failing_since_ms INTEGER,
        failures        INTEGER NOT NULL DEFAULT 0,
        failed_at_ms    INTEGER,
        failure         TEXT,
        delivered_at_ms INTEGER,
        next_try_ms     INTEGER,
        disabled_at_ms  INTEGER,
        disabled_why    TEXT
    ) STRICT, WITHOUT ROWID;
", "
    -- The round of a public beacon that a draw is mixed with. room_beacon: 1 and 2 networks of drand, 3 NIST; NULL: the seed alone
    -- draws. draw_mix: the round's value, empty where the draw is made without; NULL until that is decided, and never changed then.
    ALTER TABLE sales ADD COLUMN room_beacon INTEGER;
    ALTER TABLE sales ADD COLUMN room_beacon_round INTEGER;
    ALTER TABLE sales ADD COLUMN room_beacon_wait_s INTEGER;
    ALTER TABLE waiting_rooms ADD COLUMN draw_mix BLOB;
"];

/// The version this engine writes.
pub const VERSION: usize = MIGRATIONS.len();

/// The first version with refunds.
pub const WITH_REFUNDS: usize = 8;

/// Brings the tables to [`VERSION`], one transaction a step.
///
/// # Errors
/// A file that a newer engine wrote, or whatever the database says.
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::fatal(format!(
            "the data was written by a newer engine (schema {found}, this engine knows {VERSION}); start that one"
        )));
    }
    for (step, script) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
