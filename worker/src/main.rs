//! `hamro-worker`: wires the worker together and runs it.

use std::process::ExitCode;

use clap::Parser;
use hamro_shared::config::Env;
use hamro_shared::database::wait_for_schema;
use hamro_shared::domain::Clock;
use hamro_shared::lifecycle::Lifecycle;
use hamro_shared::queue::{Broker, supervise};
use hamro_shared::telemetry;
use hamro_worker::announcer::announcer;
use hamro_worker::config::{Config, DATABASE_SESSION};
use hamro_worker::consumer::Consumer;
use hamro_worker::settler::Settler;
use tracing::{error, info};

/// Takes bookings from the queue and settles them in Postgres. Settings come from the environment; see
/// docs/ARCHITECTURE.md for all of them.
#[derive(Parser)]
#[command(version)]
struct Arguments {}

#[tokio::main]
async fn main() -> ExitCode {
    Arguments::parse();
    let config = match Config::read(Env::process()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("hamro-worker cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    telemetry::start(&config.telemetry);
    match run(config).await {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!("stopped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let process = format!("hamro-worker-{}", std::process::id());
    let database = config.database.options(&process, DATABASE_SESSION);
    let broker = Broker::new(&config.broker, &process);
    let (announcer, mut announcements) = announcer(broker.topology());
    let settler = Settler::new(database.clone(), Clock::system());
    let queue = broker.topology().intake();
    let mut consumer = Consumer { config: config.consumer, settler, announcer, queue };

    let mut lifecycle = Lifecycle::new()?;
    let consuming = broker.clone();
    lifecycle.work("consumer", |stop| async move {
        tokio::select! {
            () = wait_for_schema(&database) => supervise(&consuming, &stop, &mut consumer).await,
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    lifecycle.support("announcements", |stop| async move {
        supervise(&broker, &stop, &mut announcements).await;
        Ok(())
    });
    lifecycle.run(config.shutdown_timeout).await
}
