//! The epoch of the database, which tells its histories apart: a restore continues from an earlier state, under a new epoch.
//!
//! Whoever keeps in memory what it has read, keeps it for one epoch only.

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::domain::Timestamp;

/// Which history of the database something is from. A promotion that lost commits continues from an earlier state too, and nobody
/// draws an epoch for it: it begins a new timeline of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct History {
    pub epoch: Uuid,
    /// 0 if the server does not tell it.
    pub timeline: i64,
}

/// The current epoch, and what drew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub id: Uuid,
    pub drawn_at: Timestamp,
    /// `migration` or `restore`.
    pub reason: String,
}

/// The current epoch; `None` if somebody has deleted it.
pub async fn current(connection: &mut PgConnection) -> Result<Option<Epoch>, sqlx::Error> {
    sqlx::query_as!(
        Epoch,
        r#"SELECT epoch AS id, drawn_at AS "drawn_at: Timestamp", reason FROM installation_epoch"#
    )
    .fetch_optional(connection)
    .await
}

/// Draws a new epoch.
pub async fn draw(connection: &mut PgConnection, reason: &str) -> Result<Epoch, sqlx::Error> {
    sqlx::query_as!(
        Epoch,
        r#"
        INSERT INTO installation_epoch (epoch, drawn_at, reason) VALUES (gen_random_uuid(), now(), $1)
        ON CONFLICT (is_only_row) DO UPDATE
        SET epoch = excluded.epoch, drawn_at = excluded.drawn_at, reason = excluded.reason
        RETURNING epoch AS id, drawn_at AS "drawn_at: Timestamp", reason
        "#,
        reason
    )
    .fetch_one(connection)
    .await
}
