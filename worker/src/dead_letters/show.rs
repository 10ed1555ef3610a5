//! `dead-letters show`: shows one letter, including personal data.

use std::fmt::{self, Display};

use comfy_table::{Table, presets};
use hamro_shared::domain::{TicketId, Timestamp};
use serde::Serialize;
use sqlx::PgPool;

use super::{Printable, unknown};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    id: i64,
    created_at: Timestamp,
    ticket: Option<TicketState>,
    reason: String,
    detail: String,
    resolved_at: Option<Timestamp>,
    /// `reissued` or `discarded`.
    resolution: Option<String>,
    discard_reason: Option<String>,
    reissued_as: Option<TicketState>,
    #[serde(flatten)]
    payload: Payload,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TicketState {
    ticket_id: TicketId,
    /// `queued`, or the final status.
    status: String,
}

#[derive(Serialize)]
enum Payload {
    #[serde(rename = "payload")]
    Text(String),
    #[serde(rename = "payloadHex")]
    Hex(String),
}

pub async fn show(pool: &PgPool, id: i64) -> anyhow::Result<Letter> {
    let row = sqlx::query!(
        r#"
        SELECT letter.created_at AS "created_at: Timestamp", letter.ticket_id AS "ticket_id: TicketId", letter.reason,
               letter.detail, letter.payload, letter.resolved_at AS "resolved_at: Timestamp", letter.resolution,
               letter.discard_reason, letter.reissued_as AS "reissued_as: TicketId",
               booking.status AS "status?", again.status AS "reissued_status?"
        FROM dead_letters letter
        LEFT JOIN bookings booking ON booking.ticket_id = letter.ticket_id
        LEFT JOIN bookings again ON again.ticket_id = letter.reissued_as
        WHERE letter.id = $1
        "#,
        id
    )
    .fetch_optional(pool)
    .await?
    .ok_or_else(|| unknown(id))?;
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
        payload: String::from_utf8(row.payload)
            .map_or_else(|error| Payload::Hex(hex::encode(error.as_bytes())), Payload::Text),
    })
}

impl Letter {
    fn state(&self) -> String {
        let at = self.resolved_at.map(|at| format!(" at {at}")).unwrap_or_default();
        match (self.resolution.as_deref(), &self.reissued_as) {
            (Some(resolution), Some(ticket)) => format!("{resolution}{at} as {ticket}"),
            (Some(resolution), None) => {
                format!("{resolution}{at}: {}", Printable(self.discard_reason.as_deref().unwrap_or_default()))
            }
            (None, Some(ticket)) => format!("open, being reissued as {ticket}"),
            (None, None) => "open".to_owned(),
        }
    }
}

impl Display for TicketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.ticket_id, self.status)
    }
}

impl Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticket = self.ticket.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let (encoding, payload) = match &self.payload {
            Payload::Text(text) => ("payload", Printable(text).to_string()),
            Payload::Hex(digits) => ("payload, in hex", digits.clone()),
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for (name, value) in [
            ("dead letter", self.id.to_string()),
            ("time", self.created_at.to_string()),
            ("ticket", ticket),
            ("reason", self.reason.clone()),
            ("detail", Printable(&self.detail).to_string()),
            ("state", self.state()),
        ] {
            table.add_row([name.to_owned(), value]);
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        write!(f, "{}\n\n{encoding}:\n{payload}", table.trim_fmt())
    }
}
