-- What naive.sql writes to.
DROP TABLE IF EXISTS naive_sales, naive_orders;
CREATE TABLE naive_sales (
    sale_id integer PRIMARY KEY,
    total   integer NOT NULL,
    sold    integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO naive_sales VALUES (1, 2000000000);
CREATE TABLE naive_orders (
    order_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale_id       integer NOT NULL,
    buyer         text NOT NULL,
    quantity      integer NOT NULL,
    amount_cents  bigint NOT NULL,
    status        smallint NOT NULL,
    created_at_ms bigint NOT NULL,
    pay_before_ms bigint NOT NULL,
    UNIQUE (sale_id, buyer)
);
