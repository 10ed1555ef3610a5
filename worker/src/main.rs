//! `hamro-worker`: wires the worker together and runs it.

use std::num::NonZeroU16;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use futures_util::future::BoxFuture;
use hamro_shared::config::{Env, help};
use hamro_shared::database::{Database, DatabaseClock, Sessions, wait_until_database_usable, watch_servers};
use hamro_shared::domain::Clock;
use hamro_shared::lifecycle::{Lifecycle, ShutdownLimits, block_on};
use hamro_shared::process_name::process_name;
use hamro_shared::queue::{Broker, BrokerTask, supervise};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use hamro_shared::telemetry::traces;
use hamro_shared::{healthcheck, telemetry};
use hamro_worker::audit::observed::Observed;
use hamro_worker::audit::{self, Auditor};
use hamro_worker::config::Config;
use hamro_worker::dead_letters;
use hamro_worker::metrics::WorkerMetrics;
use hamro_worker::pipeline::consumer::Consumer;
use hamro_worker::pipeline::in_flight::MAX_IN_FLIGHT_BATCHES;
use hamro_worker::pipeline::outcome_publisher::outcome_publisher;
use hamro_worker::pipeline::requeue::requeue;
use hamro_worker::pipeline::workload::Workload;
use hamro_worker::readiness::{Health, HealthConfig, Readiness};
use hamro_worker::recovery::poison::PoisonIsolator;
use hamro_worker::recovery::unrouted::UnroutedForwarder;
use hamro_worker::settlement::SESSION_SETTINGS;
use hamro_worker::settlement::executor::BatchExecutor;
use hamro_worker::settlement::failure_limit::FailureLimit;
use hamro_worker::settlement::stuck_seats::StuckSeats;
use mimalloc::MiMalloc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The same as in the api.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Two for settlement, one for the poison isolator, one for the clock.
const DATABASE_CONNECTIONS: u16 = 4;

/// Consumes bookings from the queue and settles them in Postgres.
#[derive(Parser)]
#[command(version, after_long_help = help(&Config::variables()))]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Settle bookings (the default)
    Run,
    /// Inspect bookings that could not be processed, and reissue or discard them
    ///
    /// Needs `DATABASE_URL`; `reissue` needs more settings. See docs/RUNBOOK.md.
    DeadLetters(dead_letters::Arguments),
    /// Exit with 0 if the worker on this machine (`HOST`, `WORKER_HTTP_PORT`) is ready
    Healthcheck,
}

fn main() -> ExitCode {
    block_on(run_command())
}

async fn run_command() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Run);
    let result = match command {
        Command::Run => run().await,
        Command::DeadLetters(arguments) => dead_letters::run(arguments).await,
        Command::Healthcheck => check_health().await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have started, for example because of an invalid setting.
            telemetry::report_failure("hamro-worker", &error);
            ExitCode::FAILURE
        }
    }
}

async fn check_health() -> anyhow::Result<ExitCode> {
    let mut env = Env::process();
    let config = HealthConfig::read(&mut env);
    healthcheck::check(env.finish(config)?.address.context("WORKER_HTTP_PORT is not set")?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a part not ready while commits are blocked.
fn report_blocked(commits: Readiness) -> impl Fn(bool) {
    move |are_blocked| {
        if are_blocked {
            commits.set_not_ready("commits wait for a synchronous standby");
        } else {
            commits.set_ready();
        }
    }
}

async fn run() -> anyhow::Result<ExitCode> {
    let config = Config::read(Env::process())?;
    let logging = telemetry::start(&config.telemetry, config.log_ids.clone())?;
    let (traces, trace_export) = traces::start(&config.traces, "hamro-worker", config.log_ids)?;
    let metrics_listener = config.metrics.bind().await?;
    let process = process_name("hamro-worker");
    let sessions = config.database.sessions(&process, SESSION_SETTINGS);
    let database_clock = DatabaseClock::new(Clock::system());
    let broker = Broker::new(&config.broker, &process);
    let mut registry = MetricsRegistry::new("hamro-worker");
    logging.register_metrics(&mut registry);
    sessions.counts().register(&mut registry, DATABASE_CONNECTIONS);
    database_clock.register_metrics(&mut registry);
    broker.register_metrics(&mut registry);
    let metrics = WorkerMetrics::register(&mut registry);
    trace_export.register(&mut registry);
    let workload = Workload::default();
    workload.export(&mut registry);
    let (outcome_publisher, outcome_publishing_task) = outcome_publisher(broker.topology(), workload.clone());
    let (requeue, requeue_task) = requeue();
    let failure_limit = FailureLimit::default();
    let mut health = Health::new(broker.failures());
    let consumer_readiness = health.register("consumer", Readiness::starting());
    let stuck_seats = StuckSeats::new(health.register("seats", Readiness::ready()));
    let executor = |readiness| {
        let executor = BatchExecutor::new(sessions.clone(), database_clock.clock(), readiness);
        executor
            .with_failure_limit(failure_limit.clone())
            .with_stuck_seats(stuck_seats.clone())
            .with_customer_limit(config.customer_limit)
            .with_metrics(metrics.clone())
            .with_traces(traces.clone())
    };
    let executors = (0..MAX_IN_FLIGHT_BATCHES)
        .map(|_| Arc::new(Mutex::new(executor(health.register("settlement", Readiness::ready())))))
        .collect();
    let isolator_readiness = health.register("poison-isolator", Readiness::ready());
    let isolator = PoisonIsolator::new(
        executor(isolator_readiness.clone()),
        &sessions,
        &database_clock,
        &broker,
        outcome_publisher.clone(),
        isolator_readiness,
    );
    let commits = health.register("commits", Readiness::ready());
    health.export(&mut registry);
    sessions.servers().register_metrics(&mut registry);
    let observed = Observed::default();
    observed.export(&mut registry);
    let auditor = config.audit.every.map(|every| {
        let sessions = config.database.sessions(&process, audit::SESSION_SETTINGS);
        Auditor::new(sessions, &database_clock, workload.clone(), every)
    });
    let consumer = Consumer {
        config: config.consumer,
        executors,
        outcome_publisher,
        requeue,
        workload,
        readiness: consumer_readiness,
        queue: broker.topology().intake_queue(),
        dead_queue: broker.topology().dead_queue(),
    };

    let exposition = registry.finish();
    let mut lifecycle = Lifecycle::new()?;
    let consuming =
        run_once_database_usable(sessions.clone(), database_clock.clone(), broker.clone(), consumer);
    lifecycle.work("consumer", consuming);
    let isolator_broker = broker.clone();
    lifecycle.work("poison isolator", |stop| isolator.run(isolator_broker, config.poison.delay, stop));
    let forwarder = UnroutedForwarder::new(broker.topology());
    lifecycle.work("unrouted forwarder", run_on_broker(broker.clone(), forwarder));
    let watching_broker = broker.clone();
    lifecycle.support("broker nodes", |stop| async move {
        watching_broker.watch_nodes(&stop).await;
        Ok(())
    });
    lifecycle.support("requeue", run_on_broker(broker.clone(), requeue_task));
    let publishing = outcome_publishing_task.reporting(metrics, health.clone());
    lifecycle.support("outcome publisher", run_on_broker(broker, publishing));
    let database = Database::new(sessions, NonZeroU16::MIN);
    let (observing, watching) = (database.clone(), database.clone());
    lifecycle.support("audit report", |stop| observed.keep_reading(observing, stop));
    lifecycle.support("database servers", |stop| watch_servers(watching, report_blocked(commits), stop));
    lifecycle.support("database clock", |stop| database_clock.keep_measuring(database, stop));
    if let Some(auditor) = auditor {
        lifecycle.support("auditor", |stop| auditor.run(stop));
    }
    if let Some(address) = config.health.address {
        let (draining, exposition) = (lifecycle.draining(), exposition.clone());
        lifecycle.support("health checks", |stop| health.serve(address, exposition, draining, stop));
    }
    if let Some(listener) = metrics_listener {
        lifecycle.support("metrics", |stop| listener.serve(exposition, stop));
    }
    let code = lifecycle.run_to_exit(ShutdownLimits::without_drain(config.shutdown_timeout)).await;
    trace_export.finish().await;
    Ok(code)
}

type Task = BoxFuture<'static, anyhow::Result<()>>;

/// A lifecycle task that runs `task` on one broker connection after another.
fn run_on_broker(
    broker: Broker,
    mut task: impl BrokerTask + 'static,
) -> impl FnOnce(CancellationToken) -> Task {
    |stop| {
        Box::pin(async move {
            supervise(&broker, &stop, &mut task).await;
            Ok(())
        })
    }
}

/// A lifecycle task that waits until the schema is up to date and the database's clock is known, and then runs `task`
/// as [`run_on_broker`] does.
fn run_once_database_usable(
    sessions: Sessions,
    clock: DatabaseClock,
    broker: Broker,
    task: impl BrokerTask + 'static,
) -> impl FnOnce(CancellationToken) -> Task {
    |stop| {
        Box::pin(async move {
            match stop.run_until_cancelled(wait_until_database_usable(&sessions, &clock)).await {
                Some(usable) => {
                    usable?;
                    run_on_broker(broker, task)(stop).await
                }
                None => Ok(()),
            }
        })
    }
}
