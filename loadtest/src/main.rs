//! `hamro-loadtest`: reads the command line and the environment, and runs the command.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use hamro_loadtest::arguments::{Arguments, Command};
use hamro_loadtest::baseline;
use hamro_loadtest::clean::clean;
use hamro_loadtest::compare::compare;
use hamro_loadtest::create::create;
use hamro_loadtest::merge::merge;
use hamro_loadtest::run::run;
use hamro_loadtest::settings::Settings;
use hamro_loadtest::verify::verify;
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
    let settings = || Settings::read(Env::process());
    match command {
        Command::Run(arguments) => run(*arguments, settings()?).await,
        Command::Verify { journals, url, exclusive } => {
            verify(&journals, url.as_deref(), exclusive, settings()?).await
        }
        Command::Merge(arguments) => merge(arguments, settings()?).await,
        Command::Create(arguments) => create(arguments, settings()?).await,
        Command::Clean(arguments) => clean(arguments, settings()?).await,
        Command::Compare { a, b } => compare(&a, &b),
        Command::Baseline(command) => baseline::measure(command, Env::process()).await,
    }
}
