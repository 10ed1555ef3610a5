-- Describes the seats of earlier sales. In a transaction of its own, because it may take minutes: meanwhile workers sell.
UPDATE sale_seats sold
SET concert_id = seat.concert_id, ticket_tier_id = seat.ticket_tier_id, section = seat.section, "row" = seat."row",
    seat_number = seat.seat_number
FROM seats seat
WHERE seat.id = sold.seat_id AND sold.seat_number IS NULL;
