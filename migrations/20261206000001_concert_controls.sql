-- Operators also pause single concerts, or limit their bookings per second.

-- The controls of the concerts that have any, as a list of {concertId, paused, acceptPerSecond}, in the order of the ids. They are
-- a part of the row, so that one revision says what holds for the intake and for every concert. Null in rows from before this
-- migration: there were none.
ALTER TABLE intake_controls ADD COLUMN concerts jsonb CHECK (jsonb_typeof(concerts) = 'array');

-- A change that names no concerts keeps them: one of the whole intake, also by a program of an earlier version.
CREATE FUNCTION keep_concert_controls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.concerts := coalesce(
        (SELECT concerts FROM intake_controls WHERE revision < NEW.revision ORDER BY revision DESC LIMIT 1), '[]'
    );
    RETURN NEW;
END
$$;

CREATE TRIGGER concert_controls_kept BEFORE INSERT ON intake_controls
    FOR EACH ROW
    WHEN (NEW.concerts IS NULL)
    EXECUTE FUNCTION keep_concert_controls();
