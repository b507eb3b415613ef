-- Version 17: webhooks. Never change a released file.

-- How far each endpoint has been told of the events of orders and of the acts on sales, and how it fares. held: sales that are
-- behind, with the number to go on from, as JSON. owner: whose deliveries count; generation counts claims and operators' acts.
CREATE TABLE webhooks (
    name            text COLLATE "C" PRIMARY KEY,
    owner           bigint NOT NULL DEFAULT 0,
    generation      bigint NOT NULL DEFAULT 0,
    orders_through  bigint NOT NULL,
    orders_held     text NOT NULL DEFAULT '{}',
    sales_through   bigint NOT NULL,
    sales_held      text NOT NULL DEFAULT '{}',
    failing_since_ms bigint,
    failures        bigint NOT NULL DEFAULT 0,
    failed_at_ms    bigint,
    failure         text,
    delivered_at_ms bigint,
    next_try_ms     bigint,
    disabled_at_ms  bigint,
    disabled_why    text
) WITH (fillfactor = 50);

-- Who may write orders may tell of them.
DO $body$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT DISTINCT a.grantee::regrole AS who, a.privilege_type AS what
        FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'orders'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s ON webhooks TO %s', may.what, may.who);
    END LOOP;
END
$body$;
