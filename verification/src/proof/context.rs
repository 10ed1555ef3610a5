//! What the rules are checked against: the requests, by ticket and by buyer, and what is known about the run.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::contract::{Target, buyer_of};
use crate::journal::Header;
use crate::request_log::RequestLog;

/// The usual error of a server's estimate of the database's clock. A server ignores measurements of that clock that take
/// longer than 500 ms, so its error is at most half of that.
pub const SERVER_CLOCK_ERROR: Duration = Duration::from_millis(250);

/// What is known about a run in addition to its journal.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// Without it, deadlines are not checked.
    pub deadlines: Option<Deadlines>,
    /// Whether only this run uses the database, so that every row belongs to it.
    pub is_only_user: bool,
    /// E-mail addresses of bookings that are not in the journal.
    pub other_customers: Vec<String>,
    /// Seats that were released during the run: they may be in two bookings, or in one and free.
    pub released_seats: HashSet<i32>,
    /// How far a time that a server took may be from the database's clock.
    pub server_clock_error: Duration,
}

impl Default for RunFacts {
    fn default() -> Self {
        Self {
            deadlines: None,
            is_only_user: false,
            other_customers: Vec::new(),
            released_seats: HashSet::new(),
            server_clock_error: SERVER_CLOCK_ERROR,
        }
    }
}

/// How long after its issue a ticket may be sold.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    pub booking: Duration,
    /// The same for the waiting endpoint.
    pub waiting: Duration,
}

impl Deadlines {
    pub(super) fn of(self, target: Target) -> Duration {
        match target {
            Target::Async => self.booking,
            Target::Sync => self.waiting,
        }
    }
}

/// The requests, and what is known about them.
#[derive(Clone, Copy)]
pub(super) struct CheckContext<'a> {
    pub request_log: &'a RequestLog,
    pub buyers: &'a Buyers,
    pub header: &'a Header,
    pub facts: &'a RunFacts,
}

impl CheckContext<'_> {
    /// The buyer of this run with this address.
    pub fn buyer(&self, email: &str) -> Option<u64> {
        buyer_of(&self.header.name, email)
    }

    /// The requests of a buyer, in total.
    pub fn requests_of(&self, buyer: u64) -> BuyerRequests {
        self.buyers.0.get(&buyer).copied().unwrap_or_default()
    }
}

/// The requests of each buyer, in total.
#[derive(Default)]
pub(super) struct Buyers(HashMap<u64, BuyerRequests>);

/// The requests of a buyer, in total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BuyerRequests {
    pub attempts: u32,
    /// Attempts that may have had an effect under a ticket that no client knows.
    pub under_unknown_ticket: u32,
    pub without_key: u32,
    /// Distinct keys.
    pub keys: u32,
    first_key: Option<u32>,
    on_waiting_endpoint: u32,
}

impl Buyers {
    pub fn of(request_log: &RequestLog) -> Self {
        let mut keys = HashSet::new();
        let mut buyers: HashMap<u64, BuyerRequests> = HashMap::new();
        for request in &request_log.requests {
            let buyer = buyers.entry(request.intent.buyer).or_default();
            buyer.attempts += 1;
            buyer.under_unknown_ticket += u32::from(request.is_ambiguous && request.ticket.is_none());
            buyer.on_waiting_endpoint += u32::from(request.target == Target::Sync);
            match request.key() {
                None => buyer.without_key += 1,
                Some(key) => {
                    buyer.keys += u32::from(keys.insert(key));
                    buyer.first_key = buyer.first_key.or(request.intent.key);
                }
            }
        }
        Self(buyers)
    }
}

impl BuyerRequests {
    /// The maximum number of sales: one per key, and one per attempt without a key.
    pub fn sales_max(self) -> u32 {
        self.keys + self.without_key
    }

    /// The key of all requests, if they have the same.
    pub fn only_key(self) -> Option<u32> {
        self.first_key.filter(|_| self.keys == 1 && self.without_key == 0)
    }

    /// The endpoint of all requests, if they use the same.
    pub fn only_target(self) -> Option<Target> {
        match self.on_waiting_endpoint {
            0 => Some(Target::Async),
            waiting if waiting == self.attempts => Some(Target::Sync),
            _ => None,
        }
    }
}
