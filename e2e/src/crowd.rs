//! Clients that book all at once, and behave as real ones do: they follow their tickets or do not, retry under their keys,
//! hang up, ask twice, and want seats that others want, in another order.

mod follow;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_shared::backoff::Backoff;
use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::follow::Again;
use crate::client::{Answer, Client, booking};
use crate::installation::Api;
use crate::journal::{Entry, Journal, Standing, Way, Wish};
use crate::status_read::StatusRead;
use crate::wait_until;

const CLIENTS: usize = 24;
/// Each client has a wish this often, if its last one has come to an end.
const WISH_EVERY: Duration = Duration::from_millis(80);
/// No answer may take longer than this; whoever waits longer hangs up.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Too short for most answers.
const NO_PATIENCE: Duration = Duration::from_millis(3);

pub struct Crowd {
    pub journal: Journal,
    /// How long a client tries before it gives up.
    pub patience: Duration,
    seats: Vec<i64>,
    /// The instances of the api, as a load balancer knows them.
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
    pub fn new(journal: Journal, seats: Vec<i64>, apis: &[Api], patience: Duration) -> Arc<Self> {
        let crowd = Self {
            journal,
            patience,
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

    /// From here on, clients go to these instances of the api.
    pub fn enter_by(&self, apis: &[Api]) {
        let doors = apis.iter().map(|api| api.client.clone()).collect();
        *self.doors.write().unwrap_or_else(PoisonError::into_inner) = doors;
    }

    /// Lets the clients in. They have one wish after the other until the crowd is closed, and end the last.
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

    /// Waits until this many more wishes have come to an end, one way or the other.
    pub async fn has_pursued(&self, more: usize) -> Result<()> {
        more_of(&self.ended, more, "wishes have come to an end").await
    }

    /// Waits until this many more bookings are in the queue.
    pub async fn is_accepted(&self, more: usize) -> Result<()> {
        more_of(&self.accepted, more, "bookings are accepted").await
    }

    /// Waits until this many more tries are refused.
    pub async fn is_refused(&self, more: usize) -> Result<()> {
        more_of(&self.refused, more, "tries are refused").await
    }

    /// Waits until this many more questions for a ticket's status bring no status.
    pub async fn is_unanswered(&self, more: usize) -> Result<()> {
        more_of(&self.unanswered, more, "questions have brought no answer").await
    }

    /// So many clients come at once, each with a wish.
    pub async fn burst(&self, clients: u64) -> Result<()> {
        let first = self.wishes.fetch_add(clients, Ordering::Relaxed);
        let wishes: Vec<Wish> = (first..first + clients).map(|number| self.wish(number)).collect();
        try_join_all(wishes.iter().map(|wish| self.pursue(wish))).await?;
        Ok(())
    }

    /// Notes a booking that was put into the queue under this ticket by the test itself.
    pub fn has_published(&self, customer: &str, seats: &[i64], ticket: Uuid) -> Result<()> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let (customer, seats) = (customer.to_owned(), seats.to_owned());
        let wish = Wish { customer, key: None, seats, way: Way::Publish };
        self.journal.note(&Entry::Asked { attempt, wish })?;
        self.journal.note(&Entry::Answered { attempt, status: 202, ticket: Some(ticket) })
    }

    /// How many wishes there were.
    pub fn wishes(&self) -> u64 {
        self.wishes.load(Ordering::Relaxed)
    }

    pub fn first_seat(&self) -> Vec<i64> {
        self.seats[..1].to_vec()
    }

    /// Wish number such and such. Neighbours want some of the same seats, in opposite order, and about half of them can
    /// have what they want.
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
            // Some have none.
            key: (n % 10 != 1).then(|| format!("wish-{n}")),
            seats,
            way: WAYS[n % WAYS.len()],
        }
    }

    /// Does what a client does that wants this, to the end, and reads its final status again.
    pub async fn pursue(&self, wish: &Wish) -> Result<()> {
        let times = if wish.way == Way::Twice { 2 } else { 1 };
        let pursuing = (0..times).map(async |_| match self.settle(wish).await? {
            Some((ticket, reported_by)) => self.read_again(ticket, reported_by).await,
            None => Ok(()),
        });
        try_join_all(pursuing).await.map(drop)
    }

    /// Books, and follows the ticket. Returns it with the instance that reported its final status.
    pub async fn settle(&self, wish: &Wish) -> Result<Option<(Uuid, Client)>> {
        match self.book(wish).await? {
            Booked::Settled(ticket, door) => Ok(Some((ticket, door))),
            Booked::Queued(ticket) if wish.way != Way::Leave => {
                Ok(self.follow(ticket, wish.way).await?.map(|door| (ticket, door)))
            }
            _ => Ok(None),
        }
    }

    /// Asks until there is an answer that settles it, or the client gives up.
    async fn book(&self, wish: &Wish) -> Result<Booked> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let begun = Instant::now();
        let mut answer_within = if wish.way == Way::HangUp { NO_PATIENCE } else { ANSWER_WITHIN };
        loop {
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
            self.journal.note(&Entry::Asked { attempt, wish: wish.clone() })?;
            let (door, sent) = (self.door(), Instant::now());
            let answer = timeout(answer_within, send(&door, wish)).await.ok().and_then(Result::ok);
            let read = self.journal.status_read(door.instance(), sent, Instant::now());
            answer_within = ANSWER_WITHIN;
            match &answer {
                Some(answer) => match self.take(attempt, wish, answer, read)? {
                    Told::Outcome(ticket) => return Ok(Booked::Settled(ticket, door)),
                    Told::Ticket(ticket) => return Ok(Booked::Queued(ticket)),
                    // A second try without a key might book twice.
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
            if begun.elapsed() > self.patience {
                return Ok(Booked::Unknown);
            }
            backoff.pause().await;
        }
    }

    /// Notes what a client is told, and what it makes of it.
    fn take(&self, attempt: u64, wish: &Wish, answer: &Answer, read: StatusRead) -> Result<Told> {
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
            (202, ticket) => Told::Ticket(ticket.context("a 202 names no ticket")?),
            (500.., Some(_)) => Told::Unknown,
            (429 | 500.., None) => Told::TryAgain,
            _ => anyhow::bail!("{wish:?} was answered {answer:?}"),
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

/// What has become of a booking when its client stops asking for it.
enum Booked {
    /// It has its outcome, by this instance.
    Settled(Uuid, Client),
    /// It is in the queue.
    Queued(Uuid),
    /// Nobody knows.
    Unknown,
}

/// What an answer means to a client.
enum Told {
    /// It is over.
    Outcome(Uuid),
    /// It is in the queue.
    Ticket(Uuid),
    /// Nobody knows whether it is.
    Unknown,
    /// It is not.
    TryAgain,
}

async fn send(door: &Client, wish: &Wish) -> Result<Answer> {
    let path = if wish.way == Way::Wait { "/ticket-bookings/seats" } else { "/ticket-bookings" };
    let mut request = door.request(Method::POST, path);
    if let Some(key) = &wish.key {
        request = request.header("Idempotency-Key", key);
    }
    Client::send(request.json(&booking(&wish.customer, &wish.seats))).await
}
