//! A database that is restored from a backup, and `hamro-api check`.

mod command;
mod drill;
mod dump;
mod epoch;

use anyhow::Result;
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, wait_until};

/// Runs `hamro-api check` with these arguments. Returns its exit status, and what it printed to stdout and stderr.
pub async fn check(deployment: &Deployment, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let arguments = [&["check"], arguments].concat();
    let output = Process::output("hamro-api", &arguments, &deployment.environment(&[])).await?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

/// Waits until new bookings can have all unsold seats: a restore releases them.
async fn wait_until_seats_are_free(deployment: &Deployment) -> Result<()> {
    let are_free =
        "SELECT NOT EXISTS (SELECT FROM seats WHERE booked_at IS NULL AND free_from > clock_timestamp())";
    wait_until("the seats are free", async || {
        let are_free: bool = sqlx::query_scalar(are_free).fetch_one(&deployment.pool).await?;
        Ok(are_free.then_some(()))
    })
    .await
}
