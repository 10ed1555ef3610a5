//! `hamro-worker`: wires the worker together and runs it.

use std::num::NonZeroU16;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use hamro_shared::config::Env;
use hamro_shared::database::{Database, DatabaseClock, wait_until_usable};
use hamro_shared::domain::Clock;
use hamro_shared::lifecycle::Lifecycle;
use hamro_shared::queue::{Broker, supervise};
use hamro_shared::{healthcheck, telemetry};
use hamro_worker::config::Config;
use hamro_worker::dead_letters;
use hamro_worker::pipeline::consumer::Consumer;
use hamro_worker::pipeline::in_flight::MAX_IN_FLIGHT_BATCHES;
use hamro_worker::pipeline::outcome_publisher::outcome_publisher;
use hamro_worker::pipeline::requeue::requeue;
use hamro_worker::readiness::{Health, HealthConfig, Readiness};
use hamro_worker::recovery::poison::{PoisonConfig, PoisonIsolator};
use hamro_worker::recovery::unrouted::UnroutedForwarder;
use hamro_worker::settlement::SESSION_SETTINGS;
use hamro_worker::settlement::failure_limit::FailureLimit;
use hamro_worker::settlement::retry::BatchExecutor;
use hamro_worker::settlement::stuck_seats::StuckSeats;
use tokio::sync::Mutex;

/// Takes bookings from the queue and settles them in Postgres. Settings come from the environment; see
/// docs/ARCHITECTURE.md for all of them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Settle bookings (the default)
    Run,
    /// See what could not be processed, and decide on it
    ///
    /// Needs `DATABASE_URL`, and for `reissue` a little more; see docs/RUNBOOK.md.
    DeadLetters(dead_letters::Arguments),
    /// Ask the worker on this machine (`HOST`, `WORKER_HTTP_PORT`) whether it is ready, and exit with 0 if it is
    Healthcheck,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Run);
    let result = match command {
        Command::Run => run().await,
        Command::DeadLetters(arguments) => dead_letters::run(arguments).await,
        Command::Healthcheck => check_health().await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have started yet: a wrong setting is told to whoever starts the process.
            telemetry::report_failure("hamro-worker", &error);
            ExitCode::FAILURE
        }
    }
}

async fn check_health() -> anyhow::Result<ExitCode> {
    let mut env = Env::process();
    let config = HealthConfig::read(&mut env);
    healthcheck::ask(env.finish(config)?.address.context("WORKER_HTTP_PORT is not set")?).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run() -> anyhow::Result<ExitCode> {
    let config = Config::read(Env::process())?;
    let _logging = telemetry::start(&config.telemetry, config.log_ids)?;
    let process = format!("hamro-worker-{}", std::process::id());
    let sessions = config.database.sessions(&process, SESSION_SETTINGS);
    let database_clock = DatabaseClock::new(Clock::system());
    let broker = Broker::new(&config.broker, &process);
    let (outcome_publisher, mut outcome_publishing) = outcome_publisher(broker.topology());
    let (requeue, mut requeue_task) = requeue();
    let failure_limit = FailureLimit::default();
    let mut health = Health::default();
    let readiness = health.register("consumer", Readiness::starting());
    let stuck_seats = StuckSeats::new(health.register("seats", Readiness::ready()));
    let executors = (0..MAX_IN_FLIGHT_BATCHES).map(|_| {
        let readiness = health.register("settler", Readiness::ready());
        let executor = BatchExecutor::new(sessions.clone(), database_clock.clock(), readiness);
        Arc::new(Mutex::new(
            executor.with_failure_limit(failure_limit.clone()).with_stuck_seats(stuck_seats.clone()),
        ))
    });
    let executors = executors.collect();
    let (queue, dead_queue) = (broker.topology().intake(), broker.topology().dead());
    let isolator = PoisonIsolator::new(
        &sessions,
        &database_clock,
        &broker,
        outcome_publisher.clone(),
        health.register("reaper", Readiness::ready()),
    )
    .sharing(failure_limit, stuck_seats);
    let mut consumer = Consumer {
        config: config.consumer,
        executors,
        outcome_publisher,
        requeue,
        readiness,
        queue,
        dead_queue,
    };

    let mut lifecycle = Lifecycle::new()?;
    spawn_recovery_tasks(&mut lifecycle, &broker, isolator, config.poison);
    let (consuming, measured) = (broker.clone(), database_clock.clone());
    let database = Database::new(sessions.clone(), NonZeroU16::MIN);
    lifecycle.support("clock", |stop| database_clock.keep_measuring(database, stop));
    lifecycle.work("consumer", |stop| async move {
        tokio::select! {
            () = wait_until_usable(&sessions, &measured) => supervise(&consuming, &stop, &mut consumer).await,
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    let publishing = broker.clone();
    lifecycle.support("requeuing", |stop| async move {
        supervise(&publishing, &stop, &mut requeue_task).await;
        Ok(())
    });
    lifecycle.support("announcements", |stop| async move {
        supervise(&broker, &stop, &mut outcome_publishing).await;
        Ok(())
    });
    if let Some(address) = config.health.address {
        lifecycle.support("health checks", |stop| health.serve(address, stop));
    }
    Ok(lifecycle.run_to_exit(config.shutdown_timeout).await)
}

/// What did not go the straight way to the intake queue and through it.
fn spawn_recovery_tasks(
    lifecycle: &mut Lifecycle,
    broker: &Broker,
    isolator: PoisonIsolator,
    config: PoisonConfig,
) {
    let isolating = broker.clone();
    lifecycle.work("reaper", |stop| async move {
        isolator.run(&isolating, config.delay, stop).await;
        Ok(())
    });
    let forwarding = broker.clone();
    lifecycle.work("rerouter", |stop| async move {
        supervise(&forwarding, &stop, &mut UnroutedForwarder::new(forwarding.topology())).await;
        Ok(())
    });
}
