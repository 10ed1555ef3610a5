-- Which history of the database this is. A restore, or a failover that lost commits, continues from an earlier state: then
-- `hamro-api check --after-restore` draws a new epoch, and instances that knew the state before forget what they have cached.
-- One row.
CREATE TABLE installation_epoch (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    epoch       uuid NOT NULL,
    drawn_at    timestamptz NOT NULL DEFAULT now(),
    -- What drew it: `migration` or `restore`.
    reason      text NOT NULL
);

INSERT INTO installation_epoch (epoch, reason) VALUES (gen_random_uuid(), 'migration');
