//! Clients that book all at once, and behave as real ones do: they follow their tickets or do not, retry under their keys,
//! hang up, ask twice, and want seats that others want, in another order.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_shared::backoff::Backoff;
use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::{Answer, Client, booking};
use crate::installation::Api;
use crate::journal::{Entry, Journal, Standing, Way, Wish};
use crate::{Events, wait_until};

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

    /// Does what a client does that wants this, to the end.
    pub async fn pursue(&self, wish: &Wish) -> Result<()> {
        let times = if wish.way == Way::Twice { 2 } else { 1 };
        try_join_all((0..times).map(|_| self.pursue_once(wish))).await?;
        Ok(())
    }

    async fn pursue_once(&self, wish: &Wish) -> Result<()> {
        match self.book(wish).await? {
            Some(ticket) if wish.way != Way::Leave => self.follow(ticket, wish.way).await,
            _ => Ok(()),
        }
    }

    /// Asks until there is an answer that settles it. Returns the ticket to follow, if one is left to be followed.
    async fn book(&self, wish: &Wish) -> Result<Option<Uuid>> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        let begun = Instant::now();
        let mut answer_within = if wish.way == Way::HangUp { NO_PATIENCE } else { ANSWER_WITHIN };
        loop {
            let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
            self.journal.note(&Entry::Asked { attempt, wish: wish.clone() })?;
            let answer = timeout(answer_within, send(&self.door(), wish)).await.ok().and_then(Result::ok);
            answer_within = ANSWER_WITHIN;
            match &answer {
                Some(answer) => match self.take(attempt, wish, answer)? {
                    Told::Outcome => return Ok(None),
                    Told::Ticket(ticket) => return Ok(Some(ticket)),
                    // A second try without a key might book twice.
                    Told::Unknown if wish.key.is_none() => return Ok(None),
                    Told::Unknown | Told::TryAgain => {}
                },
                None => {
                    self.journal.note(&Entry::BrokenOff { attempt })?;
                    if wish.key.is_none() {
                        return Ok(None);
                    }
                }
            }
            if begun.elapsed() > self.patience {
                return Ok(None);
            }
            backoff.pause().await;
        }
    }

    /// Notes what a client is told, and what it makes of it.
    fn take(&self, attempt: u64, wish: &Wish, answer: &Answer) -> Result<Told> {
        let ticket = answer.location().ok().and_then(|path| path.rsplit('/').next()?.parse().ok());
        self.journal.note(&Entry::Answered { attempt, status: answer.status, ticket })?;
        let standing = Standing::of_answer(answer.status, &answer.body).filter(|_| wish.way == Way::Wait);
        if let (Some(ticket), Some(standing)) = (ticket, standing) {
            self.journal.note(&Entry::Seen { ticket, standing })?;
            return Ok(Told::Outcome);
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

    /// Follows the ticket until it has its final status, if it gets one while the client has patience.
    pub async fn follow(&self, ticket: Uuid, way: Way) -> Result<()> {
        self.follow_for(self.patience, ticket, way).await
    }

    /// Looks at the ticket, and no longer than until it has been told where it stands.
    pub async fn look_at(&self, ticket: Uuid) -> Result<()> {
        self.follow_for(Duration::ZERO, ticket, Way::Poll).await
    }

    async fn follow_for(&self, patience: Duration, ticket: Uuid, way: Way) -> Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(300));
        let begun = Instant::now();
        let path = format!("/ticket-bookings/{ticket}");
        loop {
            let asking = async {
                match way {
                    Way::Listen => {
                        Ok(Events::open(&self.door(), &format!("{path}/events")).await?.settled().await?.data)
                    }
                    Way::Hold => Ok(self.door().get(&format!("{path}?wait=5")).await?.body),
                    _ => Ok::<_, anyhow::Error>(self.door().get(&path).await?.body),
                }
            };
            // Broken off, refused or not known yet: all of them mean to ask again.
            if let Ok(Ok(document)) = timeout(ANSWER_WITHIN.min(self.patience), asking).await
                && document["status"].is_string()
            {
                let standing = Standing::of_document(&document);
                let is_final = standing.is_final();
                self.journal.note(&Entry::Seen { ticket, standing })?;
                if is_final {
                    return Ok(());
                }
            } else {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            if begun.elapsed() >= patience {
                return Ok(());
            }
            backoff.pause().await;
        }
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

/// What an answer means to a client.
enum Told {
    /// It is over.
    Outcome,
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
