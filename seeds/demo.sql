-- Three concerts of 100 seats, as the earlier system had them, with dates that stay in the future.
-- Run inside a transaction, and only into an empty catalogue.

INSERT INTO ticket_types (id, name) VALUES (1, 'VIP'), (2, 'Front Row'), (3, 'GA');

WITH concert (n, title, artist, starts, venue, city, image, description) AS (
    VALUES
        (1, 'Hamro Rock Night', 'The Rockers', time '19:00', 'Nepal Arena', 'Kathmandu',
         'https://images.unsplash.com/photo-1470229722913-7c0e2dbbafd3', 'The loudest night of the year.'),
        (2, 'Classical Evening', 'Nepali Symphony', time '18:00', 'Buddha Mandir', 'Pokhara',
         'https://images.unsplash.com/photo-1465847899084-d164df4dedc6', 'Strings under the stars.'),
        (3, 'Jazz Fiesta', 'Kathmandu Jazz Band', time '20:00', 'Lalitpur Jazz Hall', 'Lalitpur',
         'https://images.unsplash.com/photo-1511192336575-5a79af67a629', NULL)
), inserted_concert AS (
    INSERT INTO concerts (title, artist, date, time, venue, city, image, description)
    SELECT title, artist, current_date + 30 * n, starts, venue, city, image, description
    FROM concert
    ORDER BY n
    RETURNING id, title
), tier (ticket_type, price, seats) AS (
    VALUES (1, 100.00, 20), (2, 50.00, 20), (3, 10.00, 60)
)
INSERT INTO ticket_tiers (concert_id, ticket_type_id, price, total, available)
SELECT inserted_concert.id, tier.ticket_type, tier.price, tier.seats, tier.seats
FROM tier, inserted_concert JOIN concert USING (title)
ORDER BY concert.n, tier.ticket_type;

WITH layout (ticket_type, letter, section, first_row, seats_a_row) AS (
    VALUES (1, 'V', 'vip', 2, 10), (2, 'F', 'front', 1, 20), (3, 'G', 'ga', 4, 12)
)
INSERT INTO seats (concert_id, ticket_tier_id, seat_number, "row", section)
SELECT tier.concert_id, tier.id, layout.letter || '-' || n, layout.first_row + (n - 1) / layout.seats_a_row, layout.section
FROM ticket_tiers tier
JOIN layout ON layout.ticket_type = tier.ticket_type_id
CROSS JOIN LATERAL generate_series(1, tier.total) AS n
ORDER BY tier.id, n;

-- The three kinds were given their numbers by hand; the next one must not collide.
SELECT setval(pg_get_serial_sequence('ticket_types', 'id'), max(id)) FROM ticket_types;
