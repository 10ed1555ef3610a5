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
use hamro_worker::announcer::announcer;
use hamro_worker::brake::Brake;
use hamro_worker::config::{Config, DATABASE_SESSION, HttpConfig, ReaperConfig};
use hamro_worker::consumer::Consumer;
use hamro_worker::dead_letters;
use hamro_worker::readiness::{Health, Readiness};
use hamro_worker::reaper::{Reaper, reap};
use hamro_worker::requeue::requeue;
use hamro_worker::rerouter::Rerouter;
use hamro_worker::settler::Settler;
use hamro_worker::settling::BATCHES_IN_HAND;
use hamro_worker::stuck_seats::StuckSeats;
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
        Command::Healthcheck => ask().await,
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

async fn ask() -> anyhow::Result<ExitCode> {
    let mut env = Env::process();
    let config = HttpConfig::read(&mut env);
    healthcheck::ask(env.finish(config)?.address.context("WORKER_HTTP_PORT is not set")?).await?;
    Ok(ExitCode::SUCCESS)
}

async fn run() -> anyhow::Result<ExitCode> {
    let config = Config::read(Env::process())?;
    let _logging = telemetry::start(&config.telemetry, config.log_ids)?;
    let process = format!("hamro-worker-{}", std::process::id());
    let sessions = config.database.sessions(&process, DATABASE_SESSION);
    let database_clock = DatabaseClock::new(Clock::system());
    let broker = Broker::new(&config.broker, &process);
    let (announcer, mut announcements) = announcer(broker.topology());
    let (requeue, mut requeuing) = requeue();
    let brake = Brake::default();
    let mut health = Health::default();
    let readiness = health.part("consumer", Readiness::starting());
    let stuck_seats = StuckSeats::new(health.part("seats", Readiness::untroubled()));
    let settlers = (0..BATCHES_IN_HAND).map(|_| {
        let readiness = health.part("settler", Readiness::untroubled());
        let settler = Settler::new(sessions.clone(), database_clock.clock(), readiness);
        Arc::new(Mutex::new(settler.with_brake(brake.clone()).with_stuck_seats(stuck_seats.clone())))
    });
    let settlers = settlers.collect();
    let (queue, dead_queue) = (broker.topology().intake(), broker.topology().dead());
    let reaper = Reaper::new(
        &sessions,
        &database_clock,
        &broker,
        announcer.clone(),
        health.part("reaper", Readiness::untroubled()),
    )
    .sharing(brake, stuck_seats);
    let mut consumer =
        Consumer { config: config.consumer, settlers, announcer, requeue, readiness, queue, dead_queue };

    let mut lifecycle = Lifecycle::new()?;
    collect_strays(&mut lifecycle, &broker, reaper, config.reaper);
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
        supervise(&publishing, &stop, &mut requeuing).await;
        Ok(())
    });
    lifecycle.support("announcements", |stop| async move {
        supervise(&broker, &stop, &mut announcements).await;
        Ok(())
    });
    if let Some(address) = config.http.address {
        lifecycle.support("health checks", |stop| health.serve(address, stop));
    }
    Ok(lifecycle.run_to_exit(config.shutdown_timeout).await)
}

/// What did not go the straight way to the intake queue and through it.
fn collect_strays(lifecycle: &mut Lifecycle, broker: &Broker, reaper: Reaper, config: ReaperConfig) {
    let reaping = broker.clone();
    lifecycle.work("reaper", |stop| async move {
        reap(reaper, &reaping, config.delay, stop).await;
        Ok(())
    });
    let rerouting = broker.clone();
    lifecycle.work("rerouter", |stop| async move {
        supervise(&rerouting, &stop, &mut Rerouter::new(rerouting.topology())).await;
        Ok(())
    });
}
