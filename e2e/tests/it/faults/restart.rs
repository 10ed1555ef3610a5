//! All processes and both servers stop at the same time and start again, under load.

use anyhow::Result;
use hamro_e2e::outage::Outage;
use hamro_e2e::process::Process;
use hamro_e2e::simulated_clients::SimulatedClients;
use hamro_e2e::{Deployment, FaultTest, Setup, wait_until};
use nix::sys::signal::Signal;

/// Few prefetched parcels, so that bookings wait in the queue while the workers are paused.
fn setup() -> Setup {
    Setup { apis: 2, workers: 2, variables: vec![("PREFETCH", "2")], ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_killed_at_once_and_restarted_loses_nothing() -> Result<()> {
    FaultTest::start(setup())
        .await?
        .passes(async |deployment, clients| {
            for worker in &deployment.workers {
                worker.signal(Signal::SIGSTOP)?;
            }
            bookings_are_waiting(deployment).await?;
            kill_and_restart_everything(deployment, clients).await
        })
        .await
}

pub async fn kill_and_restart_everything(
    deployment: &mut Deployment,
    clients: &SimulatedClients,
) -> Result<()> {
    let counts = Counts::of(deployment);
    let broker = Outage::of_broker(deployment).await?;
    let postgres = Outage::of("postgres")?;
    let apis = std::mem::take(&mut deployment.apis).into_iter().map(|api| api.process);
    let mut processes: Vec<Process> = apis.chain(std::mem::take(&mut deployment.workers)).collect();
    processes.iter().try_for_each(|process| process.signal(Signal::SIGKILL))?;
    for killed in &mut processes {
        killed.ended().await?;
    }
    start_everything(deployment, clients, counts, [postgres, broker]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_shut_down_and_restarted_loses_nothing() -> Result<()> {
    FaultTest::start(setup())
        .await?
        .passes(async |deployment, clients| {
            let counts = Counts::of(deployment);
            deployment.queue_is_stored().await?;
            deployment.stop_workers().await?;
            bookings_are_waiting(deployment).await?;
            deployment.stop_apis().await?;
            let servers = [Outage::shutdown("postgres")?, Outage::shutdown("rabbitmq")?];
            start_everything(deployment, clients, counts, servers).await
        })
        .await
}

/// Waits until the broker has to keep some bookings across the restart.
async fn bookings_are_waiting(deployment: &Deployment) -> Result<()> {
    wait_until(
        "bookings are waiting",
        async || Ok((deployment.waiting_messages().await? >= 20).then_some(())),
    )
    .await
}

/// The numbers of running processes.
struct Counts {
    apis: usize,
    workers: usize,
}

impl Counts {
    fn of(deployment: &Deployment) -> Self {
        Self { apis: deployment.apis.len(), workers: deployment.workers.len() }
    }
}

/// Starts the processes first: they wait until the servers are ready.
async fn start_everything(
    deployment: &mut Deployment,
    clients: &SimulatedClients,
    counts: Counts,
    stopped_servers: [Outage; 2],
) -> Result<()> {
    clients.wait_for_failed_reads(5).await?;
    let environment = deployment.environment(&[]);
    for _ in 0..counts.apis {
        deployment.launch_api(&[]).await?;
    }
    for _ in 0..counts.workers {
        deployment.workers.push(Process::start("worker", "hamro-worker", &[], &environment)?);
    }
    clients.set_endpoints(&deployment.apis)?;
    for server in stopped_servers {
        server.end()?;
    }
    deployment.reconnect().await
}
