//! Lists letters without personal data, so that the list can be shared.

use serde::Serialize;
use sqlx::postgres::PgConnection;

use crate::domain::{TicketId, Timestamp};

/// Which letters to list.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Include resolved letters.
    pub all: bool,
    /// Only older letters than this one.
    pub before: Option<i64>,
    /// The maximum number of letters; the newest are listed.
    pub limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// The number of letters, regardless of the limit.
    pub total: i64,
    /// The oldest first.
    pub dead_letters: Vec<ListEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListEntry {
    pub id: i64,
    pub created_at: Timestamp,
    pub ticket_id: Option<TicketId>,
    pub reason: String,
    pub resolved_at: Option<Timestamp>,
    /// `reissued` or `discarded`.
    pub resolution: Option<String>,
    pub reissued_as: Option<TicketId>,
    /// What exactly is wrong. It may name a row of the database, and nothing of the booking.
    #[serde(skip)]
    pub detail: String,
    /// The number of letters, regardless of the limit: the same in each entry.
    #[serde(skip)]
    pub total: i64,
}

pub async fn list(connection: &mut PgConnection, selection: Selection) -> Result<List, sqlx::Error> {
    let mut dead_letters = sqlx::query_as!(
        ListEntry,
        r#"
        SELECT id, created_at AS "created_at: Timestamp", ticket_id AS "ticket_id: TicketId", reason, detail,
               resolved_at AS "resolved_at: Timestamp", resolution, reissued_as AS "reissued_as: TicketId",
               count(*) OVER () AS "total!"
        FROM dead_letters
        WHERE ($1 OR resolved_at IS NULL) AND id < $3
        ORDER BY id DESC
        LIMIT $2
        "#,
        selection.all,
        i64::from(selection.limit),
        selection.before.unwrap_or(i64::MAX)
    )
    .fetch_all(connection)
    .await?;
    dead_letters.reverse();
    Ok(List { total: dead_letters.first().map_or(0, |entry| entry.total), dead_letters })
}
