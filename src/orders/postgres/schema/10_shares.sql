-- Version 10: shares. Never change a released file.

-- What each node may sell of each sale, and what it did: sold never passes granted, and only the node's own batches touch them.
ALTER TABLE settled RENAME TO shares;
ALTER INDEX settled_pkey RENAME TO shares_pkey;
ALTER TABLE shares RENAME COLUMN units TO sold;
ALTER TABLE shares
    -- Units that the node may sell in all. Written under the lock of the sale's row only, but for what is let go of: together
    -- they are never more than the total and what came back.
    ADD COLUMN granted bigint NOT NULL DEFAULT 0,
    -- The life of the node that has the share: what is not sold is that one's.
    ADD COLUMN life bigint NOT NULL DEFAULT 0,
    -- Grows within a life whenever a call that would have changed the share was given up.
    ADD COLUMN turn bigint NOT NULL DEFAULT 0,
    -- Units of orders that the node cancelled or let expire, whoever had sold them. Only grows.
    ADD COLUMN returned bigint NOT NULL DEFAULT 0;
UPDATE shares SET granted = sold;
UPDATE shares s SET returned = sales.returned FROM sales
    WHERE sales.sale_id = s.sale_id AND s.node = (SELECT min(f.node) FROM shares f WHERE f.sale_id = s.sale_id);
ALTER TABLE shares ADD CHECK (sold BETWEEN 0 AND granted);

-- sales.sold and sales.returned stay as they are: what is sold is the sum of the shares. Engines of the version before read
-- them, and this:
ALTER TABLE sales DROP CONSTRAINT sales_check;
CREATE VIEW settled AS SELECT sale_id, node, sold AS units FROM shares;
-- Whoever may read the one may read the other.
DO $body$
DECLARE
    reader regrole;
BEGIN
    FOR reader IN
        SELECT DISTINCT a.grantee::regrole FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'shares'::regclass AND a.privilege_type = 'SELECT' AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT SELECT ON settled TO %s', reader);
    END LOOP;
END
$body$;

-- Engines that know no payment's journal cannot go on: their function counts what nobody counts any more.
DROP FUNCTION IF EXISTS commit_batch(
    smallint, bigint, smallint, bigint, integer, integer[], bigint[], integer[], text[], integer[], bigint[], bigint[],
    bigint[], text[], smallint[], bigint[], smallint[], integer[], smallint[], integer[], bigint[], text[], boolean[],
    bigint[], smallint[], bigint[]);

-- Units above all shares. Exact under the lock of the sale's row: shares grow under it only, and total changes under it.
CREATE FUNCTION unshared(in_sale integer, in_total integer) RETURNS bigint LANGUAGE sql STABLE
SET search_path = seckill
AS $body$
    SELECT in_total + coalesce(sum(returned - granted), 0)::bigint FROM shares WHERE sale_id = in_sale
$body$;

-- Has the share of a node be so many units, as far as there are, and never fewer than it has sold, in the name of its present
-- life. A call of a former turn, that comes late, changes nothing. Returns what the share is then; NULL when another life of the
-- node has begun.
CREATE FUNCTION set_share(
    in_sale integer, in_node smallint, in_incarnation bigint, in_turn bigint, in_units bigint
) RETURNS bigint
LANGUAGE plpgsql SET search_path = seckill
AS $body$
DECLARE
    sale_total integer;
    share bigint;
BEGIN
    -- As a batch does: a life that is over gets nothing.
    PERFORM pg_advisory_xact_lock_shared(1936024428, in_node);
    PERFORM FROM nodes WHERE node = in_node AND incarnation = in_incarnation;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT total INTO sale_total FROM sales WHERE sale_id = in_sale FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO shares (sale_id, node, sold) VALUES (in_sale, in_node, 0) ON CONFLICT (sale_id, node) DO NOTHING;
    -- Its own batches go on meanwhile, so what is sold is read in the row's latest version.
    UPDATE shares
        SET granted = greatest(sold, least(in_units, granted + greatest(0, unshared(in_sale, sale_total)))),
            life = in_incarnation, turn = in_turn
        WHERE sale_id = in_sale AND node = in_node AND (life, turn) <= (in_incarnation, in_turn)
        RETURNING granted INTO share;
    IF NOT FOUND THEN
        SELECT granted INTO share FROM shares WHERE sale_id = in_sale AND node = in_node;
    END IF;
    RETURN share;
END
$body$;

-- Takes from the share of a node what a life of it that is over did not sell. A later life has it in its own name by then,
-- or takes it anew as far as there are units.
CREATE FUNCTION release_share(in_sale integer, in_node smallint, in_life bigint) RETURNS void LANGUAGE sql
SET search_path = seckill
AS $body$
    UPDATE shares SET granted = sold
        WHERE sale_id = in_sale AND node = in_node AND life <= in_life AND granted > sold
$body$;

-- Has the share of a node cover so many units more than it has sold, without having been lent them: an engine that has the
-- database alone (in_lending 2) owns all that is not sold, one of before (1) what it has sold. Returns whether it does.
CREATE FUNCTION take_share(
    in_sale integer, in_node smallint, in_incarnation bigint, in_units bigint, in_lending smallint
) RETURNS boolean
LANGUAGE plpgsql SET search_path = seckill
AS $body$
DECLARE
    sale_total integer;
    missing bigint;
    spare bigint;
BEGIN
    IF EXISTS (SELECT FROM shares WHERE sale_id = in_sale AND node = in_node AND sold + in_units <= granted) THEN
        RETURN true;
    END IF;
    SELECT total INTO sale_total FROM sales WHERE sale_id = in_sale FOR NO KEY UPDATE;
    IF in_lending = 2 THEN
        UPDATE shares SET granted = sold WHERE sale_id = in_sale AND node <> in_node AND granted > sold;
    END IF;
    INSERT INTO shares (sale_id, node, sold, granted) VALUES (in_sale, in_node, 0, 0)
        ON CONFLICT (sale_id, node) DO NOTHING;
    SELECT greatest(0, sold + in_units - granted) INTO missing FROM shares
        WHERE sale_id = in_sale AND node = in_node FOR NO KEY UPDATE;
    spare := greatest(0, unshared(in_sale, sale_total));
    UPDATE shares
        SET granted = granted + CASE WHEN in_lending = 2 THEN spare ELSE least(missing, spare) END,
            life = in_incarnation, turn = 0
        WHERE sale_id = in_sale AND node = in_node;
    RETURN missing <= spare;
END
$body$;

-- Whether the total of a sale, whose row is locked, may become so low: all shares fit below it. An engine that has the database
-- alone (in_lending 2) makes room in its own.
CREATE FUNCTION make_room(in_sale integer, in_node smallint, in_total integer, in_lending smallint) RETURNS boolean
LANGUAGE plpgsql SET search_path = seckill
AS $body$
BEGIN
    IF in_lending = 2 AND unshared(in_sale, in_total) < 0 THEN
        UPDATE shares SET granted = sold WHERE sale_id = in_sale AND granted > sold;
    END IF;
    RETURN unshared(in_sale, in_total) >= 0;
END
$body$;

-- Whoever changes it, and however.
CREATE FUNCTION keep_total_above_shares() RETURNS trigger LANGUAGE plpgsql SET search_path = seckill AS $body$
BEGIN
    IF unshared(NEW.sale_id, NEW.total) < 0 THEN
        RAISE EXCEPTION 'units that the total of sale % would lose are lent or sold', NEW.sale_id USING ERRCODE = 'SK005';
    END IF;
    RETURN NEW;
END
$body$;

CREATE TRIGGER total_kept_above_shares BEFORE UPDATE OF total ON sales
    FOR EACH ROW WHEN (NEW.total < OLD.total) EXECUTE FUNCTION keep_total_above_shares();
