//! The controls in Postgres: every change is a row, and the newest is in force.

use std::num::NonZeroU32;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::IntakeControls;
use sqlx::postgres::PgConnection;

use crate::http::admin_auth::AdminName;

/// The controls that are in force. By default, bookings are accepted without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredControls {
    pub controls: IntakeControls,
    /// `None` if nobody has ever changed them.
    pub change: Option<Change>,
}

/// Who has changed the controls, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    pub by: String,
    pub reason: String,
}

/// What an administrator wants to change.
#[derive(Clone, Debug)]
pub struct ChangeOrder {
    /// The revision that the administrator has seen.
    pub seen_revision: i64,
    pub intake_paused: bool,
    pub accept_per_second: Option<NonZeroU32>,
    pub by: AdminName,
    pub reason: String,
}

struct Row {
    revision: i64,
    intake_paused: bool,
    accept_per_second: Option<i32>,
    changed_at: Timestamp,
    changed_by: String,
    reason: String,
}

impl From<Row> for StoredControls {
    fn from(row: Row) -> Self {
        let accept_per_second =
            row.accept_per_second.and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new);
        let Row { revision, intake_paused, changed_at, changed_by, reason, .. } = row;
        Self {
            controls: IntakeControls { revision, intake_paused, accept_per_second },
            change: Some(Change { at: changed_at, by: changed_by, reason }),
        }
    }
}

/// Reads the controls that are in force.
pub async fn read(connection: &mut PgConnection) -> Result<StoredControls, sqlx::Error> {
    Ok(newest(connection, None, 1).await?.pop().unwrap_or_default())
}

/// Reads at most `limit` changes, the newest first: those before a revision, or the newest of all.
pub async fn newest(
    connection: &mut PgConnection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<StoredControls>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT revision, intake_paused, accept_per_second, changed_at AS "changed_at: Timestamp", changed_by, reason
        FROM intake_controls
        WHERE revision < $1
        ORDER BY revision DESC
        LIMIT $2
        "#,
        before.unwrap_or(i64::MAX),
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredControls::from).collect())
}

/// Stores the change. `Err` has the controls that are in force, if the administrator has not seen these.
pub async fn store(
    connection: &mut PgConnection,
    order: ChangeOrder,
) -> Result<Result<StoredControls, StoredControls>, sqlx::Error> {
    let limit = order.accept_per_second.and_then(|limit| i32::try_from(limit.get()).ok());
    let stored = sqlx::query_as!(
        Row,
        r#"
        INSERT INTO intake_controls (revision, intake_paused, accept_per_second, changed_at, changed_by, reason)
        SELECT $1::bigint + 1, $2, $3, now(), $4, $5
        WHERE $1 = (SELECT coalesce(max(revision), 0) FROM intake_controls)
        ON CONFLICT (revision) DO NOTHING
        RETURNING revision, intake_paused, accept_per_second, changed_at AS "changed_at: Timestamp", changed_by, reason
        "#,
        order.seen_revision,
        order.intake_paused,
        limit,
        order.by.as_str(),
        order.reason
    )
    .fetch_optional(&mut *connection)
    .await?;
    match stored {
        Some(row) => Ok(Ok(row.into())),
        None => read(connection).await.map(Err),
    }
}
