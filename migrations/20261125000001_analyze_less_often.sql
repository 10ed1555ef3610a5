-- A sale of a minute multiplies these tables, or changes every seat of a concert. By the usual thresholds, a tenth of the rows
-- changed or a fifth added, each of them is analyzed and vacuumed in the middle of it again and again, for statistics that say
-- nearly the same as before. Now it takes three fifths: a table that only grows is analyzed when it is two and a half times as
-- large. Vacuum, which has nothing to remove where rows are only added, comes when it is twice as large.
ALTER TABLE bookings SET (autovacuum_analyze_scale_factor = 0.6, autovacuum_vacuum_insert_scale_factor = 1);
ALTER TABLE sales SET (autovacuum_analyze_scale_factor = 0.6, autovacuum_vacuum_insert_scale_factor = 1);
ALTER TABLE sale_seats SET (autovacuum_analyze_scale_factor = 0.6, autovacuum_vacuum_insert_scale_factor = 1);
ALTER TABLE seats SET (autovacuum_analyze_scale_factor = 0.6);
