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

-- As in version 11, with the orders' refunds: looks at the next in_max orders and moves those of an archived sale; what stood in
-- their buyers' names goes with them.
-- Returns how many rows it went through, 0 when nothing is left to move. Of two at once, one waits.
CREATE OR REPLACE FUNCTION move_archived(in_max integer) RETURNS integer LANGUAGE plpgsql
SET search_path = seckill
-- Plans of a table that is full at one moment and empty at the next.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $body$
DECLARE
    moving integer;
    through bigint;
    last_number bigint;
    gone integer;
BEGIN
    SELECT sale_id, moved_through INTO moving, through FROM sales WHERE moved_through IS NOT NULL
        ORDER BY sale_id LIMIT 1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        -- Or the one that was waited for is done, and others are not.
        RETURN (SELECT count(*) FROM sales WHERE moved_through IS NOT NULL);
    END IF;
    WITH next AS MATERIALIZED (
        SELECT order_id FROM orders WHERE order_id > through ORDER BY order_id LIMIT in_max
    ), moved AS (
        DELETE FROM orders o USING next n WHERE o.order_id = n.order_id AND o.sale_id = moving
            RETURNING o.order_id, o.sale_id, o.buyer, o.quantity, o.amount_cents, o.status, o.created_at_ms, o.pay_before_ms,
                o.idempotency_key, o.paid_at_ms, o.payment_attempt, o.payment_method, o.payment_gateway, o.payment_key_form,
                o.payment_direction, o.payment_why, o.payment_journal_of, o.step_node, o.refunds, o.refund_cents, o.refund_restock,
                o.refunded_cents, o.restocked
    ), kept AS (
        INSERT INTO archived_orders (order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms,
                                     idempotency_key, paid_at_ms, payment_attempt, payment_method, payment_gateway,
                                     payment_key_form, payment_direction, payment_why, payment_journal_of, step_node, refunds,
                                     refund_cents, refund_restock, refunded_cents, restocked)
            SELECT * FROM moved
    ), let_go AS (
        DELETE FROM buyers b USING moved m WHERE b.sale_id = moving AND b.buyer = m.buyer
    )
    SELECT max(order_id), count(*) INTO last_number, gone FROM next;
    IF gone > 0 THEN
        UPDATE sales SET moved_through = last_number WHERE sale_id = moving;
        RETURN gone;
    END IF;
    -- Names of buyers whose purchases came to nothing.
    DELETE FROM buyers b USING (SELECT buyer FROM buyers WHERE sale_id = moving LIMIT in_max) AS n
        WHERE b.sale_id = moving AND b.buyer = n.buyer;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone = 0 THEN
        UPDATE sales SET moved_through = NULL WHERE sale_id = moving;
        gone := 1;
    END IF;
    RETURN gone;
END
$body$;
