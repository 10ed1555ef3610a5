-- A limit of seats per customer, for one concert. Without it, the workers' setting applies.
ALTER TABLE concerts
    ADD COLUMN seats_per_customer integer
        CONSTRAINT concerts_seats_per_customer CHECK (seats_per_customer >= 1);

-- Whose sale it is, so that the seats of a customer can be counted: the digest of the address without its `+tag`, and, if it has
-- one, that of the whole address. An erased customer has none. Workers compute them; `customer_digest(text)` does the same for
-- ASCII addresses.
ALTER TABLE sales
    ADD COLUMN customer_digest bytea,
    ADD COLUMN tagged_digest   bytea;

-- A hash index, because every sale inserts a random value: that costs two thirds of what a B-tree takes.
CREATE INDEX sales_customer_digest ON sales USING hash (customer_digest) WHERE customer_digest IS NOT NULL;

-- Locks on customers whose seats are being counted. A row means nothing unless a transaction holds it, and may be deleted at any
-- time; so the table needs no WAL. Rows contain digests of addresses: whatever erases those deletes these.
CREATE UNLOGGED TABLE customer_locks (
    concert_id      uuid NOT NULL,
    customer_digest bytea NOT NULL,
    PRIMARY KEY (concert_id, customer_digest)
);

-- NULL if the address is not ASCII: its spellings cannot be compared in SQL.
CREATE FUNCTION customer_digest(address text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(address) = char_length(address) THEN
        substring(sha256(convert_to('customer:' || lower(address COLLATE "C"), 'UTF8')) FOR 16)
    END
$$;

-- An address without its tag: `alice+friends@example.com` is `alice@example.com`.
CREATE FUNCTION address_without_tag(address text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(address, '^([^"+@][^+@]*)\+.*(@[^@]*)$', '\1\2')
$$;

-- Workers of earlier versions, which may still run, insert sales without digests.
CREATE FUNCTION digest_customer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.customer_digest := customer_digest(address_without_tag(NEW.user_email));
    IF address_without_tag(NEW.user_email) <> NEW.user_email THEN
        NEW.tagged_digest := customer_digest(NEW.user_email);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER sales_digested BEFORE INSERT ON sales
    FOR EACH ROW WHEN (NEW.customer_digest IS NULL)
    EXECUTE FUNCTION digest_customer();
