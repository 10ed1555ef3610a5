//! The migration to one tier of each ticket type per concert, on data as earlier versions left it.

use hamro_shared::database::MIGRATOR;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;

const UNIQUE_TIERS: i64 = 20_261_128_000_001;

async fn migrate(pool: &PgPool, is_applied: impl Fn(i64) -> bool) {
    let migrations = MIGRATOR.iter().filter(|migration| is_applied(migration.version)).cloned().collect();
    let migrator = Migrator { migrations, ignore_missing: true, ..Migrator::DEFAULT };
    migrator.run(pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn the_migration_marks_all_but_the_oldest_tier_of_a_type(pool: PgPool) {
    migrate(&pool, |version| version < UNIQUE_TIERS).await;
    sqlx::raw_sql(
        "INSERT INTO ticket_types (name) VALUES ('A'), ('B');
         INSERT INTO concerts (title, artist, date, time, venue, city, image)
         SELECT 'Concert ' || n, '', '2099-12-31', '19:00', '', '', '' FROM generate_series(1, 2) n;
         INSERT INTO ticket_tiers (concert_id, ticket_type_id, price)
         SELECT id, kind, 1 FROM concerts, unnest(ARRAY[1, 2, 1, 1]) WITH ORDINALITY AS kinds (kind, n) ORDER BY title, n",
    )
    .execute(&pool)
    .await
    .unwrap();
    migrate(&pool, |_| true).await;
    let marked: Vec<i32> = sqlx::query_scalar("SELECT id FROM ticket_tiers WHERE is_duplicate ORDER BY id")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(marked, [3, 4, 7, 8]);
    // As earlier versions insert a tier.
    let another = sqlx::query(
        "INSERT INTO ticket_tiers (concert_id, ticket_type_id, price) SELECT id, 1, 1 FROM concerts LIMIT 1",
    )
    .execute(&pool)
    .await;
    let error = another.unwrap_err();
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("ticket_tiers_type_of_concert"));
}
