-- Version 16: what orders of archived sales have paid is given back, too. Never change a released file.

-- Whatever bug there is in memory, no refund begins that would give back more than was paid (7 is refunding).
ALTER TABLE archived_orders
    ADD CHECK (refunded_cents + CASE status WHEN 7 THEN refund_cents ELSE 0 END <= amount_cents) NOT VALID,
    ADD CHECK (restocked <= quantity) NOT VALID;
-- What a start has to go on with; few.
CREATE INDEX archived_refunding ON archived_orders (order_id) WHERE status = 7;
