//! Runs a fault under load and checks the system's guarantees afterwards.
//!
//! Simulated clients book. Once they are running, the fault happens. After the fault the clients continue for a while
//! and stop. Then all tickets are followed until they are final, the workers are stopped, and the invariants are checked
//! against the responses, the catalogue, the database and the final state of the servers.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_shared::config::Setting;
use hamro_shared::domain::Clock;
use hamro_verification::catalogue::{CatalogueSetup, SeatPool, Size};
use hamro_verification::contract::Target;
use hamro_verification::database_clock::read_clock;
use hamro_verification::http::Client;
use hamro_verification::invariant::{Invariant, Violations};
use hamro_verification::journal::{Header, Journal};
use hamro_verification::proof::{Deadlines, Proof, RunFacts, SERVER_CLOCK_ERROR, follow_all, prove};
use hamro_verification::request_log::ReadAgain;
use hamro_verification::run_log::RunLog;

use crate::client::ADMIN_TOKEN;
use crate::deployment::DRAIN_MARKER;
use crate::final_state::{Expectations, FinalState, left_in_queues};
use crate::simulated_clients::{CLIENTS, ClientBehaviour, SimulatedClients};
use crate::{Deployment, Setup, tables};

/// Bookings that end before the fault, and after it.
const BEFORE: usize = 150;
const AFTER: usize = 150;

/// How long a client retries, and how long the final follow-up may take.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// The concert of a test.
const CONCERT: Size = Size { seats: 10_000, seats_a_concert: 10_000, tiers: 2 };

pub struct FaultTest {
    pub deployment: Deployment,
    pub clients: Arc<SimulatedClients>,
    pub expectations: Expectations,
    /// How many clients book at once.
    pub number_of_clients: usize,
    run_log: Arc<RunLog>,
    header: Header,
    journal: PathBuf,
}

impl FaultTest {
    /// Starts a deployment with a concert for the test, and prepares the clients.
    pub async fn start(setup: Setup) -> Result<Self> {
        Box::pin(Self::start_with_retry_timeout(setup, RETRY_TIMEOUT)).await
    }

    /// The same, with a different client timeout: a short one saves time where tickets will be lost.
    pub async fn start_with_retry_timeout(setup: Setup, retry_timeout: Duration) -> Result<Self> {
        Box::pin(Self::start_prepared(setup, retry_timeout, async |_| Ok(()))).await
    }

    /// The same, with processes that `prepare` starts in addition to those of the setup. There must be an api then.
    pub async fn start_prepared(
        setup: Setup,
        retry_timeout: Duration,
        prepare: impl AsyncFnOnce(&mut Deployment) -> Result<()>,
    ) -> Result<Self> {
        let setting = |name, default| {
            let found = setup.variables.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, text)| Duration::parse(text)).unwrap_or(default)
        };
        let expectations = Expectations {
            deadlines: Deadlines {
                booking: setting("BOOKING_DEADLINE", Duration::from_mins(15)),
                waiting: setting("BOOKING_WAIT", Duration::from_secs(10)),
            },
            recovery: Duration::from_secs(10),
            dead_letters: 0,
            server_clock_error: SERVER_CLOCK_ERROR,
        };
        // Faults are expected to be logged as errors.
        let mut deployment = Deployment::start(&Setup { expects_errors: true, ..setup }).await?;
        let prepared = async {
            prepare(&mut deployment).await?;
            Preparation::of(&deployment, retry_timeout).await
        };
        let prepared = prepared.await;
        match prepared {
            Ok(Preparation { clients, run_log, header, journal }) => Ok(Self {
                deployment,
                clients,
                expectations,
                number_of_clients: CLIENTS,
                run_log,
                header,
                journal,
            }),
            Err(error) => {
                deployment.abandon().await;
                Err(error)
            }
        }
    }

    /// The concert whose seats the clients book.
    pub fn concert(&self) -> Result<String> {
        Ok(self.header.concerts.first().context("no concert")?.id.to_string())
    }

    /// Runs the test. Fails if a guarantee is broken.
    pub async fn passes(
        mut self,
        fault: impl AsyncFnOnce(&mut Deployment, &SimulatedClients) -> Result<()>,
    ) -> Result<()> {
        let result = Box::pin(self.run(fault)).await.and_then(|violations| {
            ensure!(violations.is_empty(), "{violations}journal: {}", self.journal.display());
            Ok(fs::remove_file(&self.journal)?)
        });
        Box::pin(self.deployment.finish(result)).await
    }

    /// Runs the test with a safeguard disabled, and returns the rules that are found to be violated.
    pub async fn breaks(
        mut self,
        fault: impl AsyncFnOnce(&mut Deployment, &SimulatedClients) -> Result<()>,
    ) -> Result<BTreeSet<Invariant>> {
        let violations = match Box::pin(self.run(fault)).await {
            Ok(violations) => violations,
            Err(error) => {
                Box::pin(self.deployment.abandon()).await;
                return Err(error);
            }
        };
        Box::pin(self.deployment.discard()).await?;
        eprintln!("{violations}");
        fs::remove_file(&self.journal)?;
        Ok(violations.rules())
    }

    async fn run(
        &mut self,
        fault: impl AsyncFnOnce(&mut Deployment, &SimulatedClients) -> Result<()>,
    ) -> Result<Violations> {
        let clients = self.clients.spawn(self.number_of_clients);
        self.clients.wait_for_ended(BEFORE).await?;
        let started = Instant::now();
        fault(&mut self.deployment, &self.clients).await.context("injecting the fault failed")?;
        let fault_took = started.elapsed();
        let recovery = self.recovery().await?;
        self.clients.wait_for_ended(AFTER).await?;
        self.clients.close();
        clients.join_all().await.into_iter().collect::<Result<()>>()?;
        self.clients.finish_reading().await;
        // Otherwise tickets that are still queued would count as lost if the timeout is short.
        left_in_queues(&self.deployment).await?;
        let deadline = Instant::now() + self.clients.retry_timeout;
        follow_all(&self.run_log, &self.clients.endpoints().all(), deadline, |_| {}).await;
        let state = FinalState::read(&mut self.deployment, recovery).await?;
        let proof = self.prove().await?;
        let read_again = self.run_log.request_log().read_again;
        ensure!(read_again != ReadAgain::default(), "no final status was read again");
        eprintln!(
            "{} bookings started, {} requests, {} confirmed; the fault lasted {fault_took:.1?}, a new booking was settled \
             {recovery:.1?} after it, and everything {:.1?} after its start; final statuses read again: {} from the \
             same instance, {} from another one more than a second later",
            self.clients.intents(),
            proof.requests,
            proof.confirmed,
            started.elapsed(),
            read_again.same_instance,
            read_again.other_instance,
        );
        let mut violations = proof.violations;
        violations.extend(state.check(&self.expectations));
        Ok(violations)
    }

    /// Measures how long a new booking takes to be settled.
    async fn recovery(&self) -> Result<Duration> {
        let started = Instant::now();
        let intent = self.clients.intent_for_free_seat();
        self.clients.book_and_follow(&intent, ClientBehaviour::Poll).await?;
        Ok(started.elapsed())
    }

    async fn prove(&self) -> Result<Proof> {
        let database = self.deployment.pool.connect_options();
        read_clock(&self.run_log, &database).await?;
        self.run_log.close(false)?;
        let facts = RunFacts {
            deadlines: Some(self.expectations.deadlines),
            is_only_user: true,
            other_customers: vec![format!("{DRAIN_MARKER}@example.com")],
            server_clock_error: self.expectations.server_clock_error,
            released_seats: tables::released_seats(&self.deployment.pool).await?,
        };
        // Not through a proxy, which may have an earlier seat map in its cache.
        let client = Client::new(&self.deployment.client().url(""), 8, Duration::from_mins(1))?;
        Ok(prove(&self.run_log, &self.header, &client, Some(&database), &facts).await)
    }
}

/// What a test needs besides its deployment.
struct Preparation {
    clients: Arc<SimulatedClients>,
    run_log: Arc<RunLog>,
    header: Header,
    journal: PathBuf,
}

impl Preparation {
    /// Creates the concert of the test, the journal, and the clients that book its seats.
    async fn of(deployment: &Deployment, retry_timeout: Duration) -> Result<Self> {
        let (name, url) = (deployment.name().to_owned(), deployment.client().url(""));
        let client = Client::new(&url, 1, Duration::from_mins(1))?;
        let SeatPool { concerts, seats } =
            CatalogueSetup::new(&client, &ADMIN_TOKEN.into()).make(CONCERT, &name).await?;

        let mut header =
            Header::new(name.clone(), "fault test".to_owned(), Target::Async, url, concerts, true);
        let start = Instant::now();
        header.started = Clock::system().now().unix_millis();
        let journal = std::env::temp_dir().join(format!("{name}.journal"));
        let run_log = Arc::new(RunLog::open(Journal::create(&journal)?, &header, start));
        read_clock(&run_log, &deployment.pool.connect_options()).await?;
        let (seats, apis) = (alternate(&seats), &deployment.apis);
        let clients = SimulatedClients::new(&name, run_log.clone(), seats, apis, retry_timeout)?;
        Ok(Self { clients, run_log, header, journal })
    }
}

/// The seats of a concert with two tiers, in an order that alternates between the tiers.
fn alternate(seats: &[i32]) -> Vec<i32> {
    let (one, other) = seats.split_at(seats.len() / 2);
    one.iter().zip(other).flat_map(|(one, other)| [*one, *other]).collect()
}
