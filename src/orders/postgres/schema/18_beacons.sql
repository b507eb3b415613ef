-- Version 18: draws that are mixed with a public beacon. Never change a released file.

-- The round that a draw is mixed with. room_beacon: 1 and 2 networks of drand, 3 NIST; NULL: the seed alone draws.
ALTER TABLE sales
    ADD COLUMN room_beacon smallint,
    ADD COLUMN room_beacon_round bigint,
    ADD COLUMN room_beacon_wait_s integer;

-- The round's value, empty where the draw is made without; NULL until that is decided, and never changed then.
ALTER TABLE waiting_rooms ADD COLUMN draw_mix bytea;
