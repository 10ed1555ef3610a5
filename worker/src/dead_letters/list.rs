//! `dead-letters list`: which there are. It never shows who booked: reasons, times and tickets can be passed on freely.

use std::fmt::{self, Display};

use comfy_table::{Table, presets};
use hamro_shared::database::StoredTimestamp;
use hamro_shared::domain::{TicketId, Timestamp};
use serde::Serialize;
use sqlx::PgPool;

#[derive(clap::Args)]
pub struct Selection {
    /// Those that are resolved as well
    #[arg(long)]
    all: bool,
    /// How many at most, of the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// How many there are, whatever the limit.
    total: i64,
    dead_letters: Vec<LockQueue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LockQueue {
    id: i64,
    created_at: Timestamp,
    ticket_id: Option<TicketId>,
    reason: String,
    resolved_at: Option<Timestamp>,
    /// `reissued` or `discarded`.
    resolution: Option<String>,
    reissued_as: Option<TicketId>,
}

pub async fn list(pool: &PgPool, selection: Selection) -> Result<List, sqlx::Error> {
    let mut total = 0;
    let rows = sqlx::query!(
        r#"
        SELECT id, created_at AS "created_at: StoredTimestamp", ticket_id, reason,
               resolved_at AS "resolved_at: StoredTimestamp", resolution, reissued_as, count(*) OVER () AS "total!"
        FROM dead_letters
        WHERE $1 OR resolved_at IS NULL
        ORDER BY id DESC
        LIMIT $2
        "#,
        selection.all,
        i64::from(selection.limit)
    )
    .fetch_all(pool)
    .await?;
    let mut dead_letters = Vec::with_capacity(rows.len());
    // The newest were picked, and are shown last: where a terminal leaves the reader.
    for row in rows.into_iter().rev() {
        total = row.total;
        dead_letters.push(LockQueue {
            id: row.id,
            created_at: row.created_at.into(),
            ticket_id: row.ticket_id.map(TicketId),
            reason: row.reason,
            resolved_at: row.resolved_at.map(Into::into),
            resolution: row.resolution,
            reissued_as: row.reissued_as.map(TicketId),
        });
    }
    Ok(List { total, dead_letters })
}

impl LockQueue {
    fn state(&self) -> String {
        match (&self.resolution, self.reissued_as) {
            (Some(resolution), Some(ticket)) => format!("{resolution} as {ticket}"),
            (Some(resolution), None) => resolution.clone(),
            (None, Some(ticket)) => format!("open, being reissued as {ticket}"),
            (None, None) => "open".to_owned(),
        }
    }
}

impl Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dead_letters.is_empty() {
            return write!(f, "There are none.");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["ID", "TIME", "TICKET", "REASON", "STATE"]);
        for line in &self.dead_letters {
            let ticket = line.ticket_id.map_or_else(|| "unknown".to_owned(), |ticket| ticket.to_string());
            let (id, time) = (line.id.to_string(), line.created_at.to_string());
            table.add_row([id, time, ticket, line.reason.clone(), line.state()]);
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        write!(f, "{}", table.trim_fmt())?;
        let older = self.total - i64::try_from(self.dead_letters.len()).unwrap_or(i64::MAX);
        if older > 0 {
            write!(f, "\nAnd {older} older ones: --limit shows more.")?;
        }
        Ok(())
    }
}
