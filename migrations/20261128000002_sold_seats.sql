-- A sale keeps what its seats were called when they were sold, so that renaming or deleting a seat later changes no
-- outcome and no printed ticket. Adding the columns takes no time. A later migration describes earlier sales.
ALTER TABLE sale_seats
    ADD COLUMN concert_id     uuid,
    ADD COLUMN ticket_tier_id integer,
    ADD COLUMN section        text,
    ADD COLUMN "row"          integer,
    ADD COLUMN seat_number    text;

-- Workers of earlier versions, which may still run, insert rows without a description.
CREATE FUNCTION describe_sold_seat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT concert_id, ticket_tier_id, section, "row", seat_number
    INTO NEW.concert_id, NEW.ticket_tier_id, NEW.section, NEW."row", NEW.seat_number
    FROM seats WHERE id = NEW.seat_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER sale_seats_described BEFORE INSERT ON sale_seats
    FOR EACH ROW WHEN (NEW.seat_number IS NULL)
    EXECUTE FUNCTION describe_sold_seat();
