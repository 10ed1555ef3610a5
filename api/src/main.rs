//! `hamro-api`: the commands of the api.

mod serve;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use hamro_api::config::{Config, DeclareConfig, SchemaCommandConfig, log_ids};
use hamro_api::keys::KeysCommand;
use hamro_api::person::PersonCommand;
use hamro_api::router::openapi;
use hamro_api::server::config::HttpConfig;
use hamro_api::ticket::TicketCommand;
use hamro_api::{check, doctor, keys, person, ticket};
use hamro_shared::config::{Env, help};
use hamro_shared::database;
use hamro_shared::domain::TicketId;
use hamro_shared::healthcheck;
use hamro_shared::lifecycle::block_on;
use hamro_shared::output::print;
use hamro_shared::queue::Broker;
use hamro_shared::telemetry::{self, LogIds, Logging};
use mimalloc::MiMalloc;
use sqlx::postgres::PgConnection;
use tracing::info;
use uuid::Uuid;

use self::serve::serve;

/// Returns what is freed to the system. The allocator of glibc keeps much of it, in an arena for each few threads: documents of
/// megabytes are made on threads that come and go.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The HTTP api of Hamro Concert.
#[derive(Parser)]
#[command(version, after_long_help = help(&Config::variables()))]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve HTTP (default)
    Serve,
    /// Migrate the database schema
    Migrate,
    /// Declare the exchanges and queues in RabbitMQ
    ///
    /// For programs that run with `DECLARE_TOPOLOGY=false`. Needs the `AMQP_URL` of a user who may declare them, and
    /// `QUEUE_PREFIX` if set.
    Declare,
    /// Add the demo concerts to an empty catalogue
    Seed,
    /// Export or erase a person's data
    ///
    /// Needs `DATABASE_URL`. See "A person's data" in docs/RUNBOOK.md.
    #[command(subcommand)]
    Person(PersonCommand),
    /// Show what became of a ticket
    ///
    /// Needs `DATABASE_URL`. See "What became of a ticket?" in docs/RUNBOOK.md.
    #[command(subcommand)]
    Ticket(TicketCommand),
    /// Check that the database is whole, after a restore or a failover
    ///
    /// Needs `DATABASE_URL`, and changes nothing unless told to. Exits with status 3 if something is wrong. See "Restore from a
    /// backup" in docs/RUNBOOK.md.
    Check(check::Arguments),
    /// The earlier name of `person erase`
    Erase(person::erase::Arguments),
    /// Examine the installation, and say what is wrong and what to do
    ///
    /// Uses the settings of the api, and `MANAGEMENT_URL` for what only RabbitMQ's management API shows. Changes nothing. Exits
    /// with status 1 if there is an error. See "Doctor" in docs/RUNBOOK.md.
    Doctor(doctor::Arguments),
    /// Change `TICKET_KEYS` without losing a ticket
    ///
    /// Needs `AMQP_URL`, `QUEUE_PREFIX` if set, and the keys: `--file`, `TICKET_KEYS_FILE` or `TICKET_KEYS`. See "Change
    /// `TICKET_KEYS`" in docs/RUNBOOK.md.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Check that the instance on this machine is ready
    ///
    /// Exits with status 0 if it is. Uses `HOST` and `PORT`.
    Healthcheck,
    /// Print the log id that replaces a ticket id in logs
    ///
    /// Needs the `LOG_KEY` or the `TICKET_KEYS` of the programs that wrote the logs.
    LogId {
        /// The ticket id
        ticket: Uuid,
    },
}

fn main() -> ExitCode {
    block_on(run_command())
}

async fn run_command() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Serve);
    match run(command).await {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have started yet, for example if a setting is invalid.
            telemetry::report_failure("hamro-api", &error);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => return serve(Config::read(Env::process())?).await,
        Command::Migrate => {
            let (mut connection, _logging) = connect().await?;
            database::migrate(&mut connection).await?;
            info!("the schema is up to date");
        }
        Command::Declare => {
            let config = DeclareConfig::read(Env::process())?;
            let _logging = telemetry::start(&config.telemetry, LogIds::random())?;
            Broker::new(&config.broker, "hamro-api").declare().await?;
            info!("the exchanges and queues exist");
        }
        Command::Seed => {
            let (mut connection, _logging) = connect().await?;
            database::seed(&mut connection).await?;
        }
        Command::Person(command) => return run_person(&command).await,
        Command::Ticket(command) => return ticket::run(command).await,
        Command::Check(arguments) => {
            let (mut connection, _logging) = connect_with(check::SESSION_SETTINGS).await?;
            return check::run(&mut connection, &arguments).await;
        }
        Command::Erase(arguments) => return run_person(&PersonCommand::Erase(arguments)).await,
        Command::Doctor(arguments) => return doctor::run(&arguments).await,
        Command::Keys(command) => keys::run(command).await?,
        Command::Openapi => print(&openapi().to_pretty_json().context("writing the document")?)?,
        Command::LogId { ticket } => print(&log_ids(Env::process())?.of(TicketId(ticket)).to_string())?,
        Command::Healthcheck => {
            let mut env = Env::process();
            let config = HttpConfig::read(&mut env);
            healthcheck::check(env.finish(config)?.address).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_person(command: &PersonCommand) -> anyhow::Result<ExitCode> {
    let (mut connection, _logging) = connect().await?;
    person::run(&mut connection, command).await
}

/// Opens the database session of a command, and starts logging.
async fn connect() -> anyhow::Result<(PgConnection, Logging)> {
    connect_with(&[]).await
}

/// The same, with settings of the session.
async fn connect_with(settings: &[(&'static str, &'static str)]) -> anyhow::Result<(PgConnection, Logging)> {
    let config = SchemaCommandConfig::read(Env::process())?;
    let logging = telemetry::start(&config.telemetry, LogIds::random())?;
    let session = config.database.sessions("hamro-api", settings).open().await;
    Ok((session.context("the database cannot be reached")?.connection, logging))
}
