-- Version 14: sales that end while several engines sell. Never change a released file.

-- Engines of the version before go on selling a sale that has ended, in vain. None of them starts on these tables any more;
-- sales end when those that run have ended.
ALTER TABLE nodes ADD COLUMN knows_retirement boolean NOT NULL DEFAULT false;

-- Whether Redis may still have a book of a sale that has ended. Of a deleted one, too: its name may be another one's by then.
ALTER TABLE sales ADD COLUMN has_book boolean NOT NULL DEFAULT true;
CREATE INDEX left_books ON sales (sale_id) WHERE has_book AND retired > 0;

-- What changed since, without looking at every sale that ever was.
CREATE INDEX sales_by_change ON sales (change);

-- The orders of one sale, oldest first, for whoever counts, lists or moves them. Of an expression, which none of the writing
-- transaction's statements names: a plan that was made while the table was empty can never take this index for theirs.
CREATE INDEX orders_by_sale ON orders ((sale_id::bigint), order_id);
DROP INDEX archived_orders_by_sale;
CREATE INDEX archived_orders_by_sale ON archived_orders ((sale_id::bigint), order_id);
-- Those that are under way, of whatever sale: few.
CREATE INDEX open_refunds ON refunds (order_id) WHERE state = 0;

-- Moves the next in_max orders of an archived sale; what stood in their buyers' names goes with them. Returns how many rows it
-- went through, 0 when nothing is left to move, or others are at it: who moves orders writes those of buyers, too, and waits for
-- no other engine.
CREATE OR REPLACE FUNCTION move_archived(in_max integer) RETURNS integer LANGUAGE plpgsql
SET search_path = seckill
-- Plans of a table that is full at one moment and empty at the next.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $body$
DECLARE
    moving bigint;
    through bigint;
    last_number bigint;
    gone integer;
BEGIN
    SELECT sale_id, moved_through INTO moving, through FROM sales WHERE moved_through IS NOT NULL
        ORDER BY sale_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- From where the last one ended: what was deleted before it is not gone through again.
    WITH next AS MATERIALIZED (
        SELECT order_id FROM orders WHERE sale_id::bigint = moving AND order_id > through ORDER BY order_id LIMIT in_max
    ), moved AS (
        DELETE FROM orders o USING next n WHERE o.order_id = n.order_id
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
    -- Purchases that another engine had under way at the end are written down late, as refused: with lower numbers.
    IF EXISTS (SELECT FROM orders WHERE sale_id::bigint = moving) THEN
        UPDATE sales SET moved_through = 0 WHERE sale_id = moving;
        RETURN 1;
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
