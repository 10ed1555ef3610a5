-- Earlier versions numbered the seats of each tier, so two tiers of a concert may both have a V-1. Of the seats with one label,
-- one keeps it: a sold one, if any is sold. The other sold ones keep it too, since it is on tickets, but are marked. The
-- unsold ones get the next free numbers.
--
-- During this transaction, seats can be read, but not sold or added: a second or two for 300 000 seats, ten if half of them
-- get a new number. Workers retry.
LOCK TABLE seats IN EXCLUSIVE MODE;

CREATE TEMPORARY TABLE duplicate ON COMMIT DROP AS
SELECT *
FROM (
    SELECT seat.id, seat.concert_id, seat.ticket_tier_id, seat.seat_number, sold.is_sold,
           row_number() OVER (PARTITION BY seat.concert_id, seat.seat_number ORDER BY sold.is_sold DESC, seat.id) AS place
    FROM seats seat
    LEFT JOIN sale_seats live ON live.seat_id = seat.id AND live.released_at IS NULL
    CROSS JOIN LATERAL (SELECT seat.booked_at IS NOT NULL OR live.seat_id IS NOT NULL AS is_sold) sold
) numbered
WHERE place > 1;
ANALYZE duplicate;

UPDATE seats SET has_legacy_label = true FROM duplicate WHERE seats.id = duplicate.id AND duplicate.is_sold;

-- A label is a prefix and a number: `V-1`. One without a number becomes a prefix.
WITH last AS (
    SELECT concert_id, coalesce(substring(seat_number FROM '^(.*)-[0-9]+$'), seat_number) AS prefix,
           coalesce(max(substring(seat_number FROM '-([0-9]+)$')::numeric), 0) AS number
    FROM seats
    WHERE concert_id IN (SELECT concert_id FROM duplicate)
    GROUP BY 1, 2
), unsold AS (
    SELECT id, concert_id, ticket_tier_id,
           coalesce(substring(seat_number FROM '^(.*)-[0-9]+$'), seat_number) AS prefix
    FROM duplicate
    WHERE NOT is_sold
), renamed AS (
    SELECT unsold.id,
           prefix || '-' || last.number + row_number() OVER (PARTITION BY concert_id, prefix ORDER BY ticket_tier_id, unsold.id)
               AS label
    FROM unsold JOIN last USING (concert_id, prefix)
)
UPDATE seats SET seat_number = renamed.label, updated_at = now() FROM renamed WHERE seats.id = renamed.id;

-- The version of a seat map is derived from its tiers.
UPDATE ticket_tiers SET total = total WHERE id IN (SELECT ticket_tier_id FROM duplicate WHERE NOT is_sold);

CREATE UNIQUE INDEX seats_label ON seats (concert_id, seat_number) WHERE NOT has_legacy_label;
