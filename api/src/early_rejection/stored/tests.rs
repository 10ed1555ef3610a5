use hamro_shared::database::{MIGRATOR, seed};
use sqlx::{ConnectOptions, Connection, PgPool};
use uuid::Uuid;

use super::*;

async fn execute(pool: &PgPool, statements: &'static str) {
    sqlx::raw_sql(statements).execute(pool).await.unwrap();
}

/// The concert of the seats 1 to 100.
async fn seeded_concert(pool: &PgPool) -> ConcertId {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    ConcertId(sqlx::query_scalar("SELECT concert_id FROM seats WHERE id = 1").fetch_one(pool).await.unwrap())
}

async fn compared(pool: &PgPool, concert: ConcertId) -> Option<Compared> {
    let mut found = compare(&mut pool.acquire().await.unwrap(), &[concert]).await.unwrap();
    found.remove(&concert)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_comparison_finds_the_version_with_which_the_seats_are_loaded(pool: PgPool) {
    let concert = seeded_concert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let loaded = sold_seats::load(&mut connection, concert).await.unwrap().unwrap();
    let version = SeatsVersion { history: loaded.history, freed_version: loaded.freed_version };
    let found = compare(&mut connection, &[concert, ConcertId(Uuid::nil())]).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&concert]);
    assert_eq!((found[&concert].version, found[&concert].free), (version, 100));
    assert!(compare(&mut connection, &[]).await.unwrap().is_empty());

    execute(&pool, "UPDATE seats SET booked_at = now() WHERE id = 1").await;
    assert_eq!(compared(&pool, concert).await.unwrap().version, version, "a sale does not change it");
    execute(&pool, "UPDATE seats SET booked_at = NULL WHERE id = 1").await;
    assert_ne!(compared(&pool, concert).await.unwrap().version, version);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_sales_of_a_concert_close_when_it_begins_at_the_latest(pool: PgPool) {
    let concert = seeded_concert(&pool).await;
    let closes_at = async |statements| {
        execute(&pool, statements).await;
        compared(&pool, concert).await.unwrap().terms.sales_close_at
    };
    let begins = closes_at("UPDATE concerts SET date = '2099-01-02', sales_close_at = NULL").await;
    let later = closes_at("UPDATE concerts SET sales_close_at = '2099-01-04Z'").await;
    let earlier = closes_at("UPDATE concerts SET sales_close_at = '2099-01-01Z'").await;
    assert!(begins.is_some());
    assert_eq!(later, begins);
    assert!(earlier < begins);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_concert_that_is_hidden_or_has_no_version_is_missing(pool: PgPool) {
    let concert = seeded_concert(&pool).await;
    for (break_it, mend_it) in [
        ("UPDATE concerts SET hidden = true", "UPDATE concerts SET hidden = false"),
        (
            "CREATE TABLE kept AS TABLE freed_versions; DELETE FROM freed_versions",
            "INSERT INTO freed_versions TABLE kept",
        ),
        ("DELETE FROM installation_epoch", ""),
    ] {
        assert!(compared(&pool, concert).await.is_some());
        execute(&pool, break_it).await;
        assert!(compared(&pool, concert).await.is_none(), "{break_it}");
        execute(&pool, mend_it).await;
    }
}

/// Enough for a scan to be noticed.
const MANY_CONCERTS: &str = "
    INSERT INTO concerts (title, artist, date, time, venue, city, image)
    SELECT 'Concert ' || n, '', '2099-12-31', '19:00', '', '', '' FROM generate_series(1, 5000) n;
    INSERT INTO ticket_tiers (concert_id, ticket_type_id, price, total, available)
    SELECT id, (SELECT min(id) FROM ticket_types), 1, 0, 0 FROM concerts WHERE title LIKE 'Concert %';
    INSERT INTO freed_versions (concert_id) SELECT id FROM concerts ON CONFLICT DO NOTHING;";

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_comparison_scans_no_table(pool: PgPool) {
    let concert = seeded_concert(&pool).await;
    let options = (*pool.connect_options()).clone().application_name("comparison");
    // A session reports what it has read when it ends, so each step has one of its own.
    let run = async |statement: &'static str| {
        let mut session: PgConnection = options.connect().await.unwrap();
        sqlx::raw_sql(statement).execute(&mut session).await.unwrap();
        session.close().await.unwrap();
    };
    run(MANY_CONCERTS).await;
    for statistics in ["", "ANALYZE"] {
        run(statistics).await;
        let before = scanned(&pool).await;
        let mut session: PgConnection = options.connect().await.unwrap();
        assert_eq!(compare(&mut session, &[concert]).await.unwrap().len(), 1);
        session.close().await.unwrap();
        let scanned = scanned(&pool).await - before;
        assert!(scanned < 5_000, "{scanned} rows");
    }
}

/// The rows that ended sessions have read by scans of whole tables.
async fn scanned(pool: &PgPool) -> i64 {
    let is_open = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                  WHERE datname = current_database() AND application_name = 'comparison')";
    while sqlx::query_scalar::<_, bool>(is_open).fetch_one(pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    let scanned = "SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables
                   WHERE relname IN ('concerts', 'freed_versions', 'ticket_tiers')";
    sqlx::query_scalar(scanned).fetch_one(pool).await.unwrap()
}
