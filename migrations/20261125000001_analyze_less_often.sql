-- A sale of a minute multiplies these tables, or changes every seat of a concert. By the usual thresholds (a tenth, a fifth
-- of the rows) each of them is analyzed and vacuumed in the middle of it, as often as the daemon wakes up, for statistics
-- that say the same as before: they are read by their keys alone. So not before they are three times as large; and where
-- rows are only ever added there is nothing to clean up, so the pages can be marked as visible later as well.
ALTER TABLE bookings SET (autovacuum_analyze_scale_factor = 2, autovacuum_vacuum_insert_scale_factor = 1);
ALTER TABLE sales SET (autovacuum_analyze_scale_factor = 2, autovacuum_vacuum_insert_scale_factor = 1);
ALTER TABLE sale_seats SET (autovacuum_analyze_scale_factor = 2, autovacuum_vacuum_insert_scale_factor = 1);
ALTER TABLE seats SET (autovacuum_analyze_scale_factor = 2);
