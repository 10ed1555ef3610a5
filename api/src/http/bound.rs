//! Bounds how much of something clients hold at the same time: connections, event streams, waits, bytes of responses.
//!
//! A bound has a total and a share. The share is what one client may hold, so that no client takes what the others need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hamro_shared::config::{Env, Setting};

use crate::http::client_address::{Client, ClientAddress};
use crate::http::problem::{Problem, ProblemCode};

/// The share of one client of every bound, in percent of the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientShare(u8);

impl ClientShare {
    /// For bounds that clients do not share.
    pub const WHOLE: Self = Self(100);

    pub fn read(env: &mut Env) -> Option<Self> {
        env.variable(
            "CLIENT_SHARE",
            "Percentage of the connections, event streams, waits and bytes of responses that one client may hold. 100: no limit per client.",
            "a number from 1 to 100",
        )
        .or_default("10")
    }

    fn of(self, total: u64) -> u64 {
        (total.saturating_mul(self.0.into()) / 100).max(1)
    }
}

impl Setting for ClientShare {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Self)
    }
}

/// How much of one thing clients hold, and how much they may.
#[derive(Debug)]
pub struct Bound {
    total: u64,
    share: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    held: u64,
    by_client: HashMap<ClientAddress, u64>,
    refused: u64,
}

/// What a client holds. Released when dropped.
#[derive(Debug)]
pub struct Held {
    bound: Arc<Bound>,
    client: Option<ClientAddress>,
    amount: u64,
}

/// Why a client may not hold more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All clients together hold the total.
    Total,
    /// This client holds its share.
    Share,
}

impl Bound {
    pub fn new(total: u64, share: ClientShare) -> Arc<Self> {
        Arc::new(Self { total, share: share.of(total), counts: Mutex::default() })
    }

    /// Counts `amount` as held by the client until the returned value is dropped. An amount that is larger than the
    /// share or the total is accepted if nothing else is held; otherwise it could never be.
    pub fn hold(self: &Arc<Self>, client: Client, amount: u64) -> Result<Held, Refusal> {
        let Client(client) = client;
        let mut counts = self.counts();
        let own = client.map_or(0, |client| counts.by_client.get(&client).copied().unwrap_or_default());
        let exceeds = |held: u64, max: u64| held.saturating_add(amount) > max;
        let refusal = if counts.held > 0 && exceeds(counts.held, self.total) {
            Some(Refusal::Total)
        } else if own > 0 && exceeds(own, self.share) {
            Some(Refusal::Share)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            counts.refused += 1;
            return Err(refusal);
        }
        counts.held += amount;
        if let Some(client) = client {
            *counts.by_client.entry(client).or_default() += amount;
        }
        drop(counts);
        Ok(Held { bound: self.clone(), client, amount })
    }

    /// How much is held now.
    pub fn held(&self) -> u64 {
        self.counts().held
    }

    /// How much all clients together may hold.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How often a client was refused.
    pub fn refused(&self) -> u64 {
        self.counts().refused
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic while the lock is held cannot leave the counts half changed.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.bound.counts();
        counts.held -= self.amount;
        if let Some(client) = self.client
            && let Some(own) = counts.by_client.get_mut(&client)
        {
            *own -= self.amount;
            if *own == 0 {
                counts.by_client.remove(&client);
            }
        }
    }
}

impl Refusal {
    /// The problem for the client. `total` is the code if all clients together hold the total, and `what` names what
    /// they hold.
    pub fn problem(self, total: ProblemCode, what: &str) -> Problem {
        let problem = match self {
            Self::Total => Problem::of(total),
            Self::Share => Problem::new(
                ProblemCode::ClientLimitReached,
                format!("This address has as many {what} as one client may have. Try again in a moment."),
            ),
        };
        problem.retry_after(5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        Client(Some(ClientAddress::of([198, 51, 100, last].into())))
    }

    #[test]
    fn one_client_holds_its_share_and_leaves_the_rest_to_others() {
        let bound = Bound::new(20, ClientShare::parse("10").unwrap());
        let held = [bound.hold(client(1), 1).unwrap(), bound.hold(client(1), 1).unwrap()];
        assert_eq!(bound.hold(client(1), 1).unwrap_err(), Refusal::Share);
        let _other = bound.hold(client(2), 1).unwrap();
        assert_eq!((bound.held(), bound.refused()), (3, 1));
        drop(held);
        assert_eq!(bound.held(), 1);
        assert!(bound.hold(client(1), 2).is_ok());
    }

    #[test]
    fn all_clients_together_hold_at_most_the_total() {
        let bound = Bound::new(2, ClientShare(50));
        let _first = bound.hold(client(1), 1).unwrap();
        let second = bound.hold(client(2), 1).unwrap();
        assert_eq!(bound.hold(client(3), 1).unwrap_err(), Refusal::Total);
        assert_eq!(bound.hold(Client(None), 1).unwrap_err(), Refusal::Total);
        drop(second);
        assert!(bound.hold(client(3), 1).is_ok());
    }

    #[test]
    fn an_amount_above_the_share_is_accepted_only_if_the_client_holds_nothing_else() {
        let bound = Bound::new(100, ClientShare::parse("10").unwrap());
        let large = bound.hold(client(1), 60).unwrap();
        assert_eq!(bound.hold(client(1), 1).unwrap_err(), Refusal::Share);
        assert_eq!(bound.hold(client(2), 60).unwrap_err(), Refusal::Total);
        drop(large);
        assert!(bound.hold(client(2), 60).is_ok());
    }

    #[test]
    fn clients_that_hold_nothing_are_forgotten() {
        let bound = Bound::new(10, ClientShare::WHOLE);
        drop((0..10).map(|last| bound.hold(client(last), 1).unwrap()).collect::<Vec<_>>());
        assert!(bound.counts().by_client.is_empty());
    }

    #[test]
    fn a_share_is_a_percentage_and_at_least_one() {
        for invalid in ["0", "101", "-1", "ten", "10%"] {
            assert_eq!(ClientShare::parse(invalid), None, "{invalid}");
        }
        assert_eq!(ClientShare::parse("10").unwrap().of(1), 1);
        assert_eq!(ClientShare::WHOLE.of(7), 7);
    }
}
