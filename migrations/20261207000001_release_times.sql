-- Says for each release when its seats can be sold again.

-- The seats are sold to tickets that are issued at this time or later. Null while the release is unfinished, and in rows that a
-- program of an earlier version has finished.
ALTER TABLE releases ADD COLUMN free_from timestamptz;
