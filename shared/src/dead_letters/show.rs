//! Shows one letter, including personal data.

use serde::Serialize;
use sqlx::postgres::PgConnection;

use super::DeadLetterError;
use crate::domain::{TicketId, Timestamp};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    pub id: i64,
    pub created_at: Timestamp,
    pub ticket: Option<TicketState>,
    pub reason: String,
    pub detail: String,
    pub resolved_at: Option<Timestamp>,
    /// `reissued` or `discarded`.
    pub resolution: Option<String>,
    pub discard_reason: Option<String>,
    pub reissued_as: Option<TicketState>,
    /// Left out for decisions that were made with the command of the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reissue_reason: Option<String>,
    #[serde(flatten)]
    pub payload: Payload,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketState {
    pub ticket_id: TicketId,
    /// `queued`, or the final status.
    pub status: String,
}

#[derive(Serialize)]
pub enum Payload {
    #[serde(rename = "payload")]
    Text(String),
    #[serde(rename = "payloadHex")]
    Hex(String),
}

pub async fn show(connection: &mut PgConnection, id: i64) -> Result<Letter, DeadLetterError> {
    let row = sqlx::query!(
        r#"
        SELECT letter.created_at AS "created_at: Timestamp", letter.ticket_id AS "ticket_id: TicketId", letter.reason,
               letter.detail, letter.payload, letter.resolved_at AS "resolved_at: Timestamp", letter.resolution,
               letter.discard_reason, letter.reissued_as AS "reissued_as: TicketId", letter.resolved_by,
               letter.reissue_reason, booking.status AS "status?", again.status AS "reissued_status?"
        FROM dead_letters letter
        LEFT JOIN bookings booking ON booking.ticket_id = letter.ticket_id
        LEFT JOIN bookings again ON again.ticket_id = letter.reissued_as
        WHERE letter.id = $1
        "#,
        id
    )
    .fetch_optional(connection)
    .await?
    .ok_or(DeadLetterError::Unknown(id))?;
    let state = |ticket: Option<TicketId>, status: Option<String>| {
        let status = status.unwrap_or_else(|| "queued".to_owned());
        ticket.map(|ticket_id| TicketState { ticket_id, status })
    };
    Ok(Letter {
        id,
        created_at: row.created_at,
        ticket: state(row.ticket_id, row.status),
        reason: row.reason,
        detail: row.detail,
        resolved_at: row.resolved_at,
        resolution: row.resolution,
        discard_reason: row.discard_reason,
        reissued_as: state(row.reissued_as, row.reissued_status),
        resolved_by: row.resolved_by,
        reissue_reason: row.reissue_reason,
        payload: String::from_utf8(row.payload)
            .map_or_else(|error| Payload::Hex(hex::encode(error.as_bytes())), Payload::Text),
    })
}
