//! Whether each sequence is beyond the numbers in use. One that is not gives numbers out again: rows are refused, or a new sale
//! gets the number of a lost one.
//!
//! Sequences are not part of a transaction. A logical replica has them at their start, a restore of single tables leaves them
//! as they were, and a copy of rows with their ids does not move them.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::problem::{Problem, Repair};

/// Columns that refer to a numbered row, which may be lost: without foreign keys, nothing else remembers its number.
const REFERENCES: [(&str, &str, &str); 7] = [
    ("sales", "sale_seats", "sale_id"),
    ("sales", "bookings", "sale_id"),
    ("sales", "releases", "sale_id"),
    ("seats", "sale_seats", "seat_id"),
    ("ticket_tiers", "seats", "ticket_tier_id"),
    ("ticket_tiers", "sale_seats", "ticket_tier_id"),
    ("ticket_types", "ticket_tiers", "ticket_type_id"),
];

/// A sequence that numbers the rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Sequence {
    /// Names that can be used in SQL.
    pub name: String,
    pub table: String,
    pub column: String,
    pub max: i64,
}

/// All sequences that belong to a column.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<Sequence>, sqlx::Error> {
    sqlx::query_as(
        "SELECT sequence.oid::regclass::text AS name, attrelid::regclass::text AS table, quote_ident(attname) AS column,
                seqmax AS max
         FROM pg_class sequence
         JOIN pg_sequence ON seqrelid = sequence.oid
         JOIN pg_depend ON classid = 'pg_class'::regclass AND objid = sequence.oid
             AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
         JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
         WHERE sequence.relnamespace = current_schema()::regnamespace
         ORDER BY 1",
    )
    .fetch_all(connection)
    .await
}

impl Sequence {
    /// The last number that was given out; 0 before the first.
    pub async fn last(&self, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
        // The name is from the catalogue, quoted.
        let query =
            format!("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {}", self.name);
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(connection).await
    }

    /// The highest number in use; 0 without rows.
    pub async fn highest_used(&self, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
        let mut used = vec![(self.table.as_str(), self.column.as_str())];
        used.extend(
            REFERENCES
                .iter()
                .filter(|(table, ..)| *table == self.table)
                .map(|(_, referring, column)| (*referring, *column)),
        );
        let maxima: Vec<String> = used
            .iter()
            .map(|(table, column)| format!("(SELECT max({column})::bigint FROM {table})"))
            .collect();
        let query = format!("SELECT coalesce(greatest({}), 0)", maxima.join(", "));
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(connection).await
    }

    /// Moves the sequence to this number, unless it is beyond. The caller has locked the table against inserts, which is where
    /// numbers are given out.
    pub async fn move_to(&self, connection: &mut PgConnection, to: i64) -> Result<i64, sqlx::Error> {
        let last = self.last(&mut *connection).await?;
        if to > last {
            sqlx::query("SELECT setval($1::regclass, $2)")
                .bind(&self.name)
                .bind(to)
                .execute(connection)
                .await?;
        }
        Ok(to.max(last))
    }
}

/// Keeps others from inserting rows until the transaction ends. Reading goes on.
pub async fn lock_against_inserts(connection: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
    let lock = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
    sqlx::query(AssertSqlSafe(lock)).execute(connection).await?;
    Ok(())
}

pub async fn problems(snapshot: &mut PgConnection) -> Result<Vec<Problem>, sqlx::Error> {
    let mut problems = Vec::new();
    for sequence in all(snapshot).await? {
        // In this order: the rows of the snapshot got their numbers before it.
        let highest = sequence.highest_used(&mut *snapshot).await?;
        let last = sequence.last(&mut *snapshot).await?;
        if last < highest {
            let Sequence { name, table, .. } = sequence;
            let found =
                format!("{name} is at {last}, and {table} or what refers to it has the number {highest}");
            problems.push(Problem::repairable(
                "sequences",
                found,
                Repair::Sequence { sequence: name, table, to: highest },
            ));
        }
    }
    Ok(problems)
}
