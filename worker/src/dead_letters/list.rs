//! `dead-letters list`: lists letters without personal data, so that the output can be shared.

use std::fmt::{self, Display};

use comfy_table::{Table, presets};
use hamro_shared::domain::{TicketId, Timestamp};
use serde::Serialize;
use sqlx::PgPool;

#[derive(clap::Args)]
pub struct Selection {
    /// Include resolved letters
    #[arg(long)]
    all: bool,
    /// The maximum number of letters; the newest are listed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// The number of letters, regardless of the limit.
    total: i64,
    dead_letters: Vec<ListEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListEntry {
    id: i64,
    created_at: Timestamp,
    ticket_id: Option<TicketId>,
    reason: String,
    resolved_at: Option<Timestamp>,
    /// `reissued` or `discarded`.
    resolution: Option<String>,
    reissued_as: Option<TicketId>,
    /// The number of letters, regardless of the limit: the same in each entry.
    #[serde(skip)]
    total: i64,
}

pub async fn list(pool: &PgPool, selection: Selection) -> Result<List, sqlx::Error> {
    let mut dead_letters = sqlx::query_as!(
        ListEntry,
        r#"
        SELECT id, created_at AS "created_at: Timestamp", ticket_id AS "ticket_id: TicketId", reason,
               resolved_at AS "resolved_at: Timestamp", resolution, reissued_as AS "reissued_as: TicketId",
               count(*) OVER () AS "total!"
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
    // The newest letter is last, next to the prompt.
    dead_letters.reverse();
    Ok(List { total: dead_letters.first().map_or(0, |entry| entry.total), dead_letters })
}

impl ListEntry {
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
            return write!(f, "No dead letters.");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["ID", "TIME", "TICKET", "REASON", "STATE"]);
        for entry in &self.dead_letters {
            let ticket = entry.ticket_id.map_or_else(|| "unknown".to_owned(), |ticket| ticket.to_string());
            let (id, time) = (entry.id.to_string(), entry.created_at.to_string());
            table.add_row([id, time, ticket, entry.reason.clone(), entry.state()]);
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        write!(f, "{}", table.trim_fmt())?;
        let older = self.total - i64::try_from(self.dead_letters.len()).unwrap_or(i64::MAX);
        if older > 0 {
            write!(f, "\n{older} older not shown: raise --limit.")?;
        }
        Ok(())
    }
}
