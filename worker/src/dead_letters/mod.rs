//! `hamro-worker dead-letters`: what could not be processed, for the operator who decides on it.
//!
//! A ticket that ended as failed stays so. What its booking deserves is a person's decision: *reissue* it under a new
//! ticket, or *discard* it. One file an action; each returns an answer that can be shown to people and to scripts.

mod config;
mod discard;
mod list;
mod reissue;
mod show;

use std::fmt::{self, Display};
use std::num::NonZeroU16;
use std::process::ExitCode;

use anyhow::Context;
use hamro_shared::database::{Database, DatabaseClock, DatabaseConfig};
use hamro_shared::domain::Clock;
use hamro_shared::output::print;
use serde::Serialize;
use sqlx::PgPool;

use crate::settlement::SESSION_SETTINGS;
use config::{ReadConfig, ReissueConfig};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List those that nobody has decided on, the newest last
    List(list::Selection),
    /// Show everything about one, the customer's name and address included
    Show {
        /// As `list` shows it
        id: i64,
    },
    /// Put its booking into the queue again, under a new ticket
    ///
    /// Needs `AMQP_URL` and the api's `TICKET_KEYS` as well, and its `BOOKING_DEADLINE` and `QUEUE_PREFIX` if those are set.
    /// If it fails half-way, run it again: it goes on with the same ticket.
    Reissue {
        /// As `list` shows it
        id: i64,
    },
    /// Close one without doing anything about it
    Discard {
        /// As `list` shows it
        id: i64,
        /// Why, for whoever looks at it later
        #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        because: String,
    },
}

/// Does what was asked for and prints the answer.
pub async fn run(Arguments { action, json }: Arguments) -> anyhow::Result<ExitCode> {
    let answer = match action {
        Action::List(selection) => render(&list::list(&read_only_pool().await?, selection).await?, json)?,
        Action::Show { id } => render(&show::show(&read_only_pool().await?, id).await?, json)?,
        Action::Reissue { id } => {
            let config = ReissueConfig::read()?;
            let pool = connect(&config.database).await?;
            let clock = database_clock(&config.database).await?;
            render(&reissue::reissue(&config.reissuer(pool, clock), id).await?, json)?
        }
        Action::Discard { id, because } => {
            render(&discard::discard(&read_only_pool().await?, id, &because).await?, json)?
        }
    };
    print(&answer)?;
    Ok(ExitCode::SUCCESS)
}

async fn read_only_pool() -> anyhow::Result<PgPool> {
    connect(&ReadConfig::read()?.database).await
}

async fn connect(config: &DatabaseConfig) -> anyhow::Result<PgPool> {
    let pool = config.pool("hamro-worker-dead-letters", SESSION_SETTINGS, NonZeroU16::MIN);
    drop(pool.acquire().await.context("the database cannot be reached")?);
    Ok(pool)
}

/// The clock that judges the deadline of a ticket which is issued here.
async fn database_clock(config: &DatabaseConfig) -> anyhow::Result<Clock> {
    let sessions = config.sessions("hamro-worker-dead-letters", SESSION_SETTINGS);
    let clock = DatabaseClock::new(Clock::system());
    clock.measure(&Database::new(sessions, NonZeroU16::MIN)).await.context("reading the database's clock")?;
    Ok(clock.clock())
}

fn render(answer: &(impl Serialize + Display), json: bool) -> anyhow::Result<String> {
    if json { Ok(serde_json::to_string_pretty(answer)?) } else { Ok(answer.to_string()) }
}

/// What to say of an id that nobody knows.
fn unknown(id: i64) -> anyhow::Error {
    anyhow::anyhow!(
        "there is no dead letter {id}: `hamro-worker dead-letters list --all` shows which there are"
    )
}

/// A text that came from outside, on a terminal: what would steer the terminal is spelled out.
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
    fn a_text_from_outside_does_not_steer_the_terminal() {
        assert_eq!(Printable("a\u{1b}[2Jb\r\nनेपाल").to_string(), "a\\u{1b}[2Jb\\r\nनेपाल");
    }
}
