//! The use of Postgres: logins, poolers, sessions, clocks and stored rows.

mod clocks;
mod logins;
mod pgbouncer;
mod sessions;
mod stored_rows;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::process::Process;
use tokio::time::timeout;

/// What a program prints that must end with a failure.
async fn printed_by_failing(
    program: &str,
    arguments: &[&str],
    environment: &[(String, String)],
) -> Result<String> {
    let output = timeout(Duration::from_mins(1), Process::output(program, arguments, environment)).await;
    let output = output.with_context(|| format!("{program} {arguments:?} does not end"))??;
    ensure!(!output.status.success(), "{program} {arguments:?} succeeded");
    Ok([String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?].concat())
}
