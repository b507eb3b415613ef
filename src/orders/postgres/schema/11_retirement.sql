-- Version 11: sales that end. Never change a released file.

ALTER TABLE sales
    -- 0: live. 1: archived. 2: deleted; the row keeps the sale's number, which orders on their way name, from being unknown.
    ADD COLUMN retired smallint NOT NULL DEFAULT 0,
    ADD COLUMN retired_at_ms bigint,
    -- While the orders of an archived sale move: those up to this number have. NULL when there is nothing to move.
    ADD COLUMN moved_through bigint;
CREATE INDEX moving_sales ON sales (sale_id) WHERE moved_through IS NOT NULL;
CREATE TRIGGER sale_retired BEFORE UPDATE OF retired ON sales FOR EACH ROW EXECUTE FUNCTION number_sale_change();

-- The orders of archived sales. Nothing is written here while a buyer waits: it may have indexes of sales and buyers.
CREATE TABLE archived_orders (LIKE orders INCLUDING DEFAULTS);
ALTER TABLE archived_orders ADD PRIMARY KEY (order_id);
CREATE INDEX archived_orders_by_sale ON archived_orders (sale_id, order_id);
CREATE INDEX archived_orders_by_buyer ON archived_orders (buyer, order_id);

CREATE VIEW all_orders AS
    SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
        paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why,
        payment_journal_of, step_node
    FROM orders
    UNION ALL
    SELECT order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms, idempotency_key,
        paid_at_ms, payment_attempt, payment_method, payment_gateway, payment_key_form, payment_direction, payment_why,
        payment_journal_of, step_node
    FROM archived_orders;

-- Who may sell from the one may do so from the others.
DO $body$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT DISTINCT a.grantee::regrole AS who, a.privilege_type AS what
        FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'orders'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s ON archived_orders TO %s', may.what, may.who);
        IF may.what = 'SELECT' THEN
            EXECUTE format('GRANT SELECT ON all_orders TO %s', may.who);
        END IF;
    END LOOP;
END
$body$;

-- Units above all shares; of a sale that has ended none are for anybody, however they are asked for.
CREATE OR REPLACE FUNCTION unshared(in_sale integer, in_total integer) RETURNS bigint LANGUAGE sql STABLE
SET search_path = seckill
AS $body$
    SELECT CASE WHEN EXISTS (SELECT FROM sales WHERE sale_id = in_sale AND retired > 0) THEN least(0, u.units) ELSE u.units END
    FROM (
        SELECT in_total + coalesce(sum(returned - granted), 0)::bigint AS units FROM shares WHERE sale_id = in_sale
    ) AS u
$body$;

-- Looks at the next in_max orders and moves those of an archived sale; what stood in their buyers' names goes with them.
-- Returns how many rows it went through, 0 when nothing is left to move. Of two at once, one waits.
CREATE FUNCTION move_archived(in_max integer) RETURNS integer LANGUAGE plpgsql
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
                o.payment_direction, o.payment_why, o.payment_journal_of, o.step_node
    ), kept AS (
        INSERT INTO archived_orders (order_id, sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms,
                                     idempotency_key, paid_at_ms, payment_attempt, payment_method, payment_gateway,
                                     payment_key_form, payment_direction, payment_why, payment_journal_of, step_node)
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
