//! Random faults under load, for a configurable time. `make chaos` runs this.
//!
//! The seed determines the faults and their order. Their exact timing depends on the load.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::outage::Outage;
use hamro_e2e::simulated_clients::SimulatedClients;
use hamro_e2e::{Deployment, FaultTest, Setup};
use hamro_shared::config::Setting;
use nix::sys::signal::Signal;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::database::end_sessions;
use super::restart::kill_and_restart_everything;
use super::servers::apis_are_ready;

const WORKERS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Fault {
    WorkerKilled,
    WorkerFrozen,
    WorkersScaled,
    ApiKilled,
    SessionsEnded,
    PostgresKilled,
    PostgresFrozen,
    BrokerKilled,
    BrokerFrozen,
    BrokerShortOfMemory,
    EverythingKilled,
}

const ALL: [Fault; 11] = [
    Fault::WorkerKilled,
    Fault::WorkerFrozen,
    Fault::WorkersScaled,
    Fault::ApiKilled,
    Fault::SessionsEnded,
    Fault::PostgresKilled,
    Fault::PostgresFrozen,
    Fault::BrokerKilled,
    Fault::BrokerFrozen,
    Fault::BrokerShortOfMemory,
    Fault::EverythingKilled,
];

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "prints the seed and the faults, to repeat a run")]
#[ignore = "runs for a configurable time: make chaos"]
async fn random_faults_break_no_guarantee() -> Result<()> {
    let duration = match setting("CHAOS_DURATION") {
        Some(text) => Duration::parse(&text).context("DURATION must be a duration such as 10m")?,
        None => Duration::from_mins(10),
    };
    let seed = match setting("CHAOS_SEED") {
        Some(text) => text.parse().context("SEED must be a number such as 1")?,
        None => rand::random::<u32>().into(),
    };
    eprintln!("seed: {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let url = Deployment::broker_with_heartbeat(2)?.leak();
    let setup = Setup {
        apis: 2,
        workers: WORKERS,
        variables: vec![("AMQP_URL", url), ("PREFETCH", "8")],
        ..Setup::default()
    };
    FaultTest::start(setup)
        .await?
        .passes(async |deployment, clients| {
            let started = Instant::now();
            while started.elapsed() < duration {
                let fault = *ALL.choose(&mut rng).context("no fault")?;
                eprintln!("{:>6.1} s  {fault:?}", started.elapsed().as_secs_f64());
                let number = rng.random_range(0..WORKERS);
                inject(fault, number, deployment, clients).await.with_context(|| format!("{fault:?}"))?;
                clients.wait_for_ended(50).await?;
            }
            Ok(())
        })
        .await
}

#[expect(clippy::disallowed_methods, reason = "the settings of this test come from the environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Injects the fault, and repairs what does not recover by itself.
async fn inject(
    fault: Fault,
    number: usize,
    deployment: &mut Deployment,
    clients: &SimulatedClients,
) -> Result<()> {
    match fault {
        Fault::WorkerKilled => {
            deployment.kill_worker(number).await?;
            deployment.start_worker(&[]).await?;
        }
        Fault::WorkerFrozen => {
            deployment.workers[number].signal(Signal::SIGSTOP)?;
            let ended = clients.wait_for_ended(50).await;
            deployment.workers[number].signal(Signal::SIGCONT)?;
            ended?;
        }
        Fault::WorkersScaled => {
            deployment.start_worker(&[]).await?;
            clients.wait_for_ended(50).await?;
            deployment.stop_worker(number).await?;
        }
        Fault::ApiKilled => {
            let mut killed = deployment.apis.remove(0).process;
            killed.signal(Signal::SIGKILL)?;
            killed.ended().await?;
            clients.wait_for_ended(20).await?;
            deployment.start_api(&[]).await?;
            clients.set_endpoints(&deployment.apis)?;
        }
        Fault::SessionsEnded => end_sessions(deployment).await?,
        Fault::PostgresKilled => {
            let outage = Outage::of("postgres")?;
            clients.wait_for_failed_reads(5).await?;
            outage.end()?;
        }
        Fault::PostgresFrozen => {
            let outage = Outage::freeze("postgres")?;
            clients.wait_for_failed_reads(5).await?;
            outage.end()?;
        }
        Fault::BrokerKilled => {
            let outage = Outage::of_broker(deployment).await?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await?;
        }
        Fault::BrokerFrozen => {
            let outage = Outage::freeze("rabbitmq")?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await?;
        }
        Fault::BrokerShortOfMemory => {
            let outage = Outage::memory_alarm()?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await?;
        }
        Fault::EverythingKilled => {
            kill_and_restart_everything(deployment, clients).await?;
            apis_are_ready(deployment).await?;
        }
    }
    Ok(())
}
