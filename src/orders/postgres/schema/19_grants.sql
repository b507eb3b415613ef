-- Version 19: no order expires whose deadline is being moved. Never change a released file.

-- The number of the last change of what is granted. Orders expire by that number only, see commit_batch.
CREATE TABLE grace_log (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_change     bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO grace_log (last_change) VALUES (0);

-- In a trigger, so that what an engine of the version before grants counts as well. Whoever expires orders shares the lock until
-- the commit.
CREATE FUNCTION number_grace_change() RETURNS trigger LANGUAGE plpgsql SET search_path = seckill AS $body$
BEGIN
    PERFORM pg_advisory_xact_lock(1936024433);
    UPDATE grace_log SET last_change = last_change + 1;
    RETURN NULL;
END
$body$;

CREATE TRIGGER graces_changed AFTER INSERT OR UPDATE OR DELETE ON graces
    FOR EACH STATEMENT EXECUTE FUNCTION number_grace_change();

-- Who may write orders may expire them.
DO $body$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT DISTINCT a.grantee::regrole AS who, a.privilege_type AS what
        FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'orders'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s ON grace_log TO %s', may.what, may.who);
    END LOOP;
END
$body$;
