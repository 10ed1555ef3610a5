//! The operator's commands: `hamro-worker dead-letters`.

mod commands;
mod reissue;

use std::process::Output;

use anyhow::{Result, ensure};
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};
use hamro_shared::queue::Envelope;
use serde_json::Value;

/// An address on which nothing listens.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");

/// Without workers. A dead letter is logged as an error.
fn with_dead_letters() -> Setup {
    let variables = vec![("REAPER_DELAY", "0s")];
    Setup { workers: 0, variables, expects_errors: true, ..Setup::default() }
}

/// Turns this booking into a dead letter, and returns its number.
async fn dead_letter(deployment: &mut Deployment, envelope: &Envelope) -> Result<String> {
    let id = deployment.store_dead_letter(envelope).await?;
    Ok(id.to_string())
}

/// Runs `hamro-worker dead-letters` with these arguments and these changes to the environment.
async fn run(deployment: &Deployment, arguments: &[&str], changes: &[(&str, &str)]) -> Result<Output> {
    let arguments = [&["dead-letters"], arguments].concat();
    Process::output("hamro-worker", &arguments, &deployment.environment(changes)).await
}

/// The output of a command that must succeed.
async fn stdout_of(deployment: &Deployment, arguments: &[&str]) -> Result<String> {
    let output = run(deployment, arguments, &[]).await?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn json(deployment: &Deployment, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&stdout_of(deployment, &[arguments, &["--json"]].concat()).await?)?)
}

/// The error message of a command that must fail.
async fn stderr_of(deployment: &Deployment, arguments: &[&str], changes: &[(&str, &str)]) -> Result<String> {
    let output = run(deployment, arguments, changes).await?;
    ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
    ensure!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stderr)?)
}
