//! `hamro-api`: wires the api together and runs it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use hamro_api::broker::outcome_subscriber::OutcomeSubscriber;
use hamro_api::broker::publisher::publisher;
use hamro_api::config::{Config, DATABASE_SESSION, SchemaCommandConfig, log_ids};
use hamro_api::http::large_responses::LargeResponses;
use hamro_api::http::sse::SseLimiter;
use hamro_api::outcomes::Outcomes;
use hamro_api::outcomes::queue_estimate::QueueEstimate;
use hamro_api::outcomes::watermark::Watermark;
use hamro_api::router::{openapi, router};
use hamro_api::seat_feed::SeatFeed;
use hamro_api::server::config::HttpConfig;
use hamro_api::server::middleware::MiddlewareState;
use hamro_api::server::rate_limit::RateLimit;
use hamro_api::state::{App, AppState};
use hamro_api::{erase, server, startup_migration};
use hamro_shared::config::Env;
use hamro_shared::database::{self, Database, DatabaseClock};
use hamro_shared::domain::{Clock, TicketId};
use hamro_shared::healthcheck;
use hamro_shared::lifecycle::Lifecycle;
use hamro_shared::output::print;
use hamro_shared::queue::{Broker, supervise};
use hamro_shared::telemetry::{self, LogIds, Logging, Tally};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tracing::info;
use uuid::Uuid;

/// The HTTP intake of Hamro Concert. Settings come from the environment; see docs/ARCHITECTURE.md for all of them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve HTTP (the default)
    Serve,
    /// Bring the schema up to date, and exit
    Migrate,
    /// Put the demo concerts into an empty catalogue, and exit
    Seed,
    /// Replace a person's name and e-mail address in the database, and exit
    ///
    /// Only says what it would change, unless it is called with `--apply`. Needs `DATABASE_URL`; see "Erase a person's data" in
    /// docs/RUNBOOK.md.
    Erase(erase::Arguments),
    /// Print the OpenAPI document, and exit
    Openapi,
    /// Ask the instance on this machine whether it is ready, and exit with 0 if it is
    Healthcheck,
    /// Print what stands for a ticket in the logs of the programs that have the same `LOG_KEY` or `TICKET_KEYS`, and exit
    LogId {
        /// The ticket's id, as the api returned it
        ticket: Uuid,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Serve);
    match run(command).await {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have started yet: a wrong setting is told to whoever starts the process.
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
        Command::Seed => {
            let (mut connection, _logging) = connect().await?;
            database::seed(&mut connection).await?;
        }
        Command::Erase(arguments) => {
            let (mut connection, _logging) = connect().await?;
            print(&erase::erase(&mut connection, &arguments).await?.to_string())?;
        }
        Command::Openapi => print(&openapi().to_pretty_json().context("writing the document")?)?,
        Command::LogId { ticket } => print(&log_ids(Env::process())?.of(TicketId(ticket)).to_string())?,
        Command::Healthcheck => {
            let mut env = Env::process();
            let config = HttpConfig::read(&mut env);
            healthcheck::ask(env.finish(config)?.address).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The session of a command.
async fn connect() -> anyhow::Result<(PgConnection, Logging)> {
    let config = SchemaCommandConfig::read(Env::process())?;
    let logging = telemetry::start(&config.telemetry, LogIds::random())?;
    let options = config.database.options("hamro-api");
    Ok((options.connect().await.context("the database cannot be reached")?, logging))
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let _logging = telemetry::start(&config.telemetry, config.log_ids)?;
    let listener = server::bind(&config.http)?;
    let mut lifecycle = Lifecycle::new()?;
    let process = format!("hamro-api-{}", std::process::id());
    let sessions = config.database.sessions(&process, DATABASE_SESSION);
    let database = Database::new(sessions, config.database_connections);
    let database_clock = DatabaseClock::new(Clock::system());
    let broker = Broker::new(&config.broker, &process);
    let outcomes = Outcomes::default();
    let queue_estimate = QueueEstimate::default();
    let seat_feed = SeatFeed::new(database.clone());
    let (publisher, mut publishing) = publisher(config.publisher, broker.topology());
    let mut outcome_subscriber = OutcomeSubscriber::new(
        broker.topology().clone(),
        outcomes.clone(),
        queue_estimate.clone(),
        seat_feed.clone(),
    );
    let (schema_is_ready, schema_ready) = watch::channel(false);
    let ticket_keys = config.policy.ticket_keys.clone();
    let state = AppState::new(App {
        database: database.clone(),
        clock: database_clock.clock(),
        publisher,
        outcomes: outcomes.clone(),
        watermark: Watermark::new(database.clone(), database_clock.clock()),
        queue_estimate,
        seat_feed: seat_feed.clone(),
        large_responses: LargeResponses::default(),
        sse_limiter: SseLimiter::new(config.http.streams_max, lifecycle.stopping()),
        stopping: lifecycle.stopping(),
        schema_ready,
        database_clock: database_clock.clone(),
        policy: config.policy,
    });
    let rate_limit = RateLimit::new(&config.http.rate_limit).map(Arc::new);
    let tally = Arc::new(Tally::default());
    let middleware = MiddlewareState { rate_limit: rate_limit.clone(), tally: tally.clone() };
    let router = router(state, &config.http.cors_origin, middleware);

    let publishing_broker = broker.clone();
    // Shorter than the process may take, so that what supports the requests is stopped in order in any case.
    let timeouts = server::ServerTimeouts {
        head: config.http.head_timeout,
        drain: config.shutdown_timeout.mul_f64(0.75),
    };
    lifecycle.work("http", |stop| server::serve(listener, router, timeouts, stop));
    // What requests in flight need until the last one is answered.
    lifecycle.support("publishing", |stop| async move {
        supervise(&publishing_broker, &stop, &mut publishing).await;
        Ok(())
    });
    lifecycle.support("listening", |stop| async move {
        supervise(&broker, &stop, &mut outcome_subscriber).await;
        Ok(())
    });
    let looked_up = database.clone();
    lifecycle.support("look-up", |stop| outcomes.poll_pending(looked_up, stop));
    lifecycle.support("live seats", |stop| seat_feed.run(stop));
    lifecycle.support("tally", |stop| async move {
        tally.report_every_second(stop).await;
        Ok(())
    });
    if let Some(limit) = rate_limit {
        lifecycle.support("rate limit", |stop| async move {
            limit.evict_idle(stop).await;
            Ok(())
        });
    }
    lifecycle.support("clock", |stop| database_clock.keep_measuring(database, stop));
    let schema_options = config.database.options(&process);
    lifecycle.support("schema", |stop| {
        startup_migration::run(schema_options, config.schema, ticket_keys, schema_is_ready, stop)
    });
    Ok(lifecycle.run_to_exit(config.shutdown_timeout).await)
}
