//! `hamro-worker dead-letters`: lets an operator decide on bookings and messages that could not be processed.
//!
//! A failed ticket stays failed. The operator *reissues* its booking under a new ticket, or *discards* it. One file per
//! command; each returns a result that can be printed as text or as JSON.

mod config;
mod discard;
mod list;
mod reissue;
mod show;

use std::fmt::{self, Display};
use std::num::NonZeroU16;
use std::process::ExitCode;

use anyhow::Context;
use hamro_shared::config::{Env, Variable};
use hamro_shared::database::{Database, DatabaseClock, DatabaseConfig};
use hamro_shared::domain::Clock;
use hamro_shared::output::print;
use serde::Serialize;
use sqlx::{Connection, PgPool};

use crate::settlement::SESSION_SETTINGS;
use config::{DatabaseOnlyConfig, ReissueConfig};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List open dead letters, newest last
    List(list::Selection),
    /// Show a dead letter with its payload, including personal data
    Show {
        /// The id that `list` shows
        id: i64,
    },
    /// Put a dead letter's booking back into the queue, under a new ticket
    ///
    /// Also needs `AMQP_URL`, the api's `TICKET_KEYS`, and its `BOOKING_DEADLINE` and `QUEUE_PREFIX` if set. If the
    /// command fails half-way, run it again: it continues with the same ticket.
    Reissue {
        /// The id that `list` shows
        id: i64,
    },
    /// Close a dead letter without reissuing its booking
    Discard {
        /// The id that `list` shows
        id: i64,
        /// The reason, which `show` prints
        #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        because: String,
    },
}

/// The settings that the commands read, for documentation. Only `reissue` reads more than `DATABASE_URL`.
pub fn variables() -> Vec<Variable> {
    Env::variables_read_by(ReissueConfig::read_sections)
}

/// Runs the command and prints its result.
pub async fn run(Arguments { action, json }: Arguments) -> anyhow::Result<ExitCode> {
    let output = match action {
        Action::List(selection) => render(&list::list(&database_only_pool().await?, selection).await?, json)?,
        Action::Show { id } => render(&show::show(&database_only_pool().await?, id).await?, json)?,
        Action::Reissue { id } => {
            let config = ReissueConfig::read()?;
            let pool = connect(&config.database).await?;
            let clock = database_clock(&config.database).await?;
            render(&reissue::reissue(&config.reissuer(pool, clock), id).await?, json)?
        }
        Action::Discard { id, because } => {
            render(&discard::discard(&database_only_pool().await?, id, &because).await?, json)?
        }
    };
    print(&output)?;
    Ok(ExitCode::SUCCESS)
}

async fn database_only_pool() -> anyhow::Result<PgPool> {
    connect(&DatabaseOnlyConfig::read()?.database).await
}

async fn connect(config: &DatabaseConfig) -> anyhow::Result<PgPool> {
    // A session that is checked as those of the worker are.
    let sessions = config.sessions("hamro-worker-dead-letters", SESSION_SETTINGS);
    let session = sessions.open().await.context("the database cannot be reached")?;
    session.connection.close().await?;
    Ok(config.pool("hamro-worker-dead-letters", SESSION_SETTINGS, NonZeroU16::MIN))
}

/// The clock that decides the deadline of the new ticket.
async fn database_clock(config: &DatabaseConfig) -> anyhow::Result<Clock> {
    let sessions = config.sessions("hamro-worker-dead-letters", SESSION_SETTINGS);
    let clock = DatabaseClock::new(Clock::system());
    clock.measure(&Database::new(sessions, NonZeroU16::MIN)).await.context("reading the database clock")?;
    Ok(clock.clock())
}

fn render(result: &(impl Serialize + Display), json: bool) -> anyhow::Result<String> {
    if json { Ok(serde_json::to_string_pretty(result)?) } else { Ok(result.to_string()) }
}

/// The error for an id that does not exist.
fn unknown(id: i64) -> anyhow::Error {
    anyhow::anyhow!("there is no dead letter {id}: `hamro-worker dead-letters list --all` lists all of them")
}

/// Untrusted text for a terminal, with its control characters escaped.
struct Printable<'a>(&'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| {
            if char.is_control() && char != '\n' {
                write!(f, "{}", char.escape_default())
            } else {
                write!(f, "{char}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_text_is_not() {
        assert_eq!(Printable("a\u{1b}[2Jb\r\nनेपाल").to_string(), "a\\u{1b}[2Jb\\r\nनेपाल");
    }
}
