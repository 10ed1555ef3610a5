//! `hamro-api ticket show`: answers a support question, "what became of this ticket?", from what is stored.

mod history;
mod stored;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hamro_shared::config::shared_settings::{read_booking_deadline, read_optional_ticket_keys};
use hamro_shared::config::{ConfigError, Env};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::domain::{TicketId, TicketKeys};
use hamro_shared::output::print;
use hamro_shared::telemetry::{self, LogIds, LogKey, TelemetryConfig};
use uuid::{Uuid, Version};

use self::history::TicketHistory;

/// The exit status if nothing is stored about the ticket.
const NOTHING_STORED: u8 = 3;

#[derive(clap::Subcommand)]
pub enum TicketCommand {
    /// Show what became of a ticket
    ///
    /// Needs `DATABASE_URL`, and changes nothing. With the `TICKET_KEYS` of the api it also says whether the ticket is genuine,
    /// with its `LOG_KEY` or `TICKET_KEYS` the log id, and with its `BOOKING_DEADLINE` the deadline. Exits with status 3 if
    /// nothing is stored.
    Show(Arguments),
}

#[derive(clap::Args)]
pub struct Arguments {
    /// The ticket id
    #[arg(value_parser = parse_ticket)]
    ticket: TicketId,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
    /// Include the customer's name and e-mail address
    #[arg(long)]
    person: bool,
}

/// What the command reads from the environment.
struct TicketConfig {
    telemetry: TelemetryConfig,
    database: DatabaseConfig,
    booking_deadline: Duration,
    /// Without them, it is unknown whether a ticket is genuine.
    ticket_keys: Option<TicketKeys>,
    log_ids: Option<LogIds>,
}

impl TicketConfig {
    fn read(mut env: Env) -> Result<Self, ConfigError> {
        let telemetry = TelemetryConfig::read(&mut env);
        let database = DatabaseConfig::read(&mut env);
        let booking_deadline = read_booking_deadline(&mut env);
        let ticket_keys = read_optional_ticket_keys(&mut env);
        let log_key = LogKey::read(&mut env);
        let built = (|| {
            let ticket_keys = ticket_keys?;
            let log_ids = match (log_key?, &ticket_keys) {
                (Some(key), _) => Some(LogIds::new(&key)),
                (None, Some(keys)) => Some(LogIds::of_ticket_keys(keys)),
                (None, None) => None,
            };
            Some(Self {
                telemetry: telemetry?,
                database: database?,
                booking_deadline: booking_deadline?,
                ticket_keys,
                log_ids,
            })
        })();
        env.finish(built)
    }
}

pub async fn run(TicketCommand::Show(arguments): TicketCommand) -> anyhow::Result<ExitCode> {
    let config = TicketConfig::read(Env::process())?;
    let _logging = telemetry::start(&config.telemetry, LogIds::random())?;
    let session = config.database.sessions("hamro-api-ticket", &[("statement_timeout", "30s")]).open().await;
    let mut connection = session.context("the database cannot be reached")?.connection;
    let history = TicketHistory::find(&mut connection, arguments.ticket, &config, arguments.person).await?;
    print(&if arguments.json { serde_json::to_string_pretty(&history)? } else { history.to_string() })?;
    Ok(if history.is_stored() { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_STORED) })
}

/// A ticket id is a UUID of version 8 with hyphens.
fn parse_ticket(text: &str) -> anyhow::Result<TicketId> {
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 && id.get_version() == Some(Version::Custom) => Ok(TicketId(id)),
        _ => bail!("not a ticket id, which looks like 019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_a_ticket_id_is_accepted() {
        assert!(parse_ticket("019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88").is_ok());
        for text in [
            "",
            "019ab3c5",
            "019ab3c57f158a3e9d425c1f0e6b7a88",
            "{019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88}",
            "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11",
            "/ticket-bookings/019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88",
        ] {
            assert!(parse_ticket(text).is_err(), "{text}");
        }
    }
}
