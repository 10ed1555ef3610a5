//! An isolated deployment per test: a database, a set of queues, and processes that use them.
//!
//! A test passes its body to [`Deployment::run`], which starts the processes, runs the body and then always verifies
//! what must hold after every test: see [`Deployment::verify`].

mod announcements;
mod environment;
mod intake_queue;
mod probes;
mod processes;
mod programs;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use hamro_shared::queue::{Broker, Topology};
use hamro_verification::consistency;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection};
use sqlx::postgres::PgPool;
use tokio::time::timeout;

pub(crate) use self::environment::test_setting;
pub use self::intake_queue::{DRAIN_MARKER, IntakePublisher, envelope};
pub use self::programs::Programs;
use crate::Client;
use crate::process::Process;

/// How long the removal of a failed deployment may take. Its servers may be unreachable.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The processes to start, and what they may do.
#[derive(Clone)]
pub struct Setup {
    pub apis: usize,
    pub workers: usize,
    /// Settings of all processes, in addition to those that every process needs. `DATABASE_URL` and `AMQP_URL` select
    /// servers other than the shared ones.
    pub variables: Vec<(&'static str, &'static str)>,
    /// See [`Deployment::expects_errors`].
    pub expects_errors: bool,
    /// See [`Deployment::expects_leftovers`].
    pub expects_leftovers: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { apis: 1, workers: 1, variables: Vec::new(), expects_errors: false, expects_leftovers: false }
    }
}

impl Setup {
    /// Every booking is queued, so that workers decide on those of sold seats too.
    pub fn queueing() -> Self {
        Self { variables: vec![("EARLY_REJECTION", "off")], ..Self::default() }
    }

    /// A database and queues, but no processes.
    pub fn without_processes() -> Self {
        Self { apis: 0, workers: 0, ..Self::default() }
    }
}

/// A running deployment.
pub struct Deployment {
    name: String,
    variables: Vec<(String, String)>,
    /// What is started from here on.
    pub programs: Programs,
    pub apis: Vec<Api>,
    pub workers: Vec<Process>,
    /// Processes that were stopped or killed. Their output is printed if the test fails.
    stopped: Vec<Process>,
    pub pool: PgPool,
    pub topology: Topology,
    /// Whether the processes may log errors. Otherwise a logged error fails the test, even if the process recovered.
    pub expects_errors: bool,
    /// Whether messages may be left in the queues at the end.
    pub expects_leftovers: bool,
    broker: Broker,
    pub(crate) connection: Connection,
    pub channel: Channel,
    is_finished: bool,
}

/// An instance of the api, with a client.
pub struct Api {
    pub process: Process,
    pub client: Client,
}

impl Deployment {
    /// Starts a deployment, runs the body of a test on it, verifies the deployment if the body succeeds, and removes it.
    ///
    /// If the body, a process or the verification fails, prints the output of all processes.
    pub async fn run<T>(setup: Setup, body: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T> {
        // Boxed, because the future of every test would contain these large ones.
        let mut deployment = Box::pin(Self::prepare(&setup)).await?;
        let whole_body = async {
            Box::pin(deployment.start_processes(&setup)).await?;
            Box::pin(body(&mut deployment)).await
        };
        match AssertUnwindSafe(whole_body).catch_unwind().await {
            Ok(result) => Box::pin(deployment.finish(result)).await,
            Err(panic) => {
                Box::pin(deployment.abandon()).await;
                resume_unwind(panic)
            }
        }
    }

    /// Starts a deployment that must be ended with [`Self::finish`], and not dropped before.
    pub(crate) async fn start(setup: &Setup) -> Result<Self> {
        let mut deployment = Self::prepare(setup).await?;
        match deployment.start_processes(setup).await {
            Ok(()) => Ok(deployment),
            Err(error) => {
                deployment.abandon().await;
                Err(error)
            }
        }
    }

    /// Verifies the deployment if the test succeeded, and removes it.
    pub(crate) async fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        let verified = match result {
            Ok(value) => {
                self.verify().await.context("verifying the deployment after the test").map(|()| value)
            }
            Err(error) => Err(error),
        };
        match verified {
            Ok(value) => {
                self.is_finished = true;
                self.remove().await?;
                Ok(value)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Stops every process with SIGTERM. Checks that each exits successfully and has logged no error, that the queues
    /// are empty and that the database is consistent.
    async fn verify(&mut self) -> Result<()> {
        self.stop_apis().await?;
        self.drain_and_stop_workers().await?;
        consistency::check(&mut *self.pool.acquire().await?).await?;
        for queue in self.queues() {
            let options = QueueDeleteOptions::default();
            let left = self.channel.queue_delete(queue.as_str().into(), options).await?;
            ensure!(left == 0 || self.expects_leftovers, "{queue} still has {left} messages");
        }
        Ok(())
    }

    /// Prints the output of the processes of a failed test, and removes the deployment if its servers are reachable.
    pub(crate) async fn abandon(mut self) {
        self.is_finished = true;
        self.print_output();
        self.apis.clear();
        self.workers.clear();
        let removal = async {
            self.reconnect().await?;
            self.remove().await
        };
        match timeout(REMOVAL_TIMEOUT, removal).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("removing the deployment failed: {error:#}"),
            Err(_) => eprintln!("removing the deployment timed out"),
        }
    }

    /// Kills every process, and removes the database and the queues without any check.
    pub(crate) async fn discard(mut self) -> Result<()> {
        self.is_finished = true;
        self.apis.clear();
        self.workers.clear();
        self.remove().await
    }

    async fn remove(&mut self) -> Result<()> {
        for queue in self.queues() {
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in [
            self.topology.bookings_exchange(),
            self.topology.dead_queue(),
            self.topology.unrouted_queue(),
            self.topology.settled_exchange(),
            self.topology.heartbeats_exchange(),
        ] {
            self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        self.connection.close(200, "done".into()).await?;
        self.drop_database().await
    }

    /// The queues of the topology.
    fn queues(&self) -> [String; 3] {
        [self.topology.intake_queue(), self.topology.dead_queue(), self.topology.unrouted_queue()]
    }

    fn print_output(&self) {
        let running = self.apis.iter().map(|api| &api.process).chain(&self.workers);
        for process in self.stopped.iter().chain(running) {
            eprintln!("--- {}\n{}", process.name, process.printed());
        }
    }
}

impl Drop for Deployment {
    /// A deployment that is dropped without [`Self::finish`] was not verified.
    fn drop(&mut self) {
        if !self.is_finished {
            self.print_output();
            assert!(std::thread::panicking(), "the deployment was dropped without being verified");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "the deployment was dropped without being verified")]
    async fn a_deployment_that_is_dropped_without_being_verified_panics() {
        drop(Deployment::start(&Setup::without_processes()).await);
    }
}
