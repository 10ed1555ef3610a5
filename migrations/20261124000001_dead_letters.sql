-- What an operator has decided about a dead letter. Open ones have no resolution.

-- `reissued_as` is the new ticket. It is written down before that ticket is published, so that a reissue which is broken off
-- goes on with the same ticket when it is tried again.
ALTER TABLE dead_letters
    ADD COLUMN resolution     text,
    ADD COLUMN discard_reason text,
    ADD COLUMN reissued_as    uuid,
    ADD CONSTRAINT dead_letters_resolution CHECK (
        CASE resolution
            WHEN 'reissued' THEN resolved_at IS NOT NULL AND reissued_as IS NOT NULL
            WHEN 'discarded' THEN resolved_at IS NOT NULL AND discard_reason IS NOT NULL
            ELSE resolution IS NULL AND resolved_at IS NULL
        END
    );

-- There may be many letters, and few are open.
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE resolved_at IS NULL;
