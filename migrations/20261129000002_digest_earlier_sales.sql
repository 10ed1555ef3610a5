-- Computes the digests of the sales of concerts that have not begun, so that a limit counts them too. In a transaction of its own,
-- because it may take minutes: meanwhile workers sell. Customers with an address that is not ASCII stay without: what they
-- bought before does not count.
UPDATE sales sale
SET customer_digest = customer_digest(address_without_tag(sale.user_email)),
    tagged_digest = CASE
        WHEN address_without_tag(sale.user_email) <> sale.user_email THEN customer_digest(sale.user_email)
    END
WHERE sale.customer_digest IS NULL
    AND sale.user_email <> 'erased@customer.invalid'
    AND octet_length(sale.user_email) = char_length(sale.user_email)
    AND EXISTS (
        SELECT FROM sale_seats sold
        JOIN concerts concert ON concert.id = sold.concert_id
        WHERE sold.sale_id = sale.id AND concert.begins_at > now()
    );
