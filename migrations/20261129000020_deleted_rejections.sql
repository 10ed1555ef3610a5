-- Rejected bookings may be deleted some time after their tickets were issued. A ticket without a row is otherwise one that
-- was never settled, and past its deadline it expires. This says for which tickets it is not.
--
-- At most one row, which only grows. It is committed before the bookings are deleted.
CREATE TABLE deleted_rejections (
    is_only_row  boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    issued_until timestamptz NOT NULL
);
