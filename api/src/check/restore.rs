//! What follows from a restore: commits were lost that others have seen.
//!
//! Instances and clients know numbers that were given out after the backup. A lost sale's number must not become another
//! buyer's, and a queued booking of a lost seat must not become one of a new seat with its number. So the sequences skip what
//! may have been given out.
//!
//! And instances may have rejected bookings because of sales that are lost. A booking that was submitted before, under the same
//! idempotency key, may still wait in the queue, and must not be sold after its retry was rejected. So all unsold seats are sold
//! only to tickets that are issued later, as if they were released now.

use hamro_shared::domain::{SeatId, Timestamp};
use hamro_shared::epoch;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::sequences::{self, Sequence, lock_against_inserts};

/// More numbers than an installation gives out between two backups. An `integer` has room for two thousand restores.
const SKIPPED: i64 = 1_000_000;

/// Half of the numbers of api instances, which repeat after 32 768 starts: none that may run has one of the next numbers.
const SKIPPED_INSTANCES: i64 = 16_384;
const INSTANCES: i64 = 32_768;

/// How many seats one transaction changes, which takes less than a second.
const BLOCK: i64 = 10_000;

/// Moves all sequences forward, draws a new epoch, and releases all unsold seats. Returns what was done. May be repeated.
pub async fn start_after_restore(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut done = Vec::new();
    for sequence in sequences::all(connection).await? {
        done.push(skip_numbers(connection, &sequence).await?);
    }
    let skipped = sqlx::query_scalar!(
        r#"SELECT setval('instance_numbers', (last_value + $1) % $2) AS "number!" FROM instance_numbers"#,
        SKIPPED_INSTANCES,
        INSTANCES
    );
    let number = skipped.fetch_one(&mut *connection).await?;
    done.push(format!("moved instance_numbers to {number}"));
    let epoch = epoch::draw(connection, "restore").await?;
    done.push(format!("drew the epoch {}: running api instances forget what they have cached", epoch.id));
    let seats = release_unsold_seats(connection).await?;
    done.push(format!("{seats} unsold seats are sold to bookings that are submitted in 3 seconds or later"));
    Ok(done)
}

/// In small transactions, which lock their seats in the order of the workers. Returns how many seats were changed.
async fn release_unsold_seats(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let free_from = sqlx::query_scalar!(
        r#"SELECT clock_timestamp() + interval '3.001 seconds' AS "free_from!: Timestamp""#
    );
    let free_from = free_from.fetch_one(&mut *connection).await?;
    let (mut after, mut changed) = (SeatId(i32::MIN), 0);
    loop {
        let mut transaction = connection.begin().await?;
        let locked = sqlx::query_scalar!(
            r#"SELECT id AS "id: SeatId" FROM seats WHERE id > $1 ORDER BY id LIMIT $2 FOR UPDATE"#,
            after as SeatId,
            BLOCK
        );
        let locked = locked.fetch_all(&mut *transaction).await?;
        let Some(last) = locked.last() else { return Ok(changed) };
        let released = sqlx::query!(
            r#"
            UPDATE seats SET free_from = $3
            WHERE id > $1 AND id <= $2 AND booked_at IS NULL AND (free_from IS NULL OR free_from < $3)
            "#,
            after as SeatId,
            *last as SeatId,
            free_from as Timestamp
        );
        changed += released.execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        after = *last;
    }
}

/// In a transaction of its own, so that it holds one lock at a time.
async fn skip_numbers(connection: &mut PgConnection, sequence: &Sequence) -> Result<String, sqlx::Error> {
    let highest = sequence.highest_used(&mut *connection).await?;
    let mut transaction = connection.begin().await?;
    lock_against_inserts(&mut transaction, &sequence.table).await?;
    let last = sequence.last(&mut transaction).await?.max(highest);
    let name = &sequence.name;
    if last > sequence.max - 2 * SKIPPED {
        return Ok(format!("left {name} as it was, because its numbers are nearly used up"));
    }
    let moved = sequence.move_to(&mut transaction, last + SKIPPED).await?;
    transaction.commit().await?;
    Ok(format!("moved {name} to {moved}"))
}
