//! `--after-restore`.

use hamro_api::check::{Arguments, run, start_after_restore};
use hamro_shared::epoch::{Epoch, current};
use uuid::Uuid;

use super::*;

async fn epoch(pool: &PgPool) -> Epoch {
    current(&mut pool.acquire().await.unwrap()).await.unwrap().unwrap()
}

async fn restored(pool: &PgPool) -> Vec<String> {
    start_after_restore(&mut pool.acquire().await.unwrap()).await.unwrap()
}

async fn number(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_restore_begins_a_new_epoch_each_time(pool: PgPool) {
    let first = epoch(&pool).await;
    assert_eq!(first.reason, "migration");
    restored(&pool).await;
    let second = epoch(&pool).await;
    assert_eq!(second.reason, "restore");
    restored(&pool).await;
    let third = epoch(&pool).await;
    assert!(first.id != second.id && second.id != third.id && first.id != Uuid::nil());
    // Somebody has deleted it.
    execute(&pool, "DELETE FROM installation_epoch").await;
    assert_eq!(rules(&surveyed(&pool).await), ["epoch"]);
    restored(&pool).await;
    assert_eq!(surveyed(&pool).await.problems, []);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn numbers_given_out_after_the_backup_are_not_given_out_again(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, sale(&[21])).await;
    // What was given out between the backup and the restore is unknown to the database. Here the sequences are behind, too.
    execute(&pool, "SELECT setval('seats_id_seq', 1)").await;
    let instance = number(&pool, "SELECT nextval('instance_numbers')").await;
    let done = restored(&pool).await;
    assert_eq!(done.len(), 9, "{done:?}");
    assert_eq!(surveyed(&pool).await.problems, []);
    assert_eq!(number(&pool, "SELECT nextval('sales_id_seq')").await, 1_000_002);
    assert_eq!(number(&pool, "SELECT nextval('seats_id_seq')").await, 1_000_301);
    let next = number(&pool, "SELECT nextval('instance_numbers')").await;
    assert_eq!(next, (instance + 16_384 + 1) % 32_768);
}

/// Bookings that were submitted before may wait in the queue, and their retries may have been rejected because of lost sales.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_restore_releases_all_unsold_seats_and_leaves_sold_and_unfinished_ones(pool: PgPool) {
    seeded(&pool).await;
    let unfinished = "UPDATE seats SET free_from = '9999-12-31 00:00+00' WHERE id = 30;
                      UPDATE seats SET free_from = now() - interval '1 day' WHERE id = 31;";
    execute(&pool, sale(&[21]) + unfinished).await;
    let done = restored(&pool).await;
    assert_eq!(
        done.last().unwrap(),
        "298 unsold seats are sold to bookings that are submitted in 3 seconds or later"
    );
    let released = "SELECT count(*) FROM seats
                    WHERE booked_at IS NULL AND free_from BETWEEN now() AND clock_timestamp() + interval '3.001 seconds'";
    assert_eq!(number(&pool, released).await, 298);
    let others = "SELECT count(*) FROM seats
                  WHERE id = 21 AND free_from IS NULL OR id = 30 AND free_from = '9999-12-31 00:00+00'";
    assert_eq!(number(&pool, others).await, 2);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sequence_that_is_nearly_used_up_is_left_alone(pool: PgPool) {
    execute(&pool, "SELECT setval('seats_id_seq', 2147000000), setval('instance_numbers', 32767)").await;
    let done = restored(&pool).await;
    assert!(done.iter().any(|done| done.starts_with("left seats_id_seq as it was")), "{done:?}");
    assert_eq!(number(&pool, "SELECT last_value FROM seats_id_seq").await, 2_147_000_000);
    assert_eq!(number(&pool, "SELECT nextval('instance_numbers')").await, 16_384);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_earlier_schema_is_reported_before_anything_is_changed(pool: PgPool) {
    execute(
        &pool,
        "DELETE FROM _sqlx_migrations WHERE version = 20261203000001; DROP TABLE installation_epoch",
    )
    .await;
    let arguments = Arguments { repair: true, after_restore: true, json: false };
    run(&mut pool.acquire().await.unwrap(), &arguments).await.unwrap();
    assert_eq!(number(&pool, "SELECT nextval('sales_id_seq')").await, 1);
}
