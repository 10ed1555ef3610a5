//! Runs a fault under load and checks the system's guarantees afterwards.
//!
//! Simulated clients book. Once they are running, the fault happens. After the fault the clients continue for a while
//! and stop. Then all tickets are followed until they are final, the workers are stopped, and the checker examines the
//! final state.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hamro_shared::config::Setting;
use hyper::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::checker::{Promise, Reads, Terms, Violation, check, count_reads};
use crate::crowd::Crowd;
use crate::evidence::Evidence;
use crate::journal::{Entry, Journal, Way, Wish};
use crate::{Client, Deployment, Setup};

/// Bookings that end before the fault, and after it.
const BEFORE: usize = 150;
const AFTER: usize = 150;

/// How long a client retries, and how long the final follow-up may take per ticket.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Tickets that are followed concurrently at the end.
const FOLLOWED_AT_ONCE: usize = 256;

pub struct Trial {
    pub deployment: Deployment,
    pub crowd: Arc<Crowd>,
    pub terms: Terms,
}

impl Trial {
    /// Starts a deployment with a concert for the test, and prepares the clients.
    pub async fn start(setup: Setup) -> Result<Self> {
        Self::start_with_retry_timeout(setup, RETRY_TIMEOUT).await
    }

    /// The same, with a different client timeout: a short one saves time where tickets will be lost.
    pub async fn start_with_retry_timeout(setup: Setup, retry_timeout: Duration) -> Result<Self> {
        let setting = |name, default| {
            let found = setup.variables.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, text)| Duration::parse(text)).unwrap_or(default)
        };
        let terms = Terms {
            deadline: setting("BOOKING_DEADLINE", Duration::from_mins(15)),
            wait: setting("BOOKING_WAIT", Duration::from_secs(10)),
            recovery: Duration::from_secs(10),
            dead_letters: 0,
        };
        // Faults are expected to be logged as errors.
        let deployment = Deployment::start(&Setup { expects_errors: true, ..setup }).await?;
        match prepare_clients(&deployment, retry_timeout).await {
            Ok(crowd) => Ok(Self { deployment, crowd, terms }),
            Err(error) => {
                deployment.abandon().await;
                Err(error)
            }
        }
    }

    /// Runs the test. Fails if a guarantee is broken.
    pub async fn passes(
        mut self,
        fault: impl AsyncFnOnce(&mut Deployment, &Crowd) -> Result<()>,
    ) -> Result<()> {
        let result = self.run(fault).await.and_then(|violations| {
            let journal = &self.crowd.journal;
            ensure!(violations.is_empty(), "{}journal: {}", list(&violations), journal.path().display());
            journal.remove()
        });
        self.deployment.finish(result).await
    }

    /// Runs the test with a safeguard disabled, and returns the guarantees that the checker finds broken.
    pub async fn breaks(
        mut self,
        fault: impl AsyncFnOnce(&mut Deployment, &Crowd) -> Result<()>,
    ) -> Result<BTreeSet<Promise>> {
        let violations = match self.run(fault).await {
            Ok(violations) => violations,
            Err(error) => {
                self.deployment.abandon().await;
                return Err(error);
            }
        };
        eprintln!("{}", list(&violations));
        self.deployment.discard().await?;
        self.crowd.journal.remove()?;
        Ok(violations.into_iter().map(|violation| violation.broken).collect())
    }

    async fn run(
        &mut self,
        fault: impl AsyncFnOnce(&mut Deployment, &Crowd) -> Result<()>,
    ) -> Result<Vec<Violation>> {
        let clients = self.crowd.gather();
        self.crowd.has_pursued(BEFORE).await?;
        let started = Instant::now();
        fault(&mut self.deployment, &self.crowd).await.context("injecting the fault failed")?;
        let fault_took = started.elapsed();
        let recovery = self.recovery().await?;
        self.crowd.has_pursued(AFTER).await?;
        self.crowd.close();
        clients.join_all().await.into_iter().collect::<Result<()>>()?;
        self.follow_the_rest().await?;
        let journal = self.crowd.journal.read()?;
        let reads = count_reads(&journal);
        ensure!(reads != Reads::default(), "no final status was read again");
        let evidence = Evidence::gather(&mut self.deployment, journal, recovery).await?;
        eprintln!(
            "{} bookings started, {} outcomes, {} sales; the fault lasted {fault_took:.1?}, a new booking was settled \
             {recovery:.1?} after it, and everything {:.1?} after its start; final statuses read again: {} from the \
             same instance, {} from another one more than a second later",
            self.crowd.wishes(),
            evidence.bookings.len(),
            evidence.sales.len(),
            started.elapsed(),
            reads.same_instance,
            reads.other_instance,
        );
        Ok(check(&evidence, &self.terms))
    }

    /// Measures how long a new booking takes to be settled.
    async fn recovery(&self) -> Result<Duration> {
        let started = Instant::now();
        let (customer, key) = ("first-after".to_owned(), Some("first-after".to_owned()));
        self.crowd.settle(&Wish { customer, key, seats: self.crowd.first_seat(), way: Way::Poll }).await?;
        Ok(started.elapsed())
    }

    /// Follows each accepted ticket until it is final. Reads the others once: their clients do not know whether they
    /// were accepted.
    async fn follow_the_rest(&self) -> Result<()> {
        let mut tickets: BTreeMap<Uuid, bool> = BTreeMap::new();
        for entry in self.crowd.journal.read()? {
            if let Entry::Answered { ticket: Some(ticket), status, .. } = entry {
                tickets.insert(ticket, status == 202);
            }
        }
        let following = tickets.into_iter().map(async |(ticket, is_accepted)| {
            if is_accepted {
                self.crowd.follow(ticket, Way::Poll).await.map(drop)
            } else {
                self.crowd.look_at(ticket).await
            }
        });
        stream::iter(following).buffer_unordered(FOLLOWED_AT_ONCE).try_collect().await
    }
}

fn list(violations: &[Violation]) -> String {
    const SHOWN: usize = 40;
    let shown = violations.iter().take(SHOWN).map(|violation| format!("  {violation}\n"));
    iter::once(format!("{} violations\n", violations.len())).chain(shown).collect()
}

/// Creates the concert of the test, and the clients that book its seats.
async fn prepare_clients(deployment: &Deployment, retry_timeout: Duration) -> Result<Arc<Crowd>> {
    let seats = build_hall(deployment.client(), &deployment.pool).await?;
    let journal = Journal::create(deployment.name())?;
    Ok(Crowd::new(journal, seats, &deployment.apis, retry_timeout))
}

/// Creates a concert with 10 000 seats in two tiers. Returns the seats, which alternate between the tiers.
async fn build_hall(client: &Client, pool: &PgPool) -> Result<Vec<i64>> {
    let created = async |path: &str, body: Value| {
        let answer = client.write(Method::POST, path, &body).await?;
        ensure!(answer.status == 201, "{path}: {answer:?}");
        anyhow::Ok(answer.body)
    };
    let concert = json!({
        "title": "Open Air", "artist": "Everybody", "date": "2030-06-01", "time": "20:00", "venue": "Dasarath Stadium",
        "city": "Kathmandu", "image": "https://example.com/open-air.jpg",
    });
    let concert = created("/concerts", concert).await?;
    let id = concert["id"].as_str().context("no id")?;
    let mut halves = Vec::new();
    for ticket_type in [1, 2] {
        let tier = json!({"concertId": id, "ticketTypeId": ticket_type, "price": "25.00"});
        let tier = created("/ticket-tiers", tier).await?["id"].clone();
        let block = json!({"ticketTierId": tier, "section": "field", "rows": 50, "seatsPerRow": 100});
        created(&format!("/concerts/{id}/seats"), block).await?;
        let seats: Vec<i64> =
            sqlx::query_scalar("SELECT id::bigint FROM seats WHERE ticket_tier_id = $1 ORDER BY id")
                .bind(i32::try_from(tier.as_i64().context("no id")?)?)
                .fetch_all(pool)
                .await?;
        halves.push(seats);
    }
    Ok(halves[0].iter().zip(&halves[1]).flat_map(|(one, other)| [*one, *other]).collect())
}
