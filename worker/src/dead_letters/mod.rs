//! `hamro-worker dead-letters`: lets an operator decide on bookings and messages that could not be processed.
//!
//! [`hamro_shared::dead_letters`] does what the commands say; the live view of the api does the same. Each result can be
//! printed as text or as JSON.

mod config;
mod text;

use std::fmt::Display;
use std::num::NonZeroU16;
use std::process::ExitCode;

use anyhow::Context;
use hamro_shared::config::{Env, Variable};
use hamro_shared::database::{Database, DatabaseClock, DatabaseConfig};
use hamro_shared::dead_letters::{self, DeadLetterError, Decision, Selection};
use hamro_shared::domain::Clock;
use hamro_shared::output::print;
use serde::Serialize;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::settlement::SESSION_SETTINGS;
use config::{DatabaseOnlyConfig, ReissueConfig};
use text::Text;

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
    List {
        /// Include resolved letters
        #[arg(long)]
        all: bool,
        /// The maximum number of letters; the newest are listed
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
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
        Action::List { all, limit } => {
            let selection = Selection { all, before: None, limit };
            let mut session = database_only_session().await?;
            render(&dead_letters::list(&mut session, selection).await?, json)?
        }
        Action::Show { id } => {
            let mut session = database_only_session().await?;
            render(&dead_letters::show(&mut session, id).await.map_err(explain)?, json)?
        }
        Action::Reissue { id } => {
            let config = ReissueConfig::read()?;
            connect(&config.database).await?.close().await?;
            let sessions = config.database.sessions(PROCESS, SESSION_SETTINGS);
            let database = Database::new(sessions, NonZeroU16::MIN);
            let clock = database_clock(&database).await?;
            let (reissuer, broker) = config.reissuer(database, clock);
            let publish = |envelope| dead_letters::publish_through_broker(&broker, envelope);
            let result = reissuer.reissue(id, Decision::default(), publish).await;
            render(&result.map_err(explain)?, json)?
        }
        Action::Discard { id, because } => {
            let decision = Decision { by: None, reason: Some(because) };
            let mut session = database_only_session().await?;
            let discarded = dead_letters::discard(&mut session, id, decision, Clock::system().now()).await;
            render(&discarded.map_err(explain)?, json)?
        }
    };
    print(&output)?;
    Ok(ExitCode::SUCCESS)
}

/// How the sessions of the commands are named in Postgres.
const PROCESS: &str = "hamro-worker-dead-letters";

async fn database_only_session() -> anyhow::Result<PgConnection> {
    connect(&DatabaseOnlyConfig::read()?.database).await
}

/// A session that is checked as those of the worker are.
async fn connect(config: &DatabaseConfig) -> anyhow::Result<PgConnection> {
    let session = config.sessions(PROCESS, SESSION_SETTINGS).open().await;
    Ok(session.context("the database cannot be reached")?.connection)
}

/// The clock that decides the deadline of the new ticket.
async fn database_clock(database: &Database) -> anyhow::Result<Clock> {
    let clock = DatabaseClock::new(Clock::system());
    clock.measure(database).await.context("reading the database clock")?;
    Ok(clock.clock())
}

fn render<T: Serialize>(result: &T, json: bool) -> anyhow::Result<String>
where
    for<'a> Text<'a, T>: Display,
{
    if json { Ok(serde_json::to_string_pretty(result)?) } else { Ok(Text(result).to_string()) }
}

/// The error of a command, with what to do next.
fn explain(error: DeadLetterError) -> anyhow::Error {
    match error {
        DeadLetterError::Unknown(_) => {
            anyhow::anyhow!("{error}: `hamro-worker dead-letters list --all` lists all of them")
        }
        DeadLetterError::BeingReissued { id, .. } => {
            anyhow::anyhow!("{error}: run `dead-letters reissue {id}` again to finish")
        }
        DeadLetterError::NotPublished { ticket, cause } => cause.context(format!(
            "the booking may not be in the queue: run the command again, it continues with the same ticket {ticket}"
        )),
        error => error.into(),
    }
}
