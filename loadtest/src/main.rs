//! `hamro-loadtest`: reads the command line and the environment, and runs the command.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hamro_loadtest::arguments::{Arguments, Command};
use hamro_loadtest::run::{Settings, run};
use hamro_loadtest::verify::verify;
use hamro_loadtest::{baseline, compare};
use hamro_shared::config::Env;
use hamro_shared::telemetry::report_failure;

/// Exit code if a command could not run. Clap uses the same for an invalid command line.
const CANNOT: u8 = 2;

/// Single-threaded: on the same machine, a second thread would take CPU time from the system under test.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start(Arguments::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            report_failure("hamro-loadtest", &error);
            ExitCode::from(CANNOT)
        }
    }
}

async fn start(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(arguments) => return run(*arguments, Settings::read(Env::process())?).await,
        Command::Verify { journal, url } => {
            return verify(&journal, url.as_deref(), Settings::read(Env::process())?).await;
        }
        Command::Compare { a, b } => compare::compare(&a, &b)?,
        Command::Baseline(command) => baseline::measure(command, Env::process()).await?,
    }
    Ok(ExitCode::SUCCESS)
}
