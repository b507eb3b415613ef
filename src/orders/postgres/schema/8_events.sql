-- Version 8: events get their numbers behind the commit. Never change a released file.

-- In which order events happened. A transaction draws its stamps when it has locked what it changes. So of two that change
-- one order, and of two of which one saw the other, the later one has the higher stamp. Stamps have gaps, become visible in
-- any order, and keep nobody waiting: nothing is held for them until the commit.
CREATE SEQUENCE event_stamps;

CREATE FUNCTION draw_event_stamp() RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    -- Its own number first: by that, place_events tells whether a stamp may still become visible.
    PERFORM txid_current();
    RETURN nextval('seckill.event_stamps');
END
$body$;

-- Events without a number. One row a commit and kind, as in event_blocks.
CREATE TABLE unplaced_events (
    stamp           bigint PRIMARY KEY DEFAULT draw_event_stamp(),
    kind            smallint NOT NULL,
    at_ms           bigint NOT NULL,
    order_ids       bigint[] NOT NULL
);
ALTER TABLE unplaced_events ALTER COLUMN order_ids SET STORAGE EXTERNAL;

ALTER TABLE event_log
    -- Up to this stamp no event is without its number, nor ever will be: nobody looks there any more.
    ADD COLUMN placed_through bigint NOT NULL DEFAULT 0,
    -- When all transactions up to this one have ended, the same is true up to this stamp.
    ADD COLUMN watched_stamp bigint NOT NULL DEFAULT 0,
    ADD COLUMN watched_transaction bigint NOT NULL DEFAULT 0;

-- Gives events that are visible their numbers, at most 1000 rows, in the order of their stamps. An event that happened
-- because of another is never visible without it, so it never has the lower number. Returns how many rows it was. To be
-- called in a transaction of its own; whoever comes second waits.
CREATE FUNCTION place_events() RETURNS integer LANGUAGE plpgsql
SET search_path = seckill
-- Plans of a table that is empty at one moment and full at the next.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $body$
DECLARE
    was event_log;
    drawn bigint;
    oldest bigint;
    newest_number bigint;
    placed integer;
BEGIN
    -- Most looks find nothing, and must cost nothing.
    IF NOT EXISTS (SELECT FROM unplaced_events WHERE stamp > (SELECT placed_through FROM event_log)) THEN
        RETURN 0;
    END IF;
    -- Before this transaction has its number, which the lock gives it: whoever drew one of these stamps has a lower one.
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO drawn FROM event_stamps;
    SELECT * INTO was FROM event_log FOR UPDATE;
    oldest := txid_snapshot_xmin(txid_current_snapshot());
    WITH chosen AS (
        SELECT stamp FROM unplaced_events WHERE stamp > was.placed_through ORDER BY stamp LIMIT 1000
    ), taken AS (
        DELETE FROM unplaced_events u USING chosen c WHERE u.stamp = c.stamp
            RETURNING u.stamp, u.kind, u.at_ms, u.order_ids
    ), numbered AS (
        INSERT INTO event_blocks (last_seq, kind, at_ms, order_ids)
            SELECT was.last_seq + sum(cardinality(t.order_ids)) OVER (ORDER BY t.stamp), t.kind, t.at_ms, t.order_ids
            FROM taken t
            RETURNING event_blocks.last_seq AS number
    )
    SELECT max(n.number), count(*) INTO newest_number, placed FROM numbered n;
    -- All that those transactions wrote was there to be placed just now, if they wrote it at all.
    IF placed < 1000 AND oldest > was.watched_transaction THEN
        was.placed_through := was.watched_stamp;
        was.watched_stamp := drawn;
        was.watched_transaction := txid_current();
    END IF;
    UPDATE event_log
        SET last_seq = coalesce(newest_number, was.last_seq), placed_through = was.placed_through,
            watched_stamp = was.watched_stamp, watched_transaction = was.watched_transaction;
    RETURN placed;
END
$body$;
