-- Instances may refuse a booking of seats that they know to be sold. What they know is true as long as no seat was freed, added
-- or removed. So each concert has a number that every transaction changes which does so, and that no sale changes. It is not in
-- `concerts`, whose rows are versions of what clients see.
--
-- The triggers count changes by hand too, and those by programs of earlier versions.
CREATE TABLE freed_versions (
    concert_id uuid PRIMARY KEY REFERENCES concerts ON DELETE CASCADE,
    -- Begins with the time, so that a row that was deleted and inserted again has another version.
    version    bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
) WITH (fillfactor = 50);

-- The timeline of the server: together with the epoch, it identifies a history. A promotion continues from an earlier state
-- under a new timeline, and nobody draws an epoch for it. 0 if the server does not tell it: some hosting providers revoke the
-- right.
CREATE FUNCTION database_timeline() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF pg_is_in_recovery()
        OR NOT coalesce(has_function_privilege(to_regprocedure('pg_current_wal_lsn()'), 'execute'), false)
        OR NOT coalesce(has_function_privilege(to_regprocedure('pg_walfile_name(pg_lsn)'), 'execute'), false)
    THEN
        RETURN 0;
    END IF;
    -- The first eight digits of a log file's name. pg_control_checkpoint() tells them only after a checkpoint.
    RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
END
$$;

-- A seat that is no longer marked as sold is sold only to tickets issued three seconds later, whoever frees it: an instance may
-- refuse it for another second. The version changes once in a transaction.
CREATE FUNCTION free_seat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.booked_at IS NOT NULL AND NEW.booked_at IS NULL THEN
        NEW.free_from := greatest(NEW.free_from, clock_timestamp() + interval '3 seconds');
    END IF;
    UPDATE freed_versions SET version = version + 1
    WHERE concert_id IN (OLD.concert_id, NEW.concert_id) AND xmin <> pg_current_xact_id()::xid;
    RETURN NEW;
END
$$;

-- A sale evaluates the condition and nothing else.
CREATE TRIGGER seats_freed BEFORE UPDATE ON seats
    FOR EACH ROW
    WHEN (OLD.booked_at IS NOT NULL AND NEW.booked_at IS NULL OR OLD.concert_id <> NEW.concert_id OR OLD.id <> NEW.id)
    EXECUTE FUNCTION free_seat();

CREATE FUNCTION count_added_seats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO freed_versions (concert_id) SELECT DISTINCT concert_id FROM added ORDER BY concert_id
    ON CONFLICT (concert_id) DO UPDATE SET version = freed_versions.version + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER seats_added AFTER INSERT ON seats
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_added_seats();

CREATE FUNCTION count_removed_seats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM freed_versions WHERE concert_id IN (SELECT concert_id FROM removed) ORDER BY concert_id FOR NO KEY UPDATE;
    UPDATE freed_versions SET version = version + 1 WHERE concert_id IN (SELECT concert_id FROM removed);
    RETURN NULL;
END
$$;

CREATE TRIGGER seats_removed AFTER DELETE ON seats
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_seats();

CREATE FUNCTION count_truncated_seats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE freed_versions SET version = version + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER seats_truncated AFTER TRUNCATE ON seats
    FOR EACH STATEMENT EXECUTE FUNCTION count_truncated_seats();

-- After the triggers, which have waited for all sessions that write seats: a concert that is not read here gets its row with its
-- first seat.
INSERT INTO freed_versions (concert_id) SELECT id FROM concerts ON CONFLICT DO NOTHING;

-- A release has two transactions: the first frees the seats for tickets of the year 9999, and the second for those that are issued
-- three seconds after the first was committed. In between, it is unfinished. Releases by earlier versions have one transaction.
ALTER TABLE releases ADD COLUMN is_finished boolean NOT NULL DEFAULT true;

CREATE INDEX releases_unfinished ON releases (id) WHERE NOT is_finished;
