-- Version 7: pauses that end by themselves, and sales that are stopped at once. Never change a released file.

-- When the sale's pause ends; NULL when somebody has to end it.
ALTER TABLE sales ADD COLUMN paused_until_ms bigint;

-- An engine that does not know the column pauses until somebody ends it, whatever an earlier pause left here.
CREATE FUNCTION forget_former_pause() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF NEW.paused AND NOT OLD.paused AND NEW.paused_until_ms IS NOT DISTINCT FROM OLD.paused_until_ms THEN
        NEW.paused_until_ms := NULL;
    END IF;
    RETURN NEW;
END
$body$;

CREATE TRIGGER former_pause_forgotten BEFORE UPDATE OF paused ON sales
    FOR EACH ROW EXECUTE FUNCTION forget_former_pause();

-- All sales of a tenant that are stopped at once, or were; tenant '': those of all. A change is numbered as one of a sale is,
-- so that whoever follows those hears of it.
CREATE TABLE stops (
    tenant          text COLLATE "C" PRIMARY KEY,
    is_stopped      boolean NOT NULL,
    change          bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TRIGGER stops_changed BEFORE INSERT OR UPDATE ON stops FOR EACH ROW EXECUTE FUNCTION number_sale_change();
