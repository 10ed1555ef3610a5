//! `hamro-api doctor`: examines an installation from the machine where it runs, with the settings of the api. It says what
//! is wrong, what follows from it and what to do, and changes nothing.
//!
//! Each check is a pure function of what was read. Every read has a time limit, and none depends on the success of another
//! one without need, so that one fault does not hide the next.

mod broker;
mod database;
mod processes;
mod report;
mod settings;

use std::process::ExitCode;
use std::time::Duration;

use hamro_shared::config::{ConfigError, Env, help};
use hamro_shared::database::DatabaseConfig;
use hamro_shared::output::print;
use hamro_shared::queue::{Broker, BrokerConfig, Heartbeat};
use tokio::time::timeout;

use self::broker::ManagementUrl;
use self::processes::Shared;
use self::report::{Finding, Report, Verdict};

/// The longest that the checks of one server may take. Each part of them has a shorter limit.
const SERVER_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
#[command(after_long_help = help(&Env::variables_read_by(ManagementUrl::read)))]
pub struct Arguments {
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Exits with status 1 if there is an error, and with 0 if there are only warnings.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = Report::new(check().await);
    print(&if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    Ok(if report.verdict == Verdict::Error { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn check() -> Vec<Finding> {
    let (mut findings, config) = settings::check();
    // An invalid setting is among the findings already. It must not hide what the others show.
    let (broker, database) = (section(BrokerConfig::read), section(DatabaseConfig::read));
    let management = section(ManagementUrl::read);
    let ((from_broker, heard), from_management, (from_database, session_limit)) = tokio::join!(
        check_broker(broker.as_ref().ok()),
        check_management(broker.as_ref().ok(), &management),
        check_database(database.as_ref().ok()),
    );
    findings.extend(from_broker);
    findings.extend(from_management);
    findings.extend(from_database);
    match heard {
        Some(heard) => {
            findings.extend(processes::check(&heard, config.as_ref().map(Shared::of).as_ref()));
            if let Some(limit) = session_limit {
                findings.push(database::sessions(limit, processes::database_sessions(&heard)));
            }
        }
        None => findings.push(Finding::skipped(
            "processes",
            "their versions, keys and clocks are unknown: their heartbeats cannot be received",
            "see the findings about the broker",
        )),
    }
    findings
}

/// Reads one section of the settings, whatever the others are.
fn section<T>(read: impl FnOnce(&mut Env) -> Option<T>) -> Result<T, ConfigError> {
    let mut env = Env::process();
    let section = read(&mut env);
    env.finish(section)
}

async fn check_broker(config: Option<&BrokerConfig>) -> (Vec<Finding>, Option<Vec<Heartbeat>>) {
    const CHECK: &str = "broker";
    let Some(config) = config else { return (vec![without_setting(CHECK, "AMQP_URL")], None) };
    timeout(SERVER_TIMEOUT, Box::pin(broker::check(config)))
        .await
        .unwrap_or_else(|_| (vec![no_end(CHECK)], None))
}

async fn check_management(
    config: Option<&BrokerConfig>,
    url: &Result<Option<ManagementUrl>, ConfigError>,
) -> Vec<Finding> {
    const CHECK: &str = "management API";
    let Some(config) = config else { return vec![without_setting(CHECK, "AMQP_URL")] };
    match url {
        Ok(url) => {
            let broker = Broker::new(config, "hamro-api");
            let checking = broker::check_management(config, broker.topology(), url.as_ref());
            timeout(SERVER_TIMEOUT, Box::pin(checking)).await.unwrap_or_else(|_| vec![no_end(CHECK)])
        }
        Err(error) => vec![Finding::error(CHECK, error.to_string(), "correct MANAGEMENT_URL")],
    }
}

async fn check_database(config: Option<&DatabaseConfig>) -> (Vec<Finding>, Option<database::SessionLimit>) {
    const CHECK: &str = "database";
    let Some(config) = config else { return (vec![without_setting(CHECK, "DATABASE_URL")], None) };
    timeout(SERVER_TIMEOUT, Box::pin(database::check(config)))
        .await
        .unwrap_or_else(|_| (vec![no_end(CHECK)], None))
}

fn without_setting(check: &'static str, name: &str) -> Finding {
    Finding::skipped(check, format!("{name} is missing or invalid"), "see the findings about the settings")
}

fn no_end(check: &'static str) -> Finding {
    Finding::error(
        check,
        "the checks did not end in time",
        "look whether the server or the network is overloaded",
    )
}
