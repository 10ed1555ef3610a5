//! A person's data: `hamro-api person` exports or erases it at that person's request.

pub mod erase;
mod export;
mod mention;
pub mod stored;

use std::process::ExitCode;

use anyhow::ensure;
use hamro_shared::domain::Email;
use hamro_shared::output::print;
use hamro_shared::telemetry;
use sqlx::postgres::PgConnection;

/// The exit status of an export that found nothing.
const NOTHING_FOUND: u8 = 3;

#[derive(clap::Subcommand)]
pub enum PersonCommand {
    /// Print everything that is stored about a person, as JSON
    ///
    /// Exits with status 3 if nothing is stored.
    Export(export::Arguments),
    /// Erase a person's name and e-mail address from the database
    ///
    /// Without `--apply`, only reports what would change.
    Erase(erase::Arguments),
}

pub async fn run(connection: &mut PgConnection, command: &PersonCommand) -> anyhow::Result<ExitCode> {
    match command {
        PersonCommand::Export(arguments) => {
            let Some(export) = export::export(connection, arguments).await? else {
                telemetry::report_failure(
                    "hamro-api",
                    &anyhow::anyhow!("nothing is stored about this address"),
                );
                return Ok(ExitCode::from(NOTHING_FOUND));
            };
            print(&serde_json::to_string_pretty(&export)?)?;
        }
        PersonCommand::Erase(arguments) => print(&erase::erase(connection, arguments).await?.to_string())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The form in which the address is compared with stored ones. Fails for the placeholder, which belongs to many persons.
fn not_a_placeholder(email: &Email) -> anyhow::Result<String> {
    let address = email.normalised();
    ensure!(address != Email::erased().as_str(), "this address is the placeholder for erased addresses");
    Ok(address)
}
