-- Version 9: how a store that went back in time is told from one that did not. Never change a released file.

-- A new timeline begins when the store is found to be older than it was: it was restored, or a standby took over that did
-- not have everything. own_names: the keys of this store's ledger carry its identity. Those of a store from before this
-- version do not: engines of that version may still run beside this one, and look for the books under their old names.
ALTER TABLE store_identity
    ADD COLUMN timeline bigint NOT NULL DEFAULT 1,
    ADD COLUMN own_names boolean NOT NULL DEFAULT true,
    -- Counts what the ledger's protocol has decided here: lives begun and ended, epochs ended. With the numbers of the
    -- two logs it tells whether the store has lost something.
    ADD COLUMN decisions bigint NOT NULL DEFAULT 0;
UPDATE store_identity SET own_names = NOT EXISTS (SELECT FROM nodes);

-- Begins a timeline above this one, unless somebody has. Every book of the ledger is counted anew then: whatever one of
-- them has learnt of the store since is not so any more. Epochs of different timelines are never the same: the store may
-- have lost some that it had ended. (Numbers below 2^53 are exact in the ledger's scripts.)
CREATE FUNCTION begin_timeline(above bigint) RETURNS boolean LANGUAGE plpgsql SET search_path = seckill AS $body$
BEGIN
    UPDATE store_identity SET timeline = above + 1 WHERE timeline <= above;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM sales ORDER BY sale_id FOR UPDATE;
    UPDATE sales SET epoch = greatest(epoch, (above + 1) << 32) + 1;
    RETURN true;
END
$body$;
