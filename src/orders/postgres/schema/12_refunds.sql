-- Version 12: refunds. Never change a released file.

-- What was given back of what an order paid: how often that was begun, the latest refund, and the sums of those that were made.
ALTER TABLE orders
    ADD COLUMN refunds integer NOT NULL DEFAULT 0,
    ADD COLUMN refund_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN refund_restock integer NOT NULL DEFAULT 0,
    ADD COLUMN refunded_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN restocked integer NOT NULL DEFAULT 0;
-- Whatever bug there is in memory, no refund begins that would give back more than was paid (7 is refunding). Not asked of what
-- is there already: it has no refund.
ALTER TABLE orders
    ADD CHECK (refunded_cents + CASE status WHEN 7 THEN refund_cents ELSE 0 END <= amount_cents) NOT VALID,
    ADD CHECK (restocked <= quantity) NOT VALID;

-- Each refund. state: 0 under way, 1 made, 2 came to nothing. refunded_cents: by this one and those before it.
CREATE TABLE refunds (
    order_id        bigint NOT NULL,
    number          integer NOT NULL,
    state           smallint NOT NULL,
    amount_cents    bigint NOT NULL,
    restock         integer NOT NULL,
    begun_at_ms     bigint NOT NULL,
    ended_at_ms     bigint,
    reason          text NOT NULL,
    why             text,
    refunded_cents  bigint NOT NULL,
    PRIMARY KEY (order_id, number)
);

-- Engines of the version before cannot read an order that is refunded, nor its event. None of them starts on these tables any
-- more; refunds begin when those that run have ended.
ALTER TABLE nodes ADD COLUMN knows_refunds boolean NOT NULL DEFAULT false;

-- Those of archived sales keep theirs.
ALTER TABLE archived_orders
    ADD COLUMN refunds integer NOT NULL DEFAULT 0,
    ADD COLUMN refund_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN refund_restock integer NOT NULL DEFAULT 0,
    ADD COLUMN refunded_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN restocked integer NOT NULL DEFAULT 0;
CREATE OR REPLACE VIEW all_orders AS
    SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
        paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why,
        payment_journal_of, step_node, refunds, refund_cents, refund_restock, refunded_cents, restocked
    FROM orders
    UNION ALL
    SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
        paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why,
        payment_journal_of, step_node, refunds, refund_cents, refund_restock, refunded_cents, restocked
    FROM archived_orders;

-- Who may write orders may write down refunds.
DO $body$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT DISTINCT a.grantee::regrole AS who, a.privilege_type AS what
        FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'orders'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s ON refunds TO %s', may.what, may.who);
    END LOOP;
END
$body$;
