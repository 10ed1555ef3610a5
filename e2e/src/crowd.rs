//! Simulated clients that book concurrently and behave like real ones: they follow their tickets or not, retry under
//! their idempotency keys, disconnect, send requests twice, and compete for the same seats in a different order.

mod follow;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_shared::backoff::Backoff;
use hyper::Method;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::follow::Again;
use crate::client::{ApiResponse, Client, booking};
use crate::deployment::Api;
use crate::journal::{Entry, Journal, Standing, Way, Wish};
use crate::status_read::StatusRead;
use crate::wait_until;

const CLIENTS: usize = 24;
/// How often each client starts a booking, once its previous one has ended.
const WISH_EVERY: Duration = Duration::from_millis(80);
/// How long a client waits for a response before it disconnects.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Too short for most responses.
const SHORT_TIMEOUT: Duration = Duration::from_millis(3);

pub struct Crowd {
    pub journal: Journal,
    /// How long a client retries before it gives up.
    pub retry_timeout: Duration,
    seats: Vec<i64>,
    /// The api instances behind a simulated load balancer.
    doors: RwLock<Vec<Client>>,
    wishes: AtomicU64,
    attempts: AtomicU64,
    ended: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    unanswered: AtomicUsize,
    closing: CancellationToken,
    again: Mutex<VecDeque<Again>>,
}

impl Crowd {
    pub fn new(journal: Journal, seats: Vec<i64>, apis: &[Api], retry_timeout: Duration) -> Arc<Self> {
        let crowd = Self {
            journal,
            retry_timeout,
            seats,
            doors: RwLock::default(),
            wishes: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            ended: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            again: Mutex::default(),
        };
        crowd.enter_by(apis);
        Arc::new(crowd)
    }

    /// Directs clients to these instances of the api from here on.
    pub fn enter_by(&self, apis: &[Api]) {
        let doors = apis.iter().map(|api| api.client.clone()).collect();
        *self.doors.write().unwrap_or_else(PoisonError::into_inner) = doors;
    }

    /// Starts the clients. Each makes one booking after another until `close`, and completes its last one.
    pub fn gather(self: &Arc<Self>) -> JoinSet<Result<()>> {
        (0..CLIENTS).map(|_| self.clone().stay()).collect()
    }

    async fn stay(self: Arc<Self>) -> Result<()> {
        let mut pace = interval(WISH_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.closing.is_cancelled() {
            pace.tick().await;
            self.read_due_again().await?;
            let number = self.wishes.fetch_add(1, Ordering::Relaxed);
            self.pursue(&self.wish(number)).await?;
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Waits until this many more bookings have ended, successfully or not.
    pub async fn has_pursued(&self, more: usize) -> Result<()> {
        more_of(&self.ended, more, "bookings have ended").await
    }

    /// Waits until this many more bookings are accepted.
    pub async fn is_accepted(&self, more: usize) -> Result<()> {
        more_of(&self.accepted, more, "bookings are accepted").await
    }

    /// Waits until this many more attempts are refused.
    pub async fn is_refused(&self, more: usize) -> Result<()> {
        more_of(&self.refused, more, "attempts are refused").await
    }

    /// Waits until this many more status reads fail.
    pub async fn is_unanswered(&self, more: usize) -> Result<()> {
        more_of(&self.unanswered, more, "status reads have failed").await
    }

    /// Starts this many additional clients at once, with one booking each.
    pub async fn burst(&self, clients: u64) -> Result<()> {
        let first = self.wishes.fetch_add(clients, Ordering::Relaxed);
        let wishes: Vec<Wish> = (first..first + clients).map(|number| self.wish(number)).collect();
        try_join_all(wishes.iter().map(|wish| self.pursue(wish))).await?;
        Ok(())
    }

    /// Records a booking that the test itself published under this ticket.
    pub fn has_published(&self, customer: &str, seats: &[i64], ticket: Uuid) -> Result<()> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let (customer, seats) = (customer.to_owned(), seats.to_owned());
        let wish = Wish { customer, key: None, seats, way: Way::Publish };
        self.journal.note(&Entry::Asked { attempt, wish })?;
        self.journal.note(&Entry::Answered { attempt, status: 202, ticket: Some(ticket) })
    }

    /// The number of bookings started.
    pub fn wishes(&self) -> u64 {
        self.wishes.load(Ordering::Relaxed)
    }

    pub fn first_seat(&self) -> Vec<i64> {
        self.seats[..1].to_vec()
    }

    /// The booking with this number. Consecutive bookings request some of the same seats in opposite order, and about
    /// half of them can succeed.
    fn wish(&self, number: u64) -> Wish {
        const WAYS: [Way; 9] = [
            Way::Poll,
            Way::Leave,
            Way::Listen,
            Way::Wait,
            Way::Leave,
            Way::Twice,
            Way::Hold,
            Way::HangUp,
            Way::Leave,
        ];
        let n = usize::try_from(number).unwrap_or_default();
        let mut seats: Vec<i64> =
            (2 * n..).take(1 + n % 4).map(|seat| self.seats[seat % self.seats.len()]).collect();
        if n % 2 == 1 {
            seats.reverse();
        }
        Wish {
            customer: format!("customer{n}"),
            // One in ten has no key.
            key: (n % 10 != 1).then(|| format!("wish-{n}")),
            seats,
            way: WAYS[n % WAYS.len()],
        }
    }

    /// Makes a booking as its client would, until it ends, and reads its final status again.
    pub async fn pursue(&self, wish: &Wish) -> Result<()> {
        let times = if wish.way == Way::Twice { 2 } else { 1 };
        let pursuing = (0..times).map(async |_| match self.settle(wish).await? {
            Some((ticket, reported_by)) => self.read_again(ticket, reported_by).await,
            None => Ok(()),
        });
        try_join_all(pursuing).await.map(drop)
    }

    /// Books and follows the ticket. Returns the ticket and the instance that reported its final status.
    pub async fn settle(&self, wish: &Wish) -> Result<Option<(Uuid, Client)>> {
        match self.book(wish).await? {
            Booked::Settled(ticket, door) => Ok(Some((ticket, door))),
            Booked::Queued(ticket) if wish.way != Way::Leave => {
                Ok(self.follow(ticket, wish.way).await?.map(|door| (ticket, door)))
            }
            _ => Ok(None),
        }
    }

    /// Sends the booking until it is accepted or decided, or the client gives up.
    async fn book(&self, wish: &Wish) -> Result<Booked> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let started = Instant::now();
        let mut response_timeout = if wish.way == Way::HangUp { SHORT_TIMEOUT } else { RESPONSE_TIMEOUT };
        loop {
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
            self.journal.note(&Entry::Asked { attempt, wish: wish.clone() })?;
            let (door, sent) = (self.door(), Instant::now());
            let answer = timeout(response_timeout, send(&door, wish)).await.ok().and_then(Result::ok);
            let read = self.journal.status_read(door.instance(), sent, Instant::now());
            response_timeout = RESPONSE_TIMEOUT;
            match &answer {
                Some(answer) => match self.take(attempt, wish, answer, read)? {
                    Told::Outcome(ticket) => return Ok(Booked::Settled(ticket, door)),
                    Told::Ticket(ticket) => return Ok(Booked::Queued(ticket)),
                    // A second attempt without a key might book twice.
                    Told::Unknown if wish.key.is_none() => return Ok(Booked::Unknown),
                    Told::Unknown | Told::TryAgain => {}
                },
                None => {
                    self.journal.note(&Entry::BrokenOff { attempt })?;
                    if wish.key.is_none() {
                        return Ok(Booked::Unknown);
                    }
                }
            }
            if started.elapsed() > self.retry_timeout {
                return Ok(Booked::Unknown);
            }
            backoff.pause().await;
        }
    }

    /// Records a response, and derives what the client does next.
    fn take(&self, attempt: u64, wish: &Wish, answer: &ApiResponse, read: StatusRead) -> Result<Told> {
        let ticket = answer.location().ok().and_then(|path| path.rsplit('/').next()?.parse().ok());
        self.journal.note(&Entry::Answered { attempt, status: answer.status, ticket })?;
        let standing = Standing::of_answer(answer.status, &answer.body).filter(|_| wish.way == Way::Wait);
        if let (Some(ticket), Some(standing)) = (ticket, standing) {
            self.journal.note(&Entry::Seen { ticket, standing, read })?;
            return Ok(Told::Outcome(ticket));
        }
        match answer.status {
            202 => &self.accepted,
            _ => &self.refused,
        }
        .fetch_add(1, Ordering::Relaxed);
        Ok(match (answer.status, ticket) {
            (202, ticket) => Told::Ticket(ticket.context("a 202 has no ticket")?),
            (500.., Some(_)) => Told::Unknown,
            (429 | 500.., None) => Told::TryAgain,
            _ => anyhow::bail!("unexpected response to {wish:?}: {answer:?}"),
        })
    }

    /// The instance that the load balancer chooses for a request.
    fn door(&self) -> Client {
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner);
        doors[rand::random_range(0..doors.len())].clone()
    }
}

async fn more_of(count: &AtomicUsize, more: usize, what: &str) -> Result<()> {
    let goal = count.load(Ordering::Relaxed) + more;
    wait_until(&format!("{goal} {what}"), async || Ok((count.load(Ordering::Relaxed) >= goal).then_some(())))
        .await
}

/// The state of a booking when its client stops sending it.
enum Booked {
    /// This instance reported its outcome.
    Settled(Uuid, Client),
    /// It is in the queue.
    Queued(Uuid),
    /// The client does not know whether it is in the queue.
    Unknown,
}

/// The meaning of a response to a client.
enum Told {
    /// The booking has its outcome.
    Outcome(Uuid),
    /// The booking is in the queue.
    Ticket(Uuid),
    /// The booking may be in the queue.
    Unknown,
    /// The booking is not in the queue.
    TryAgain,
}

async fn send(door: &Client, wish: &Wish) -> Result<ApiResponse> {
    let path = if wish.way == Way::Wait { "/ticket-bookings/seats" } else { "/ticket-bookings" };
    let mut request = door.request(Method::POST, path);
    if let Some(key) = &wish.key {
        request = request.header("Idempotency-Key", key);
    }
    Client::send(request.json(&booking(&wish.customer, &wish.seats))).await
}
