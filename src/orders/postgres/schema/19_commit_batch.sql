-- Version 19, the writing transaction: as in version 16, and no order expires whose deadline was moved since that was decided.
-- Engines of the version before call it by its older parameters, see the end. Never change a released file.
--
-- Raises  SK001  a step does not fit its order any more, time was granted since, or another batch of this node was faster at the
--                share: read the orders again, and decide again
--         SK002  more of these sales would have been sold than the node's share (their numbers in DETAIL)
--         SK003  the node's incarnation is not current
--         SK004  the batch's number is burned: somebody who did not hear of the batch has made sure that it never comes
--
-- Order of locks: the fence (shared), the writer's row, what is granted (shared, where an order expires), the sales of refunds
-- that begin (against their end only), buyers (sorted, those of freed units, too), orders, those of archived sales, then for each
-- sale in its turn: the sale, where a share is taken, and the node's share. But for the buyers and orders that two of them are
-- about, the batches of two nodes wait for no row of each other.
CREATE FUNCTION commit_batch(
    in_node smallint, in_incarnation bigint, in_writer smallint, in_batch bigint,
    -- Orders. The first in_placed are purchases, one buyer once in each group; a group is of one sale, sorted by buyer, and
    -- ends at group_end. The rest are refused already and hold no units.
    in_placed integer, group_end integer[],
    in_order bigint[], in_sale integer[], in_buyer text[], in_quantity integer[], in_amount bigint[],
    in_created bigint[], in_pay_before bigint[], in_key text[], in_status smallint[],
    -- Orders that take a step: what they were when that was decided, and what they become.
    -- was_pay_before: of orders that expire.
    step_order bigint[], was_status smallint[], was_attempt integer[], was_pay_before bigint[], new_status smallint[],
    new_attempt integer[], new_paid_at bigint[], new_method text[], was_direction smallint[], was_gateway text[],
    new_gateway text[], new_key_form smallint[], new_direction smallint[], new_why text[], frees_units boolean[],
    -- Their refunds: how many were begun when the step was decided, what the latest is, the sums of those that were made, and
    -- units that this step puts back on sale while the order keeps others, or none.
    was_refunds integer[], new_refunds integer[], new_refund_cents bigint[], new_refund_restock integer[],
    new_refunded_cents bigint[], new_restocked integer[], restocks integer[],
    -- What happened to them, in its order.
    event_order bigint[], event_kind smallint[], event_at bigint[],
    -- Payments that an operator ended by hand.
    settled_order bigint[], settled_attempt integer[], settled_status smallint[], settled_at bigint[],
    settled_because text[],
    -- How far the node may sell: 0, its share; 1, what it needs is added to its share; 2, all that is not sold is its own.
    in_lending smallint,
    -- The last change of what is granted, by which orders expire; NULL: none does.
    in_grant bigint,
    -- Purchases of which nothing was kept; whether because of an idempotency key; the order that counts instead.
    OUT refused bigint[], OUT by_key boolean[], OUT standing bigint[]
)
LANGUAGE plpgsql
-- The statistics of a table that grows from nothing within seconds mislead the planner; these joins are all by key.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $body$
DECLARE
    buyer_limit integer;
    group_start integer := 1;
    group_stop integer;
    counted bigint;
    counted_archived bigint;
    place integer;
    kept bigint[];
    had_share boolean;
    oversold integer[] := '{}';
    found_row record;
BEGIN
    refused := '{}';
    by_key := '{}';
    standing := '{}';

    -- Whoever raises the incarnation takes this lock alone: the batches before it have ended, those after it see it.
    PERFORM pg_advisory_xact_lock_shared(1936024428, in_node);
    PERFORM FROM nodes WHERE node = in_node AND incarnation = in_incarnation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'node % has a later life than %', in_node, in_incarnation USING ERRCODE = 'SK003';
    END IF;
    UPDATE writers w SET last_batch = in_batch, burned = false, refused = '{}', by_key = '{}', standing = '{}'
        WHERE node = in_node AND writer = in_writer AND last_batch < in_batch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batch % of writer % is burned', in_batch, in_writer USING ERRCODE = 'SK004';
    END IF;

    -- Whoever grants time takes this lock alone until the commit: what was granted before counts, what comes later finds these
    -- orders expired.
    IF in_grant IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock_shared(1936024433);
        PERFORM FROM grace_log WHERE last_change = in_grant;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'time was granted meanwhile' USING ERRCODE = 'SK001';
        END IF;
    END IF;

    -- A sale is archived under the lock of its row: nothing of it goes back on sale then, and it is not archived while money of
    -- one of its orders that have yet to move is on its way back. The weakest lock that this one excludes: two batches that shared
    -- a stronger one would both wait to lock the row for their shares, below.
    IF true = ANY (SELECT s.refunds > s.was FROM unnest(was_refunds, new_refunds) AS s (was, refunds)) THEN
        PERFORM FROM sales WHERE sale_id IN (
            SELECT o.sale_id FROM unnest(step_order, was_refunds, new_refunds) AS s (order_id, was, refunds)
            JOIN orders o USING (order_id) WHERE s.refunds > s.was
        ) ORDER BY sale_id FOR KEY SHARE;
        IF EXISTS (
            SELECT FROM unnest(step_order, was_refunds, new_refunds, new_refund_restock) AS s (order_id, was, refunds, restock)
            JOIN orders o USING (order_id) JOIN sales a USING (sale_id)
            WHERE s.refunds > s.was AND s.restock > 0 AND a.retired > 0
        ) THEN
            RAISE EXCEPTION 'the sale is archived' USING ERRCODE = 'SK001';
        END IF;
    END IF;

    -- All buyers before all orders, and in one order: whoever buys while another order of the same buyers is given up elsewhere
    -- waits, and is never waited for. New ones are sorted by the caller; with those that give up in between, they get their
    -- places here.
    IF true = ANY (frees_units) OR 0 < ANY (restocks) THEN
        IF in_placed = 0 THEN
            PERFORM FROM buyers b WHERE (b.sale_id, b.buyer) IN (
                SELECT o.sale_id, o.buyer
                FROM unnest(step_order, frees_units, restocks) AS s (order_id, frees, restocks)
                JOIN orders o USING (order_id) WHERE s.frees OR s.restocks > 0
            ) ORDER BY b.sale_id, b.buyer FOR UPDATE;
        ELSE
            INSERT INTO buyers AS b (sale_id, buyer, units, orders)
                SELECT u.sale_id, u.buyer, 0, '{}'
                FROM (
                    SELECT p.sale_id, p.buyer COLLATE "C" AS buyer
                    FROM unnest(in_sale[1:in_placed], in_buyer[1:in_placed]) AS p (sale_id, buyer)
                    UNION
                    SELECT o.sale_id, o.buyer
                    FROM unnest(step_order, frees_units, restocks) AS s (order_id, frees, restocks)
                    JOIN orders o USING (order_id)
                    WHERE s.frees OR s.restocks > 0
                ) AS u
                ORDER BY u.sale_id, u.buyer
                ON CONFLICT ON CONSTRAINT buyers_pkey DO UPDATE SET units = b.units;
        END IF;
    END IF;

    -- From here until the commit nobody else changes what these buyers hold.
    FOREACH group_stop IN ARRAY group_end LOOP
        SELECT per_buyer_limit INTO buyer_limit FROM sales WHERE sale_id = in_sale[group_start];
        INSERT INTO buyers AS b (sale_id, buyer, units, orders)
            SELECT in_sale[group_start], u.buyer, u.quantity, ARRAY[u.order_id]
            FROM unnest(in_order[group_start:group_stop], in_buyer[group_start:group_stop],
                        in_quantity[group_start:group_stop]) AS u (order_id, buyer, quantity)
            WHERE u.quantity <= buyer_limit
            ON CONFLICT ON CONSTRAINT buyers_pkey DO UPDATE
                SET units = b.units + excluded.units, orders = b.orders || excluded.orders
                WHERE b.units + excluded.units <= buyer_limit;
        GET DIAGNOSTICS counted = ROW_COUNT;
        IF counted <= group_stop - group_start THEN
            SELECT refused || array_agg(u.order_id), by_key || array_agg(false),
                   standing || array_agg(b.orders[cardinality(b.orders)])
                INTO refused, by_key, standing
                FROM unnest(in_order[group_start:group_stop], in_buyer[group_start:group_stop]) AS u (order_id, buyer)
                LEFT JOIN buyers b ON b.sale_id = in_sale[group_start] AND b.buyer = u.buyer
                WHERE b.orders IS NULL OR u.order_id <> ALL (b.orders);
        END IF;
        group_start := group_stop + 1;
    END LOOP;

    -- A key that made an order before, here or at another node, makes no second one.
    IF EXISTS (SELECT FROM unnest(in_key) AS k WHERE k IS NOT NULL) THEN
        FOR found_row IN
            SELECT u.order_id, u.sale_id, u.buyer, u.quantity, o.order_id AS first_order
            FROM unnest(in_order, in_sale, in_buyer, in_quantity, in_key) WITH ORDINALITY
                AS u (order_id, sale_id, buyer, quantity, key, n)
            JOIN orders o ON o.sale_id = u.sale_id AND o.buyer = u.buyer AND o.idempotency_key = u.key
            WHERE u.n <= in_placed
        LOOP
            place := array_position(refused, found_row.order_id);
            IF place IS NULL THEN
                UPDATE buyers b
                    SET units = b.units - found_row.quantity, orders = array_remove(b.orders, found_row.order_id)
                    WHERE b.sale_id = found_row.sale_id AND b.buyer = found_row.buyer;
                place := cardinality(refused) + 1;
                refused[place] := found_row.order_id;
            END IF;
            by_key[place] := true;
            standing[place] := found_row.first_order;
        END LOOP;
    END IF;
    IF cardinality(refused) > 0 THEN
        UPDATE writers w
            SET refused = commit_batch.refused, by_key = commit_batch.by_key, standing = commit_batch.standing
            WHERE node = in_node AND writer = in_writer;
    END IF;

    INSERT INTO orders (order_id, sale_id, buyer, quantity, amount_cents, created_at_ms, pay_before_ms,
                        idempotency_key, status, step_node)
        SELECT u.*, in_node
        FROM unnest(in_order, in_sale, in_buyer, in_quantity, in_amount, in_created, in_pay_before, in_key, in_status)
            AS u (order_id, sale_id, buyer, quantity, amount, created, pay_before, key, status)
        WHERE u.order_id <> ALL (refused);

    IF cardinality(step_order) > 0 THEN
        -- A step of a purchase that was refused just now comes to nothing.
        PERFORM FROM orders WHERE order_id = ANY (step_order) ORDER BY order_id FOR UPDATE;
        UPDATE orders o
            SET status = s.status, payment_attempt = s.attempt, paid_at_ms = s.paid_at, payment_method = s.method,
                payment_gateway = s.gateway, payment_key_form = s.key_form, payment_direction = s.direction,
                payment_why = s.why, payment_journal_of = s.attempt, refunds = s.refunds, refund_cents = s.refund_cents,
                refund_restock = s.refund_restock, refunded_cents = s.refunded_cents, restocked = s.restocked,
                step_node = in_node
            FROM unnest(step_order, was_status, was_attempt, was_pay_before, new_status, new_attempt, new_paid_at, new_method,
                        was_direction, was_gateway, new_gateway, new_key_form, new_direction, new_why,
                        was_refunds, new_refunds, new_refund_cents, new_refund_restock, new_refunded_cents, new_restocked)
                AS s (order_id, was, was_attempt, was_pay_before, status, attempt, paid_at, method,
                      was_direction, was_gateway, gateway, key_form, direction, why,
                      was_refunds, refunds, refund_cents, refund_restock, refunded_cents, restocked)
            WHERE o.order_id = s.order_id AND o.status = s.was AND o.payment_attempt = s.was_attempt
                AND o.refunds = s.was_refunds
                AND (s.was_pay_before IS NULL OR o.pay_before_ms = s.was_pay_before)
                -- A journal of another attempt is none.
                AND CASE WHEN o.payment_journal_of = o.payment_attempt
                    THEN o.payment_direction = s.was_direction AND o.payment_gateway IS NOT DISTINCT FROM s.was_gateway
                    ELSE s.was_direction = 0 AND s.was_gateway IS NULL END;
        GET DIAGNOSTICS counted = ROW_COUNT;
        IF counted < (SELECT count(*) FROM unnest(step_order) AS o WHERE o <> ALL (refused)) THEN
            -- Those of archived sales: money that is given back, and nothing goes back on sale.
            PERFORM FROM archived_orders WHERE order_id = ANY (step_order) ORDER BY order_id FOR UPDATE;
            UPDATE archived_orders o
                SET status = s.status, payment_attempt = s.attempt, paid_at_ms = s.paid_at, payment_method = s.method,
                    payment_gateway = s.gateway, payment_key_form = s.key_form, payment_direction = s.direction,
                    payment_why = s.why, payment_journal_of = s.attempt, refunds = s.refunds, refund_cents = s.refund_cents,
                    refund_restock = s.refund_restock, refunded_cents = s.refunded_cents, restocked = s.restocked,
                    step_node = in_node
                FROM unnest(step_order, was_status, was_attempt, new_status, new_attempt, new_paid_at, new_method,
                            was_direction, was_gateway, new_gateway, new_key_form, new_direction, new_why,
                            was_refunds, new_refunds, new_refund_cents, new_refund_restock, new_refunded_cents, new_restocked)
                    AS s (order_id, was, was_attempt, status, attempt, paid_at, method,
                          was_direction, was_gateway, gateway, key_form, direction, why,
                          was_refunds, refunds, refund_cents, refund_restock, refunded_cents, restocked)
                WHERE o.order_id = s.order_id AND o.status = s.was AND o.payment_attempt = s.was_attempt
                    AND o.refunds = s.was_refunds
                    -- A journal of another attempt is none.
                    AND CASE WHEN o.payment_journal_of = o.payment_attempt
                        THEN o.payment_direction = s.was_direction AND o.payment_gateway IS NOT DISTINCT FROM s.was_gateway
                        ELSE s.was_direction = 0 AND s.was_gateway IS NULL END
                    AND s.refund_restock = 0;
            GET DIAGNOSTICS counted_archived = ROW_COUNT;
            IF counted + counted_archived < (SELECT count(*) FROM unnest(step_order) AS o WHERE o <> ALL (refused)) THEN
                RAISE EXCEPTION 'an order took another step meanwhile' USING ERRCODE = 'SK001';
            END IF;
        END IF;
        UPDATE buyers b
            SET units = b.units - f.units,
                orders = ARRAY(SELECT held FROM unnest(b.orders) AS held WHERE held <> ALL (f.orders))
            FROM (
                -- Orders as they are now: one whose last unit went back on sale is not among those that hold some.
                SELECT o.sale_id, o.buyer, sum(CASE WHEN s.frees THEN o.quantity ELSE s.restocks END)::integer AS units,
                       coalesce(array_agg(o.order_id) FILTER (WHERE s.frees OR o.restocked = o.quantity), '{}') AS orders
                FROM unnest(step_order, frees_units, restocks) AS s (order_id, frees, restocks)
                JOIN orders o USING (order_id)
                WHERE s.frees OR s.restocks > 0 GROUP BY o.sale_id, o.buyer ORDER BY o.sale_id, o.buyer
            ) AS f
            WHERE b.sale_id = f.sale_id AND b.buyer = f.buyer;
    END IF;

    INSERT INTO operator_settlements (order_id, payment_attempt, status, at_ms, reason)
        SELECT s.* FROM unnest(settled_order, settled_attempt, settled_status, settled_at, settled_because)
            AS s (order_id, attempt, status, at_ms, reason);

    kept := ARRAY(SELECT o FROM unnest(in_order[1:in_placed]) AS o WHERE o <> ALL (refused) ORDER BY o);
    -- Behind all steps: the stamps are drawn while these orders are locked.
    FOR found_row IN
        SELECT 0 AS kind, in_created[1] AS at_ms, kept AS order_ids WHERE cardinality(kept) > 0
        UNION ALL
        (SELECT kind, max(at_ms), array_agg(order_id ORDER BY n)
         FROM unnest(event_order, event_kind, event_at) WITH ORDINALITY AS e (order_id, kind, at_ms, n)
         WHERE order_id <> ALL (refused) GROUP BY kind ORDER BY kind)
    LOOP
        INSERT INTO unplaced_events (kind, at_ms, order_ids)
            VALUES (found_row.kind, found_row.at_ms, found_row.order_ids);
    END LOOP;

    -- Last, so that what this node's other writers want is held for a moment only.
    FOR found_row IN
        SELECT sale_id, sum(placed) AS placed, sum(freed) AS freed
        FROM (
            SELECT u.sale_id, u.quantity AS placed, 0 AS freed
            FROM unnest(in_order[1:in_placed], in_sale[1:in_placed], in_quantity[1:in_placed])
                AS u (order_id, sale_id, quantity)
            WHERE u.order_id <> ALL (refused)
            UNION ALL
            SELECT o.sale_id, 0, CASE WHEN s.frees THEN o.quantity ELSE s.restocks END
            FROM unnest(step_order, frees_units, restocks) AS s (order_id, frees, restocks)
            JOIN orders o USING (order_id)
            WHERE s.frees OR s.restocks > 0
        ) AS moved
        GROUP BY sale_id ORDER BY sale_id
    LOOP
        IF in_lending > 0 AND found_row.placed > 0 AND found_row.freed > 0 THEN
            -- What comes back with this batch may be sold with it.
            PERFORM FROM sales WHERE sale_id = found_row.sale_id FOR NO KEY UPDATE;
            INSERT INTO shares AS s (sale_id, node, sold, granted, returned)
                VALUES (found_row.sale_id, in_node, 0, 0, found_row.freed)
                ON CONFLICT (sale_id, node) DO UPDATE SET returned = s.returned + excluded.returned;
            found_row.freed := 0;
        END IF;
        had_share := in_lending > 0 AND found_row.placed > 0
            AND take_share(found_row.sale_id, in_node, in_incarnation, found_row.placed, in_lending);
        UPDATE shares
            SET sold = sold + found_row.placed, returned = returned + found_row.freed
            WHERE sale_id = found_row.sale_id AND node = in_node AND sold + found_row.placed <= granted;
        IF FOUND THEN
            CONTINUE;
        END IF;
        IF found_row.placed = 0 THEN
            INSERT INTO shares AS s (sale_id, node, sold, granted, returned)
                VALUES (found_row.sale_id, in_node, 0, 0, found_row.freed)
                ON CONFLICT (sale_id, node) DO UPDATE SET returned = s.returned + excluded.returned;
        ELSIF had_share THEN
            RAISE EXCEPTION 'another batch has sold the share' USING ERRCODE = 'SK001';
        ELSE
            oversold := oversold || found_row.sale_id;
        END IF;
    END LOOP;
    IF cardinality(oversold) > 0 THEN
        RAISE EXCEPTION 'more would have been sold than there is for this node'
            USING ERRCODE = 'SK002', DETAIL = array_to_string(oversold, ',');
    END IF;
END
$body$;

-- For engines of the version before: they do not say by which deadlines their orders expire. What the ones before that call still
-- calls this one.
CREATE OR REPLACE FUNCTION commit_batch(
    in_node smallint, in_incarnation bigint, in_writer smallint, in_batch bigint,
    in_placed integer, group_end integer[],
    in_order bigint[], in_sale integer[], in_buyer text[], in_quantity integer[], in_amount bigint[],
    in_created bigint[], in_pay_before bigint[], in_key text[], in_status smallint[],
    step_order bigint[], was_status smallint[], was_attempt integer[], new_status smallint[], new_attempt integer[],
    new_paid_at bigint[], new_method text[], was_direction smallint[], was_gateway text[], new_gateway text[],
    new_key_form smallint[], new_direction smallint[], new_why text[], frees_units boolean[],
    was_refunds integer[], new_refunds integer[], new_refund_cents bigint[], new_refund_restock integer[],
    new_refunded_cents bigint[], new_restocked integer[], restocks integer[],
    event_order bigint[], event_kind smallint[], event_at bigint[],
    settled_order bigint[], settled_attempt integer[], settled_status smallint[], settled_at bigint[],
    settled_because text[], in_lending smallint,
    OUT refused bigint[], OUT by_key boolean[], OUT standing bigint[]
)
LANGUAGE sql
AS $body$
    SELECT b.refused, b.by_key, b.standing FROM commit_batch(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, '{}'::bigint[], $19, $20, $21, $22, $23,
        $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45,
        NULL::bigint) AS b
$body$;
