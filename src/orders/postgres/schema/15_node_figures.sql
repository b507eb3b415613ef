-- Version 15: what the nodes tell each other for whoever watches a sale. Never change a released file.

-- Not logged: it is of the last seconds, and nothing is lost with it.
CREATE UNLOGGED TABLE node_figures (
    node            smallint PRIMARY KEY,
    told_at         timestamptz NOT NULL,
    -- Until when somebody watches at that node.
    watched_until   timestamptz NOT NULL,
    figures         text NOT NULL
) WITH (fillfactor = 50);
-- Longer texts are never looked for, and written anew each second.
ALTER TABLE node_figures ALTER COLUMN figures SET STORAGE EXTERNAL;

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
        EXECUTE format('GRANT %s ON node_figures TO %s', may.what, may.who);
    END LOOP;
END
$body$;
