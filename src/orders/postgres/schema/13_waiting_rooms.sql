-- Version 13: waiting rooms. Never change a released file.

-- The terms of the sale's room; NULL: it never had one. room_mode: 0 off, 1 by arrival, 2 drawn. The seed stays with the sale.
ALTER TABLE sales
    ADD COLUMN room_mode smallint,
    ADD COLUMN room_opens_at_ms bigint,
    ADD COLUMN room_rate_per_s integer,
    ADD COLUMN room_grace_s integer,
    ADD COLUMN room_holds boolean,
    ADD COLUMN room_seed bytea CHECK (length(room_seed) = 16);

-- How far each room has come. Counts and marks never fall. drawn_at_ms: who joined before is drawn; NULL until the draw begins.
CREATE TABLE waiting_rooms (
    sale_id         integer PRIMARY KEY,
    draw_mark       bigint NOT NULL DEFAULT 0,
    fifo_mark_ms    bigint NOT NULL DEFAULT 0,
    drawn_at_ms     bigint,
    drawn           bigint NOT NULL DEFAULT 0,
    admitted        bigint NOT NULL DEFAULT 0,
    registered      bigint NOT NULL DEFAULT 0,
    rate_per_s      integer NOT NULL DEFAULT 0,
    absent_permille integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Who registered when. Time comes first in the key: it grows at one edge a sale.
CREATE TABLE registrations (
    sale_id         integer NOT NULL,
    joined_at_ms    bigint NOT NULL,
    who             bytea NOT NULL,
    PRIMARY KEY (sale_id, joined_at_ms, who)
);

-- What the marks were from which moment on.
CREATE TABLE room_moves (
    sale_id         integer NOT NULL,
    at_ms           bigint NOT NULL,
    draw_mark       bigint NOT NULL,
    fifo_mark_ms    bigint NOT NULL,
    drawn_at_ms     bigint,
    drawn           bigint NOT NULL,
    admitted        bigint NOT NULL,
    registered      bigint NOT NULL,
    rate_per_s      integer NOT NULL,
    absent_permille integer NOT NULL,
    PRIMARY KEY (sale_id, at_ms)
);

-- What passes are signed with where no key is configured: all who use this store agree on it.
CREATE TABLE pass_secret (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    secret          bytea NOT NULL CHECK (length(secret) = 32)
);
INSERT INTO pass_secret (secret) VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- Who may sell has people wait, too.
DO $body$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT DISTINCT a.grantee::regrole AS who, a.privilege_type AS what
        FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'orders'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s ON waiting_rooms, registrations, room_moves, pass_secret TO %s', may.what, may.who);
    END LOOP;
END
$body$;
