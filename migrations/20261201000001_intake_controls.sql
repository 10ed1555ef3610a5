-- The controls of the intake: whether bookings are accepted, and how many per second in the whole installation.

-- Each row is a change. The one with the largest revision is in force; without any, bookings are accepted without a limit.
-- One table instead of a current row and a log, so that the two cannot differ. Whoever changes the controls names the
-- revision that they have seen, and inserts the next one: of two changes at once, the primary key refuses one.
CREATE TABLE intake_controls (
    revision          bigint PRIMARY KEY CHECK (revision > 0),
    intake_paused     boolean NOT NULL,
    -- No limit if it is null.
    accept_per_second integer CHECK (accept_per_second > 0),
    changed_at        timestamptz NOT NULL,
    changed_by        text NOT NULL,
    reason            text NOT NULL
);
