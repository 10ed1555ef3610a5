//! What a pass costs.

use super::*;

/// How many rows were read by scans of whole tables, and by indexes.
async fn rows_read(pool: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "SELECT coalesce(sum(seq_tup_read), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint FROM pg_stat_user_tables
         WHERE relname IN ('seats', 'sale_seats', 'sales', 'bookings', 'ticket_tiers')",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

async fn index_entries_read(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Both without statistics of the tables and with them.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_pass_reads_each_row_a_few_times_by_an_index_and_scans_no_table(pool: PgPool) {
    seeded(&pool).await;
    execute(
        &pool,
        "ALTER TABLE seats SET (autovacuum_enabled = false); ALTER TABLE sales SET (autovacuum_enabled = false);
         ALTER TABLE sale_seats SET (autovacuum_enabled = false); ALTER TABLE bookings SET (autovacuum_enabled = false);
         INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section, booked_at)
         SELECT concert_id, id, 'N-' || n, 1, 'north', now() FROM ticket_tiers, generate_series(1, 10000) n;
         UPDATE ticket_tiers SET total = total + 10000;
         INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
         SELECT id, gen_random_uuid(), 'bob', 'bob@example.com', now() FROM seats WHERE section = 'north';
         INSERT INTO sale_seats (sale_id, position, seat_id, price) SELECT id, 0, id, 1 FROM sales;
         INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
         SELECT ticket_id, 'confirmed', now(), '', id FROM sales;",
    )
    .await;
    for statistics in ["", "ANALYZE"] {
        execute(&pool, format!("{statistics}; DELETE FROM seat_audits;")).await;
        let seats: i64 = sqlx::query_scalar("SELECT count(*) FROM seats").fetch_one(&pool).await.unwrap();
        pool.acquire().await.unwrap().close().await.unwrap();
        let (scanned_before, fetched_before) = settled_counts(&pool).await;
        let entries_before = index_entries_read(&pool).await;
        let report = audited(&pool).await;
        assert_eq!((report.double_sold_seats, found(&report)), (0, vec![]));
        let (scanned, fetched) = settled_counts(&pool).await;
        assert_eq!(scanned - scanned_before, 0, "{statistics}");
        let per_seat = 12;
        assert!(fetched - fetched_before > seats, "the statistics of the pass are complete");
        assert!(
            fetched - fetched_before < per_seat * seats,
            "{} fetched {statistics}",
            fetched - fetched_before
        );
        let entries = index_entries_read(&pool).await - entries_before;
        assert!(entries < per_seat * seats, "{entries} entries {statistics}");
    }
}

/// The counts once no session can add to them: sessions report what they have read when they end.
async fn settled_counts(pool: &PgPool) -> (i64, i64) {
    let mut ticks = interval(Duration::from_millis(20));
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND backend_type = 'client backend' AND query LIKE '%seat_audits%'";
    loop {
        ticks.tick().await;
        let open: i64 = sqlx::query_scalar(others).fetch_one(pool).await.unwrap();
        if open == 0 {
            return rows_read(pool).await;
        }
    }
}
