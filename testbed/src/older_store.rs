//! Stores as older engines leave them.

macro_rules! to_version_11 {
    () => {
        "
    ALTER TABLE waiting_rooms DROP COLUMN draw_mix;
    ALTER TABLE sales DROP COLUMN room_beacon;
    ALTER TABLE sales DROP COLUMN room_beacon_round;
    ALTER TABLE sales DROP COLUMN room_beacon_wait_s;
    PRAGMA user_version = 11;
"
    };
}

/// Takes the embedded store of an engine that is not at work back to the version in which no draw was mixed with a beacon.
pub const TO_VERSION_11: &str = to_version_11!();

/// Takes the embedded store of an engine that is not running back to the first version of its tables.
pub const TO_VERSION_1: &str = concat!(
    to_version_11!(),
    "
    DROP VIEW all_orders;
    DROP TABLE archived_orders;
    DROP INDEX orders_by_sale;
    DROP INDEX moving_sales;
    ALTER TABLE sales DROP COLUMN is_moving;
    ALTER TABLE sales DROP COLUMN retired;
    ALTER TABLE sales DROP COLUMN retired_at_ms;
    DROP TABLE store_identity;
    DROP TABLE operator_settlements;
    DROP TABLE graces;
    DROP TABLE alive;
    DROP TABLE trail;
    DROP TABLE stops;
    DROP TABLE refunds;
    DROP TABLE waiting_rooms;
    DROP TABLE registrations;
    DROP TABLE room_moves;
    DROP TABLE pass_secret;
    DROP TABLE webhooks;
    ALTER TABLE sales DROP COLUMN room_mode;
    ALTER TABLE sales DROP COLUMN room_opens_at_ms;
    ALTER TABLE sales DROP COLUMN room_rate_per_s;
    ALTER TABLE sales DROP COLUMN room_grace_s;
    ALTER TABLE sales DROP COLUMN room_holds;
    ALTER TABLE sales DROP COLUMN room_seed;
    ALTER TABLE orders DROP COLUMN payment_gateway;
    ALTER TABLE orders DROP COLUMN payment_key_form;
    ALTER TABLE orders DROP COLUMN payment_direction;
    ALTER TABLE orders DROP COLUMN payment_why;
    ALTER TABLE orders DROP COLUMN restocked;
    ALTER TABLE orders DROP COLUMN refunded_cents;
    ALTER TABLE orders DROP COLUMN refund_restock;
    ALTER TABLE orders DROP COLUMN refund_cents;
    ALTER TABLE orders DROP COLUMN refunds;
    ALTER TABLE sales DROP COLUMN change;
    ALTER TABLE sales DROP COLUMN paused_until_ms;
    PRAGMA user_version = 1;
"
);
