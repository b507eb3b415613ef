-- Version 2: what the nodes know of each other. Never change a released file.

-- The number of the last change of any sale's terms or total. Whoever raises it holds the row until its commit, so that
-- numbers become visible in their order and a reader that goes on from the last one misses none.
CREATE TABLE sale_log (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_change     bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO sale_log (last_change) VALUES (0);

-- The number of the sale's last change.
ALTER TABLE sales ADD COLUMN change bigint NOT NULL DEFAULT 0;

-- In a trigger, so that what an older engine or an operator's own statement changes spreads as well.
CREATE FUNCTION number_sale_change() RETURNS trigger LANGUAGE plpgsql SET search_path = seckill AS $body$
BEGIN
    UPDATE sale_log SET last_change = last_change + 1 RETURNING last_change INTO NEW.change;
    RETURN NEW;
END
$body$;

CREATE TRIGGER sale_made BEFORE INSERT ON sales FOR EACH ROW EXECUTE FUNCTION number_sale_change();
-- What selling writes (sold, returned) and what the ledger writes (epoch, revision) is not listed.
CREATE TRIGGER sale_changed
    BEFORE UPDATE OF title, price_cents, currency, per_buyer_limit, starts_at_ms, ends_at_ms, pay_within_s, rate_per_s,
                     burst, paused, total
    ON sales FOR EACH ROW EXECUTE FUNCTION number_sale_change();

-- Grows while the node lives. Nodes judge each other by whether it grows, and never compare clocks.
ALTER TABLE nodes ADD COLUMN beats bigint NOT NULL DEFAULT 0;
