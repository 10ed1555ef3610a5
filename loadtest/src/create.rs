//! Creates concerts that several load generators share.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::arguments::CreateArguments;
use crate::report::print;
use crate::run::run_name;
use crate::settings::Settings;
use hamro_verification::catalogue::{CatalogueSetup, Size};
use hamro_verification::http::Client;

const TIMEOUT: Duration = Duration::from_mins(1);

/// Prints the arguments that name the concerts, to be given to every load generator.
pub async fn create(arguments: CreateArguments, settings: Settings) -> Result<ExitCode> {
    let token = settings.admin_token.context("ADMIN_TOKEN is not set: it is required to create a concert")?;
    let client = Client::new(&arguments.url, 1, TIMEOUT)?;
    let CreateArguments { seats, seats_per_concert, tiers, .. } = arguments;
    let size = Size { seats, seats_a_concert: seats_per_concert, tiers };
    let created = CatalogueSetup::new(&client, &token).make(size, &run_name()).await?;
    let named: Vec<String> =
        created.concerts.iter().map(|concert| format!("--concert {}", concert.id)).collect();
    print(named.join(" "))?;
    Ok(ExitCode::SUCCESS)
}
