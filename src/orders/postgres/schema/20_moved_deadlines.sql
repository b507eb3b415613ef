-- Version 20: no order expires whose deadline is being moved, whichever engine asks. Never change a released file.
--
-- Engines of before version 19 read an order and what is granted, decide that its time is over, and do not say by what: an
-- extension or a gift that became durable in between was answered, and the order expired. Here it is decided again.

-- The deadline of an order as it stands at a moment: its own, moved by what was granted, as the engines reckon it.
CREATE FUNCTION moved_deadline(in_sale integer, in_created bigint, in_pay_before bigint, in_at bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = seckill
AS $body$
DECLARE
    deadline bigint := in_pay_before;
    counted bigint := in_created;
    began bigint;
    found_row record;
BEGIN
    FOR found_row IN
        SELECT g.from_ms, g.until_ms, g.by_ms FROM graces g
        WHERE g.sale_id IN (0, in_sale) AND g.from_ms <= in_at AND coalesce(g.until_ms, g.from_ms) >= in_created
        ORDER BY g.from_ms
    LOOP
        IF found_row.until_ms IS NULL THEN
            IF deadline > found_row.from_ms THEN
                deadline := deadline + found_row.by_ms;
            END IF;
        ELSE
            began := greatest(found_row.from_ms, counted);
            IF began < found_row.until_ms AND began < deadline THEN
                deadline := deadline + found_row.until_ms - began;
                counted := found_row.until_ms;
            END IF;
        END IF;
    END LOOP;
    RETURN deadline;
END
$body$;

-- For engines of the versions 16 to 18, and by way of what they call for those before. What they are refused with SK001 they read
-- and decide anew.
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
LANGUAGE plpgsql SET search_path = seckill
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $body$
DECLARE
    last_grant bigint;
    stood_at bigint[] := '{}';
    is_early boolean;
BEGIN
    -- 5: expired.
    IF 5 = ANY (new_status) THEN
        -- First: what is granted from here on is another change than this one, and the batch comes to nothing.
        SELECT l.last_change INTO last_grant FROM grace_log l;
        -- An order expires with the last that happens to it.
        SELECT array_agg(CASE WHEN s.status = 5 THEN o.pay_before_ms END ORDER BY s.place),
               bool_or(s.status = 5 AND e.at_ms < moved_deadline(o.sale_id, o.created_at_ms, o.pay_before_ms, e.at_ms))
            INTO stood_at, is_early
            FROM unnest(step_order, new_status) WITH ORDINALITY AS s (order_id, status, place)
            LEFT JOIN orders o ON o.order_id = s.order_id
            LEFT JOIN LATERAL (
                SELECT max(h.at_ms) AS at_ms FROM unnest(event_order, event_at) AS h (order_id, at_ms)
                WHERE h.order_id = s.order_id
            ) AS e ON true;
        IF is_early THEN
            RAISE EXCEPTION 'time was granted meanwhile' USING ERRCODE = 'SK001';
        END IF;
    END IF;
    SELECT b.refused, b.by_key, b.standing INTO refused, by_key, standing FROM commit_batch(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, stood_at, $19, $20, $21, $22, $23,
        $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45,
        last_grant) AS b;
END
$body$;
