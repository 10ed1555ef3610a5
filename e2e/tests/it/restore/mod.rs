//! A database that is restored from a backup, and `hamro-api check`.

mod command;
mod drill;
mod dump;
mod epoch;

use anyhow::Result;
use hamro_e2e::Deployment;
use hamro_e2e::process::Process;

/// Runs `hamro-api check` with these arguments. Returns its exit status, and what it printed to stdout and stderr.
async fn check(deployment: &Deployment, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let arguments = [&["check"], arguments].concat();
    let output = Process::output("hamro-api", &arguments, &deployment.environment(&[])).await?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}
