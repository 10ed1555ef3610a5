//! The version of a concert, which tells until when a seat that was sold is sold.

use hamro_shared::database::{MIGRATOR, seed};
use sqlx::{AssertSqlSafe, PgPool};

async fn execute(pool: &PgPool, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(pool).await.unwrap();
}

/// The concerts of the demo, each with 100 seats: 1 to 100, 101 to 200, and 201 to 300. Seats 1 to 10 and 101 are sold.
async fn seeded(pool: &PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    execute(pool, "UPDATE seats SET booked_at = now() WHERE id <= 10 OR id = 101").await;
}

/// The versions of the concerts, in the order of their first seats.
async fn versions(pool: &PgPool) -> Vec<i64> {
    let query = "SELECT version FROM freed_versions
                 JOIN concerts ON concerts.id = concert_id ORDER BY concerts.date";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

/// How often the version of each concert changed during these statements.
async fn changes(pool: &PgPool, statements: &str) -> Vec<i64> {
    let before = versions(pool).await;
    execute(pool, statements).await;
    versions(pool).await.iter().zip(before).map(|(after, before)| after - before).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_version_changes_in_every_transaction_that_frees_adds_or_removes_seats(pool: PgPool) {
    seeded(&pool).await;
    for (statements, expected) in [
        ("UPDATE seats SET booked_at = NULL WHERE id = 1", [1, 0, 0]),
        ("UPDATE seats SET booked_at = NULL WHERE id IN (2, 3, 101)", [1, 1, 0]),
        (
            "INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section)
             SELECT concert_id, ticket_tier_id, 'N-1', 1, 'new' FROM seats WHERE id = 201",
            [0, 0, 1],
        ),
        ("DELETE FROM seats WHERE id IN (50, 202)", [1, 0, 1]),
        // A sold seat moves to another concert, or gets another number.
        (
            "UPDATE seats
             SET (concert_id, ticket_tier_id) = (SELECT concert_id, ticket_tier_id FROM seats WHERE id = 300),
                 seat_number = 'M-1'
             WHERE id = 4",
            [1, 0, 1],
        ),
        ("UPDATE seats SET id = 9001 WHERE id = 5", [1, 0, 0]),
        // Once in a transaction, however many statements free seats.
        (
            "BEGIN; UPDATE seats SET booked_at = NULL WHERE id = 6; UPDATE seats SET booked_at = NULL WHERE id = 7; COMMIT",
            [1, 0, 0],
        ),
        ("TRUNCATE seats", [1, 1, 1]),
    ] {
        assert_eq!(changes(&pool, statements).await, expected, "{statements}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_version_changes_in_no_sale_and_not_when_a_transaction_is_rolled_back(pool: PgPool) {
    seeded(&pool).await;
    for statements in [
        "UPDATE seats SET booked_at = now(), updated_at = now() WHERE id BETWEEN 11 AND 40",
        "UPDATE seats SET booked_at = now() WHERE id <= 10",
        "UPDATE seats SET free_from = now(), section = 'renamed'",
        "UPDATE seats SET booked_at = NULL WHERE id = 299",
        "UPDATE ticket_tiers SET available = 0, price = 7; UPDATE concerts SET title = 'Another'",
        "DELETE FROM seats WHERE id = 12345; UPDATE seats SET booked_at = NULL WHERE false",
        "BEGIN; UPDATE seats SET booked_at = NULL WHERE id = 1; DELETE FROM seats WHERE id = 100; ROLLBACK",
    ] {
        assert_eq!(changes(&pool, statements).await, [0, 0, 0], "{statements}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_transactions_that_free_seats_at_once_both_change_the_version(pool: PgPool) {
    seeded(&pool).await;
    let before = versions(&pool).await;
    let mut first = pool.begin().await.unwrap();
    sqlx::query("UPDATE seats SET booked_at = NULL WHERE id = 1").execute(&mut *first).await.unwrap();
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { execute(&pool, "UPDATE seats SET booked_at = NULL WHERE id = 2").await }
    });
    wait_for_a_lock(&pool).await;
    first.commit().await.unwrap();
    second.await.unwrap();
    assert_eq!(versions(&pool).await[0], before[0] + 2);
}

async fn wait_for_a_lock(pool: &PgPool) {
    let is_waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                     WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(is_waiting).fetch_one(pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sale_does_not_wait_for_a_release_of_other_seats_of_the_concert(pool: PgPool) {
    seeded(&pool).await;
    let mut release = pool.begin().await.unwrap();
    sqlx::query("UPDATE seats SET booked_at = NULL WHERE id = 1").execute(&mut *release).await.unwrap();
    // What a worker reads and writes. It would fail at once.
    execute(
        &pool,
        "BEGIN; SET LOCAL lock_timeout = 1;
         SELECT version FROM freed_versions;
         UPDATE seats SET booked_at = now() WHERE id = 20;
         COMMIT",
    )
    .await;
    release.rollback().await.unwrap();
}

/// By hand, or by an api of an earlier version.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_seat_that_anybody_frees_is_sold_only_to_tickets_of_three_seconds_later(pool: PgPool) {
    seeded(&pool).await;
    execute(
        &pool,
        "CREATE TABLE begun AS SELECT clock_timestamp() AS at;
         UPDATE seats SET booked_at = NULL WHERE id = 1;
         UPDATE seats SET booked_at = NULL, free_from = clock_timestamp() + interval '1 second' WHERE id = 2;
         UPDATE seats SET booked_at = NULL, free_from = '9999-12-31 00:00+00' WHERE id = 3;",
    )
    .await;
    let freed = "SELECT id FROM seats, begun
                 WHERE free_from >= at + interval '3 seconds' AND free_from < clock_timestamp() + interval '3.1 seconds'
                 ORDER BY id";
    let freed: Vec<i32> = sqlx::query_scalar(freed).fetch_all(&pool).await.unwrap();
    assert_eq!(freed, [1, 2]);
    let unfinished = "SELECT free_from = '9999-12-31 00:00+00' FROM seats WHERE id = 3";
    assert!(sqlx::query_scalar::<_, bool>(unfinished).fetch_one(&pool).await.unwrap());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_deleted_concert_has_no_version_and_a_new_row_has_another_one(pool: PgPool) {
    seeded(&pool).await;
    let before = versions(&pool).await;
    let first_seat = "(SELECT concert_id FROM seats WHERE id = 300)";
    execute(&pool, &format!("DELETE FROM freed_versions WHERE concert_id = {first_seat}")).await;
    execute(
        &pool,
        "INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section)
         SELECT concert_id, ticket_tier_id, 'N-1', 1, 'new' FROM seats WHERE id = 300",
    )
    .await;
    let after = versions(&pool).await;
    assert!(after[2] > before[2], "{before:?} {after:?}");
    execute(&pool, &format!("DELETE FROM concerts WHERE id = {first_seat}")).await;
    assert_eq!(versions(&pool).await, after[..2]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_timeline_is_that_of_the_server(pool: PgPool) {
    let is_equal = "SELECT database_timeline() = timeline_id FROM pg_control_checkpoint()";
    assert!(sqlx::query_scalar::<_, bool>(is_equal).fetch_one(&pool).await.unwrap());
}
