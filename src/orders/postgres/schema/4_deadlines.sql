-- Version 4: what moves deadlines. Never change a released file.

-- Time that does not count against who has to pay. sale_id 0: all sales. An outage lasts until until_ms; a gift has none.
CREATE TABLE graces (
    sale_id         integer NOT NULL,
    from_ms         bigint NOT NULL,
    is_gift         boolean NOT NULL,
    until_ms        bigint,
    by_ms           bigint NOT NULL,
    reason          text NOT NULL,
    PRIMARY KEY (sale_id, from_ms, is_gift)
);

-- The latest moment at which an engine is known to have lived.
CREATE TABLE alive (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    at_ms           bigint NOT NULL
) WITH (fillfactor = 50);
