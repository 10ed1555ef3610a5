//! What a pass costs.

use sqlx::{ConnectOptions, Connection, PgConnection};

use super::*;

/// What sessions have read since the database was created.
struct Read {
    /// Rows that scans of whole tables have read.
    scanned: i64,
    /// Rows that were found by an index.
    fetched: i64,
    index_entries: i64,
}

/// The counts once no session can add to them: a session reports what it has read when it ends.
async fn read_by_ended_sessions(pool: &PgPool) -> Read {
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name IN ('{AUDITOR}', 'setup')"
    );
    let mut ticks = interval(Duration::from_millis(20));
    while sqlx::query_scalar::<_, i64>(AssertSqlSafe(open.clone())).fetch_one(pool).await.unwrap() > 0 {
        ticks.tick().await;
    }
    let (scanned, fetched, index_entries) = sqlx::query_as(
        "SELECT sum(seq_tup_read)::bigint, sum(idx_tup_fetch)::bigint,
                (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes)
         FROM pg_stat_user_tables WHERE relname IN ('seats', 'sale_seats', 'sales', 'bookings', 'ticket_tiers')",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    Read { scanned, fetched, index_entries }
}

/// Thousands of seats in each tier, each in a sale of its own.
const LARGE: &str = "
    ALTER TABLE seats SET (autovacuum_enabled = false); ALTER TABLE sales SET (autovacuum_enabled = false);
    ALTER TABLE sale_seats SET (autovacuum_enabled = false); ALTER TABLE bookings SET (autovacuum_enabled = false);
    INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section, booked_at)
    SELECT concert_id, id, 'N' || id || '-' || n, 1, 'north', now() FROM ticket_tiers, generate_series(1, 5000) n;
    UPDATE ticket_tiers SET total = total + 5000;
    INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
    SELECT id, gen_random_uuid(), 'bob', 'bob@example.com', now() FROM seats WHERE section = 'north';
    INSERT INTO sale_seats (sale_id, position, seat_id, price) SELECT id, 0, id, 1 FROM sales;
    INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
    SELECT ticket_id, 'confirmed', now(), '', id FROM sales;";

/// Both without statistics of the tables and with them.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_pass_reads_each_row_a_few_times_by_an_index_and_scans_no_table(pool: PgPool) {
    seeded(&pool).await;
    for statements in [LARGE, "DELETE FROM seat_audits; ANALYZE;"] {
        let options = (*pool.connect_options()).clone().application_name("setup");
        let mut setup: PgConnection = options.connect().await.unwrap();
        sqlx::raw_sql(statements).execute(&mut setup).await.unwrap();
        let seats: i64 =
            sqlx::query_scalar("SELECT count(*) FROM seats").fetch_one(&mut setup).await.unwrap();
        setup.close().await.unwrap();

        let before = read_by_ended_sessions(&pool).await;
        // A short interval makes the pass fast.
        let auditor = RunningAuditor::start(&pool, Duration::from_millis(50), Workload::default()).await;
        let report = report_that(&pool, |report| report.completed_at.is_some()).await;
        drop(auditor);
        assert_eq!((report.double_sold_seats, found(&report)), (0, vec![]));
        let after = read_by_ended_sessions(&pool).await;
        assert_eq!(after.scanned - before.scanned, 0);
        let (fetched, entries) = (after.fetched - before.fetched, after.index_entries - before.index_entries);
        assert!(fetched > seats, "the counts are complete");
        assert!(
            fetched < 12 * seats && entries < 15 * seats,
            "{fetched} rows, {entries} entries of {seats} seats"
        );
    }
}
