-- Hidden concerts: clients see nothing of them, neither in a list nor by an id. Only the canary's is hidden. It is a test concert
-- too, so that earlier versions, which ignore these columns, do not list it either.
ALTER TABLE concerts
    ADD COLUMN hidden       boolean NOT NULL DEFAULT false,
    -- The only customer who can book its seats, by e-mail address. To the bookings of all others, they do not exist.
    ADD COLUMN reserved_for text,
    ADD CONSTRAINT concerts_reserved_are_hidden CHECK (hidden OR reserved_for IS NULL);

ALTER TABLE ticket_types ADD COLUMN hidden boolean NOT NULL DEFAULT false;

-- The state of the canary and the result of its last run, for all instances. At most one row.
CREATE TABLE canary (
    is_only_row      boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    -- The seat that was booked last. The next run takes the next one.
    last_seat_id     integer NOT NULL DEFAULT 0,
    last_run_at      timestamptz,
    last_success_at  timestamptz,
    duration_seconds double precision,
    -- Where and why the last run failed.
    failure          text,
    -- The code with which the last run was refused on purpose, because the intake was paused or limited.
    refused_with     text
);

-- The tickets of the canary. Their bookings and sales are deleted a day later, with these rows.
CREATE TABLE canary_tickets (
    ticket_id uuid PRIMARY KEY,
    booked_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX canary_tickets_booked_at ON canary_tickets (booked_at);
