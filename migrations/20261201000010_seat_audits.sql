-- What the auditor of sales has found: the report that all programs read, and how far it is, so that another worker can go on.
-- At most one row. Its columns are JSON, so that a later version can add to them while an earlier one runs.
CREATE TABLE seat_audits (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    report      jsonb NOT NULL,
    progress    jsonb NOT NULL,
    saved_at    timestamptz NOT NULL
) WITH (fillfactor = 50);
