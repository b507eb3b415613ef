-- Version 3: the store's identity, and what an attempt to pay decides before it asks its gateway. Never change a released
-- file.

-- Tells this store from every other: part of what leaves the engine and must be unique outside. Of two random UUIDs,
-- each of which has 122 random bits.
CREATE TABLE store_identity (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    identity        bytea NOT NULL CHECK (length(identity) = 16)
);
INSERT INTO store_identity (identity)
    VALUES (substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) FROM 1 FOR 16));

-- The journal of the order's latest attempt to pay. An attempt that is under way while these columns are added names no
-- gateway, has no direction, and keeps the key it was begun with (form 0).
ALTER TABLE orders
    ADD COLUMN payment_gateway text,
    ADD COLUMN payment_key_form smallint NOT NULL DEFAULT 0,
    ADD COLUMN payment_direction smallint NOT NULL DEFAULT 0,
    ADD COLUMN payment_why text,
    -- The attempt that the journal speaks of. An older engine beside this one begins attempts without a journal.
    ADD COLUMN payment_journal_of integer NOT NULL DEFAULT 0;

-- Payments that an operator ended by hand, and why: status is the order's from then on.
CREATE TABLE operator_settlements (
    order_id        bigint NOT NULL,
    payment_attempt integer NOT NULL,
    status          smallint NOT NULL,
    at_ms           bigint NOT NULL,
    reason          text NOT NULL,
    PRIMARY KEY (order_id, payment_attempt)
);
