-- Concerts for tests and load tests. They are not listed, and can be deleted with everything that was sold.
ALTER TABLE concerts ADD COLUMN is_test boolean NOT NULL DEFAULT false;

-- A sold seat can be deleted only if its concert is a test concert, and only after its sale. If a deletion comes by way
-- of the concert, the concert no longer exists here, so the seat is protected then too.
CREATE OR REPLACE FUNCTION refuse_to_delete_a_sold_seat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM concerts WHERE id = OLD.concert_id AND is_test)
        AND NOT EXISTS (SELECT FROM sale_seats WHERE seat_id = OLD.id AND released_at IS NULL)
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'seat % is sold', OLD.id USING ERRCODE = 'restrict_violation', CONSTRAINT = 'seats_sold';
END
$$;

-- The retries that share the outcome of a ticket, which are deleted with its sale. Few bookings are retries.
CREATE INDEX bookings_alias_of ON bookings (alias_of) WHERE alias_of IS NOT NULL;
