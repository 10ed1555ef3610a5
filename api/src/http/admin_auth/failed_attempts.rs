//! Slows down clients that guess admin tokens, and logs them.
//!
//! After some failures within a minute a client must wait for a second. Then one more token of it is compared; if that is
//! wrong too, it must wait twice as long as before, up to a minute. A valid token, or a minute without a failure after the
//! last wait, forgets its failures.
//!
//! So a client that shares an address with one that has stopped guessing waits for a minute at most. While the guessing goes
//! on, administrators must use another address: any exception for valid tokens would tell a guesser which ones are valid.

use std::collections::HashMap;
use std::fmt::Write;
use std::mem;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hamro_shared::telemetry::metrics::Counter;
use tracing::warn;

const WINDOW: Duration = Duration::from_mins(1);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The clients that are remembered, about 1 MB. If more fail within a minute, those that need not wait are forgotten, and
/// if that is not enough, all.
const CLIENTS_MAX: usize = 10_000;

/// The clients that one report names. The others are counted.
const NAMED_MAX: usize = 5;

pub(super) struct FailedAttempts {
    failures_max: u32,
    /// All of them, since the start.
    failures: Counter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: HashMap<IpAddr, Client>,
    unreported: HashMap<IpAddr, Counts>,
    /// The attempts of clients that do not fit into `unreported`.
    unreported_others: u64,
}

struct Client {
    window_began: Instant,
    failures: u32,
    wait: Duration,
    /// In the past if it need not wait.
    waits_until: Instant,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    wrong: u64,
    not_compared: u64,
}

impl FailedAttempts {
    pub fn new(failures_max: NonZeroU32) -> Self {
        Self { failures_max: failures_max.get(), failures: Counter::default(), state: Mutex::default() }
    }

    /// Looks a token up with `find` and counts a failure. Returns how long the client must wait if it may not try.
    ///
    /// The lock is held meanwhile, so that tokens that are sent at once are not compared at once.
    pub fn attempt<T>(
        &self,
        client: IpAddr,
        now: Instant,
        find: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, Duration> {
        let mut state = self.lock();
        if let Some(known) = state.clients.get(&client)
            && known.waits_until > now
        {
            let wait = known.waits_until - now;
            self.failures.inc();
            state.count(client, |counts| counts.not_compared += 1);
            return Err(wait);
        }
        let found = find();
        if found.is_some() {
            state.clients.remove(&client);
        } else {
            self.failures.inc();
            state.count(client, |counts| counts.wrong += 1);
            state.fail(client, now, self.failures_max);
        }
        Ok(found)
    }

    /// How many attempts have failed since the start of the process.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// Logs the attempts since the last report, in one line.
    pub fn report(&self) {
        let mut state = self.lock();
        let (counts, others) = (mem::take(&mut state.unreported), mem::take(&mut state.unreported_others));
        drop(state);
        if !counts.is_empty() || others > 0 {
            warn!("{}", summary(counts, others));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, client: IpAddr, now: Instant, failures_max: u32) {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.make_room(now);
        }
        let new = || Client { window_began: now, failures: 0, wait: Duration::ZERO, waits_until: now };
        let known = self.clients.entry(client).or_insert_with(new);
        if known.is_forgotten(now) {
            *known = new();
        }
        known.failures = known.failures.saturating_add(1);
        if known.failures >= failures_max {
            known.wait = (known.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            known.waits_until = now + known.wait;
        }
    }

    fn make_room(&mut self, now: Instant) {
        self.clients.retain(|_, client| client.waits_until > now);
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.clear();
        }
    }

    fn count(&mut self, client: IpAddr, add: impl FnOnce(&mut Counts)) {
        if self.unreported.len() < CLIENTS_MAX || self.unreported.contains_key(&client) {
            add(self.unreported.entry(client).or_default());
        } else {
            self.unreported_others += 1;
        }
    }
}

impl Client {
    fn is_forgotten(&self, now: Instant) -> bool {
        let remembered_from = if self.wait.is_zero() { self.window_began } else { self.waits_until };
        now.saturating_duration_since(remembered_from) >= WINDOW
    }
}

/// The clients with the most attempts, each with its counts.
fn summary(counts: HashMap<IpAddr, Counts>, mut others: u64) -> String {
    let mut listed: Vec<(IpAddr, Counts)> = counts.into_iter().collect();
    listed.sort_unstable_by_key(|(client, counts)| (u64::MAX - counts.wrong - counts.not_compared, *client));
    let mut line = "failed attempts with an admin token in the last second: ".to_owned();
    for (number, (client, Counts { wrong, not_compared })) in listed.iter().enumerate() {
        if number >= NAMED_MAX {
            others += wrong + not_compared;
            continue;
        }
        let separator = if number == 0 { "" } else { ", " };
        let network = if client.is_ipv6() { "/64" } else { "" };
        let _ = write!(line, "{separator}{} from {client}{network}", wrong + not_compared);
        if *not_compared > 0 {
            let _ = write!(line, " ({not_compared} refused without comparing)");
        }
    }
    if others > 0 {
        let _ = write!(line, ", {others} from other clients");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn attempts() -> FailedAttempts {
        FailedAttempts::new(NonZeroU32::new(10).unwrap())
    }

    /// How often a client that never waits gets an answer within this time, and how long it must wait in the end.
    fn guess(attempts: &FailedAttempts, from: Instant, millis: u64) -> (usize, Duration) {
        let mut wait = Duration::ZERO;
        let mut compared = 0;
        for milli in 0..millis {
            match attempts.attempt(client(1), from + Duration::from_millis(milli), || None::<()>) {
                Ok(_) => compared += 1,
                Err(longer) => wait = longer,
            }
        }
        (compared, wait)
    }

    #[test]
    fn a_guessing_client_waits_twice_as_long_each_time_up_to_a_minute() {
        let (attempts, start) = (attempts(), Instant::now());
        // Ten at once, and then after 1, 2, 4, 8, 16, 32 and 60 seconds.
        assert_eq!(guess(&attempts, start, 900).0, 10);
        assert_eq!(guess(&attempts, start + Duration::from_millis(900), 63_000).0, 6);
        let (compared, wait) = guess(&attempts, start + Duration::from_secs(64), 10 * 60_000);
        assert_eq!(compared, 10);
        assert!(wait <= LONGEST_WAIT, "{wait:?}");
    }

    #[test]
    fn a_client_that_stops_guessing_is_admitted_within_a_minute_and_forgotten_after_another() {
        let (attempts, start) = (attempts(), Instant::now());
        guess(&attempts, start, 200_000);
        let later = start + Duration::from_secs(200) + LONGEST_WAIT;
        assert_eq!(attempts.attempt(client(1), later, || Some(7)), Ok(Some(7)));
        // The valid token has forgotten the failures.
        assert_eq!(guess(&attempts, later, 900).0, 10);
        assert_eq!(guess(&attempts, later + Duration::from_secs(2) + WINDOW, 900).0, 10);
    }

    #[test]
    fn few_failures_per_minute_and_other_clients_are_not_slowed_down() {
        let (attempts, start) = (attempts(), Instant::now());
        for minute in 0..10 {
            for failure in 0..9 {
                let now = start + Duration::from_secs(60 * minute + failure);
                assert_eq!(attempts.attempt(client(1), now, || None::<()>), Ok(None), "{minute} {failure}");
            }
        }
        guess(&attempts, start + Duration::from_mins(20), 1_000);
        let now = start + Duration::from_mins(20) + Duration::from_millis(500);
        assert!(attempts.attempt(client(1), now, || Some(())).is_err());
        assert_eq!(attempts.attempt(client(2), now, || Some(())), Ok(Some(())));
    }

    #[test]
    fn memory_is_bounded_however_many_clients_fail() {
        let (attempts, now) = (attempts(), Instant::now());
        for number in 0..100_000 {
            let _ = attempts.attempt(client(number), now, || None::<()>);
        }
        let state = attempts.lock();
        assert!(state.clients.len() <= CLIENTS_MAX && state.unreported.len() <= CLIENTS_MAX);
        assert_eq!(state.unreported_others, 90_000);
    }

    #[test]
    fn a_report_names_the_clients_with_the_most_attempts() {
        let counts = |wrong, not_compared| Counts { wrong, not_compared };
        let mut all: HashMap<IpAddr, Counts> = (1..=4).map(|number| (client(number), counts(1, 0))).collect();
        all.insert("198.51.100.7".parse().unwrap(), counts(10, 940));
        all.insert("2001:db8:1:2::".parse().unwrap(), counts(3, 0));
        assert_eq!(
            summary(all, 5),
            "failed attempts with an admin token in the last second: 950 from 198.51.100.7 (940 refused without \
             comparing), 3 from 2001:db8:1:2::/64, 1 from 0.0.0.1, 1 from 0.0.0.2, 1 from 0.0.0.3, 6 from other clients"
        );
    }
}
