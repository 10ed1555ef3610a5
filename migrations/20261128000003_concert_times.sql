-- The venue's time zone, by its IANA name such as Asia/Kathmandu. Without it, the date and the time of a concert are no moment.
-- The constraint refuses abbreviations and POSIX rules, which Postgres knows too: `UTC+5:45` would be 5:45 behind UTC.
ALTER TABLE concerts
    ADD COLUMN time_zone text
        CONSTRAINT concerts_time_zone CHECK (time_zone = 'UTC' OR time_zone ~ '^[A-Z][A-Za-z_]*(/[A-Za-z0-9_+-]+)+$');

-- When a concert begins: from then on, it is past and its seats cannot be booked. If the time zone is unknown, a concert counts
-- as not begun until its date is over everywhere. Dates beyond the years 1 to 9999 are read as the nearest moments.
CREATE FUNCTION concert_begins_at(date date, "time" time, time_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN date < '0001-01-01' THEN '-infinity'
        WHEN date > '9999-12-31' THEN 'infinity'
        WHEN time_zone IS NULL THEN timezone('UTC', (date + 1) + time '12:00')
        ELSE timezone(time_zone, date + "time")
    END
$$;

-- Computed by the database, so that it is right whoever writes the row.
ALTER TABLE concerts
    ADD COLUMN begins_at timestamptz NOT NULL
        GENERATED ALWAYS AS (concert_begins_at(date, "time", time_zone)) STORED;
