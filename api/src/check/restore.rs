//! What follows from a restore: commits were lost that others have seen.
//!
//! Instances and clients know numbers that were given out after the backup. A lost sale's number must not become another
//! buyer's, and a queued booking of a lost seat must not become one of a new seat with its number. So the sequences skip what
//! may have been given out.

use hamro_shared::epoch;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::sequences::{self, Sequence, lock_against_inserts};

/// More numbers than an installation gives out between two backups. An `integer` has room for two thousand restores.
const SKIPPED: i64 = 1_000_000;

/// Half of the numbers of api instances, which repeat after 32 768 starts: none that may run has one of the next numbers.
const SKIPPED_INSTANCES: i64 = 16_384;
const INSTANCES: i64 = 32_768;

/// Moves all sequences forward and draws a new epoch. Returns what was done. May be repeated.
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
    Ok(done)
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
