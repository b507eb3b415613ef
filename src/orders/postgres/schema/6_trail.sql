-- Version 6: who did what, and why. Never change a released file.

-- The number of the last entry. Whoever raises it holds the row until its commit, so that numbers become visible in their
-- order and a reader that goes on from the last one misses none. It is locked last of all.
CREATE TABLE trail_log (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_seq        bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO trail_log (last_seq) VALUES (0);

-- Rows are only ever added, each in the transaction of its act. No tenant: it is about all of them. act_id tells an act
-- that is done again because its answer was lost from a new one.
CREATE TABLE trail (
    seq             bigint PRIMARY KEY,
    act_id          bigint NOT NULL UNIQUE,
    at_ms           bigint NOT NULL,
    tenant          text COLLATE "C",
    who             text NOT NULL,
    role            text NOT NULL,
    address         text NOT NULL,
    request_id      text NOT NULL,
    act             text NOT NULL,
    object          text NOT NULL,
    was             text,
    became          text,
    reason          text
);

CREATE FUNCTION number_trail_entry() RETURNS trigger LANGUAGE plpgsql SET search_path = seckill AS $body$
BEGIN
    UPDATE trail_log SET last_seq = last_seq + 1 RETURNING last_seq INTO NEW.seq;
    RETURN NEW;
END
$body$;

CREATE TRIGGER trail_entry_numbered BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION number_trail_entry();

CREATE FUNCTION keep_trail() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the trail is only ever added to';
END
$body$;

CREATE TRIGGER trail_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON trail
    FOR EACH STATEMENT EXECUTE FUNCTION keep_trail();
