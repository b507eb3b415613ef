-- One win as a transaction of its own, the way it is mostly written: take a unit of the hot row, keep the buyer to one,
-- insert the order. For pgbench, after naive-schema.sql:
--   pgbench -n -f perf/postgres/naive.sql -M prepared -c 16 -j 2 -T 10 "$DATABASE_URL"
\set buyer random(1, 1000000000000)
BEGIN;
UPDATE naive_sales SET sold = sold + 1 WHERE sale_id = 1 AND sold < total;
INSERT INTO naive_orders (sale_id, buyer, quantity, amount_cents, status, created_at_ms, pay_before_ms)
    VALUES (1, 'buyer-' || :buyer, 1, 500, 1, 0, 0);
COMMIT;
