//! Simulated clients that book concurrently and behave like real ones: they follow their tickets or not, retry under
//! their idempotency keys, disconnect, send requests twice, and compete for the same seats in a different order.

mod endpoints;
mod intents;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use hamro_shared::backoff::Backoff;
use hamro_verification::contract::{BookingIntent, BookingResponse, Target};
use hamro_verification::follow::{Follow, Pace};
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;
use hamro_verification::journal::RequestRecord;
use hamro_verification::recorded_client::RecordedClient;
use hamro_verification::run_log::RunLog;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::endpoints::Endpoints;
use crate::deployment::Api;
use crate::wait_until;

pub const CLIENTS: usize = 24;
/// How often each client starts a booking, once its previous one has ended.
const BOOKING_EVERY: Duration = Duration::from_millis(80);
/// How long a client waits for a response before it disconnects.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Too short for most responses.
const SHORT_TIMEOUT: Duration = Duration::from_millis(3);

/// How a client books and follows its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientBehaviour {
    /// Books and polls.
    Poll,
    /// Books and polls with `wait`, so that the response is held.
    LongPoll,
    /// Books and reads the ticket's event stream.
    Subscribe,
    /// Books on the waiting endpoint.
    Wait,
    /// Books. The status of its ticket is read at the end of the test.
    DoNotFollow,
    /// Sends the booking twice at the same time.
    SendTwice,
    /// Disconnects before the response, and retries.
    Disconnect,
}

pub struct SimulatedClients {
    pub recorded: Arc<RecordedClient>,
    /// How long a client retries before it gives up.
    pub retry_timeout: Duration,
    seats: Vec<i32>,
    endpoints: Arc<Endpoints>,
    /// Bookings started.
    intents: AtomicU64,
    /// Seats that [`Self::intent_for_free_seat`] has used.
    free_seats_taken: AtomicUsize,
    ended: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    /// Requests to book that got no response, or a 5xx.
    failed: AtomicU64,
    closing: CancellationToken,
    reading_again: TaskTracker,
}

/// What a client knows after it has sent a booking.
enum Sent {
    /// The outcome, and the ticket if the booking was queued.
    Outcome(Option<Uuid>),
    /// The booking is in the queue.
    Queued(Uuid),
    /// The booking may be in the queue.
    Unknown,
    /// The booking is not in the queue.
    NotQueued,
}

impl SimulatedClients {
    /// `run` is the name of the run.
    pub fn new(
        run: &str,
        run_log: Arc<RunLog>,
        seats: Vec<i32>,
        apis: &[Api],
        retry_timeout: Duration,
    ) -> Result<Arc<Self>> {
        let pace = Pace {
            poll_every: Some(Duration::from_millis(50)),
            retry: (Duration::from_millis(20), Duration::from_millis(300)),
            hold_seconds: 5,
            read_timeout: RESPONSE_TIMEOUT.min(retry_timeout),
        };
        let clients = Self {
            recorded: Arc::new(RecordedClient::new(run.to_owned(), run_log, pace)),
            retry_timeout,
            seats,
            endpoints: Arc::default(),
            intents: AtomicU64::new(0),
            free_seats_taken: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            failed: AtomicU64::new(0),
            closing: CancellationToken::new(),
            reading_again: TaskTracker::new(),
        };
        clients.set_endpoints(apis)?;
        Ok(Arc::new(clients))
    }

    /// Directs clients to these instances of the api from here on.
    pub fn set_endpoints(&self, apis: &[Api]) -> Result<()> {
        self.endpoints.set(apis)
    }

    /// Sends all requests through this proxy from here on.
    pub fn set_proxy(&self, proxy: Client) {
        self.endpoints.set_proxy(proxy);
    }

    /// The number of requests that failed: bookings without a response or with a 5xx, and status reads without a status.
    /// A client that disconnects on purpose does not count.
    pub fn failed_requests(&self) -> u64 {
        self.failed.load(Ordering::Relaxed) + self.recorded.failed_reads()
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Starts this many clients. Each makes one booking after another until `close`, and completes its last one.
    pub fn spawn(self: &Arc<Self>, clients: usize) -> JoinSet<Result<()>> {
        (0..clients).map(|_| self.clone().run_client()).collect()
    }

    async fn run_client(self: Arc<Self>) -> Result<()> {
        let mut pace = interval(BOOKING_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.closing.is_cancelled() {
            pace.tick().await;
            self.run_next_intent().await?;
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Waits until the final statuses have been read again.
    pub async fn finish_reading(&self) {
        self.reading_again.close();
        self.reading_again.wait().await;
    }

    /// Waits until this many more bookings have ended, successfully or not.
    pub async fn wait_for_ended(&self, more: usize) -> Result<()> {
        wait_for_more(|| self.ended.load(Ordering::Relaxed), more, "bookings have ended").await
    }

    /// Waits until this many more bookings are accepted.
    pub async fn wait_for_accepted(&self, more: usize) -> Result<()> {
        wait_for_more(|| self.accepted.load(Ordering::Relaxed), more, "bookings are accepted").await
    }

    /// Waits until this many more attempts are refused.
    pub async fn wait_for_refused(&self, more: usize) -> Result<()> {
        wait_for_more(|| self.refused.load(Ordering::Relaxed), more, "attempts are refused").await
    }

    /// Waits until this many more status reads fail.
    pub async fn wait_for_failed_reads(&self, more: usize) -> Result<()> {
        let failed = || usize::try_from(self.recorded.failed_reads()).unwrap_or(usize::MAX);
        wait_for_more(failed, more, "status reads have failed").await
    }

    /// Makes a booking as its client would, until it ends. Its final status is read again in the background.
    pub async fn run_intent(&self, intent: &BookingIntent, behaviour: ClientBehaviour) -> Result<()> {
        let times = if behaviour == ClientBehaviour::SendTwice { 2 } else { 1 };
        let running = (0..times).map(async |_| {
            if let Some(ticket) = self.book_and_follow(intent, behaviour).await? {
                self.read_again(ticket);
            }
            anyhow::Ok(())
        });
        try_join_all(running).await.map(drop)
    }

    /// Books and follows the ticket. Returns the ticket if its final status was received.
    pub async fn book_and_follow(
        &self,
        intent: &BookingIntent,
        behaviour: ClientBehaviour,
    ) -> Result<Option<Uuid>> {
        match self.book(intent, behaviour).await? {
            Sent::Outcome(ticket) => Ok(ticket),
            Sent::Queued(ticket) if behaviour != ClientBehaviour::DoNotFollow => {
                let choose = || self.endpoints.any();
                let following = self.recorded.follow_until_final(behaviour.follow(), choose, ticket);
                Ok(timeout(self.retry_timeout, following).await.is_ok().then_some(ticket))
            }
            _ => Ok(None),
        }
    }

    /// Books through every instance at once, and follows each ticket there. Returns how long it took until the last one
    /// had its outcome.
    pub async fn served_by_all(&self) -> Result<Duration> {
        let started = Instant::now();
        let booking = self.endpoints.all().into_iter().map(async |endpoint| {
            let (intent, here) = (self.intent_for_free_seat(), || endpoint.clone());
            match self.book_through(here, &intent, ClientBehaviour::Poll).await? {
                Sent::Outcome(_) => anyhow::Ok(()),
                Sent::Queued(ticket) => {
                    let following = self.recorded.follow_until_final(Follow::Poll, here, ticket);
                    timeout(self.retry_timeout, following).await.map(drop).context("no outcome in time")
                }
                Sent::Unknown | Sent::NotQueued => bail!("no instance accepts bookings"),
            }
        });
        try_join_all(booking).await?;
        Ok(started.elapsed())
    }

    /// Sends the booking once, and does not follow its ticket.
    pub async fn try_once(&self, intent: &BookingIntent) -> BookingResponse {
        let (endpoint, due) = (self.endpoints.any(), Instant::now());
        self.recorded
            .book(&endpoint, Target::Async, intent.clone(), due, Some(RESPONSE_TIMEOUT))
            .await
            .response
    }

    async fn book(&self, intent: &BookingIntent, behaviour: ClientBehaviour) -> Result<Sent> {
        self.book_through(|| self.endpoints.any(), intent, behaviour).await
    }

    /// Sends the booking until it is accepted or decided, or the client gives up.
    async fn book_through(
        &self,
        choose: impl Fn() -> Instance,
        intent: &BookingIntent,
        behaviour: ClientBehaviour,
    ) -> Result<Sent> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let started = Instant::now();
        let mut patience =
            if behaviour == ClientBehaviour::Disconnect { SHORT_TIMEOUT } else { RESPONSE_TIMEOUT };
        loop {
            let (endpoint, due) = (choose(), Instant::now());
            let booking =
                self.recorded.book(&endpoint, behaviour.target(), intent.clone(), due, Some(patience));
            let response = booking.await.response;
            if patience != SHORT_TIMEOUT && has_failed(&response) {
                self.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("a booking failed: {response:?}");
            }
            let sent = self.interpret(&response)?;
            patience = RESPONSE_TIMEOUT;
            match sent {
                Sent::Outcome(_) | Sent::Queued(_) => return Ok(sent),
                // A second attempt without a key might book twice.
                Sent::Unknown if intent.key.is_none() => return Ok(sent),
                Sent::Unknown | Sent::NotQueued if started.elapsed() > self.retry_timeout => {
                    return Ok(Sent::Unknown);
                }
                Sent::Unknown | Sent::NotQueued => backoff.pause().await,
            }
        }
    }

    fn interpret(&self, response: &BookingResponse) -> Result<Sent> {
        if response.outcome().is_some() {
            return Ok(Sent::Outcome(response.ticket()));
        }
        match response {
            BookingResponse::Accepted { ticket } => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                return Ok(Sent::Queued(*ticket));
            }
            BookingResponse::Missing { .. } => return Ok(Sent::Unknown),
            _ => self.refused.fetch_add(1, Ordering::Relaxed),
        };
        match response {
            _ if response.is_ambiguous() => Ok(Sent::Unknown),
            BookingResponse::Refused { status: 429 | 500.., .. } => Ok(Sent::NotQueued),
            _ => bail!("unexpected response: {response:?}"),
        }
    }

    /// Records a booking that the test itself published under this ticket.
    pub fn record_published(&self, intent: BookingIntent, ticket: Uuid) {
        let (run_log, now) = (&self.recorded.run_log, Instant::now());
        let due = run_log.status_read(0, now, now).sent;
        let (target, response) = (Target::Async, BookingResponse::Accepted { ticket });
        run_log.record_request(RequestRecord { intent, instance: 0, target, due, took: 0, response });
    }

    fn read_again(&self, ticket: Uuid) {
        let (recorded, endpoints) = (self.recorded.clone(), self.endpoints.clone());
        self.reading_again.spawn(async move {
            recorded.read_again(endpoints.any(), || endpoints.all(), ticket).await;
        });
    }
}

impl ClientBehaviour {
    fn target(self) -> Target {
        if self == Self::Wait { Target::Sync } else { Target::Async }
    }

    fn follow(self) -> Follow {
        match self {
            Self::LongPoll => Follow::Wait,
            Self::Subscribe => Follow::Sse,
            _ => Follow::Poll,
        }
    }
}

fn has_failed(response: &BookingResponse) -> bool {
    matches!(response, BookingResponse::Missing { .. } | BookingResponse::Refused { status: 500.., .. })
}

async fn wait_for_more(count: impl Fn() -> usize, more: usize, what: &str) -> Result<()> {
    let goal = count() + more;
    wait_until(&format!("{goal} {what}"), async || Ok((count() >= goal).then_some(()))).await
}
