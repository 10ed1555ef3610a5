-- The responses to requests that created something under an `Idempotency-Key`, for their retries. Written in the
-- transaction that creates it. They expire after 24 hours; later requests delete them.
CREATE TABLE creation_keys (
    -- The SHA-256 of the key.
    key_digest   bytea PRIMARY KEY,
    -- The SHA-256 of method, path and body.
    request_hash bytea NOT NULL,
    location     text NOT NULL,
    etag         text,
    body         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX creation_keys_created_at ON creation_keys (created_at);

-- A concert has one tier of each ticket type. Earlier versions allowed several: all but the oldest stay, marked, and can
-- still be sold and changed. No marked tier is added.
ALTER TABLE ticket_tiers ADD COLUMN is_duplicate boolean NOT NULL DEFAULT false;

UPDATE ticket_tiers tier
SET is_duplicate = true
WHERE EXISTS (
    SELECT FROM ticket_tiers older
    WHERE older.concert_id = tier.concert_id AND older.ticket_type_id = tier.ticket_type_id AND older.id < tier.id
);

CREATE UNIQUE INDEX ticket_tiers_type_of_concert ON ticket_tiers (concert_id, ticket_type_id) WHERE NOT is_duplicate;
