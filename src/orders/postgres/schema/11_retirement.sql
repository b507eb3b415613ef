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
