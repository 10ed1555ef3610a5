//! Which versions of envelopes all running workers can read (decision 41).
//!
//! A field that restricts a sale raises the version of its envelope, so that no earlier worker sells without the restriction. An
//! envelope that no worker can read would wait until its deadline, so a booking with such a field is accepted only once all workers
//! have reported that they can read it.

use std::time::Duration;

use hamro_shared::queue::{HEARTBEAT_AFTER_CHANGE, HEARTBEAT_EVERY, ProcessState};
use tokio::time::{Instant, sleep_until};

use super::{Installation, State};

/// An instance that has listened for this long has heard every process.
const HEARD_ALL_AFTER: Duration =
    HEARTBEAT_EVERY.saturating_add(HEARTBEAT_AFTER_CHANGE).saturating_add(Duration::from_millis(250));

/// The broker has closed the connection of a worker that was silent for this long.
const GONE_AFTER: Duration = Duration::from_secs(35);

/// Why an envelope must not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("a worker can only read envelopes of version {0}")]
    OlderWorker(u16),
    #[error("no worker was heard since this instance started")]
    NoWorker,
    #[error("the heartbeats of the workers are not received")]
    NotHeard,
}

#[derive(Debug, PartialEq, Eq)]
enum Known {
    Readable,
    Unreadable(Unreadable),
    /// Not all workers can have been heard before this time.
    From(Instant),
}

impl Installation {
    /// Whether all running workers can read envelopes of this version. Waits until all can have been heard, which takes less than
    /// two seconds from the start. While none is running, those that ran last count.
    pub async fn check_readable(&self, version: u16) -> Result<(), Unreadable> {
        let mut known = self.readable(version, Instant::now());
        if let Known::From(all_heard) = known {
            sleep_until(all_heard).await;
            known = self.readable(version, Instant::now());
        }
        match known {
            Known::Readable => Ok(()),
            Known::Unreadable(reason) => Err(reason),
            Known::From(_) => Err(Unreadable::NotHeard),
        }
    }

    fn readable(&self, version: u16, now: Instant) -> Known {
        let state = self.lock();
        let oldest = state.oldest_readable(now);
        if let Some(oldest) = oldest.filter(|oldest| *oldest < version) {
            return Known::Unreadable(Unreadable::OlderWorker(oldest));
        }
        match state.all_heard_at {
            None => Known::Unreadable(Unreadable::NotHeard),
            Some(all_heard) if now < all_heard => Known::From(all_heard),
            Some(_) if oldest.or(state.last_readable).is_some_and(|last| last >= version) => Known::Readable,
            Some(_) => match state.last_readable {
                Some(last) => Known::Unreadable(Unreadable::OlderWorker(last)),
                None => Known::Unreadable(Unreadable::NoWorker),
            },
        }
    }
}

impl State {
    /// Listens from now on, or no longer.
    pub(super) fn hear_from(&mut self, now: Option<Instant>) {
        self.all_heard_at = now.map(|now| now + HEARD_ALL_AFTER);
    }

    /// Remembers what the running workers can read, for the time in which none is running.
    pub(super) fn note_readable(&mut self, now: Instant) {
        if self.all_heard_at.is_some_and(|all_heard| now >= all_heard) {
            self.last_readable = self.oldest_readable(now).or(self.last_readable);
        }
    }

    /// The newest version that all running workers can read, if any is running. One that does not consume may begin to.
    fn oldest_readable(&self, now: Instant) -> Option<u16> {
        let heard = self.processes.values().filter(|process| now.duration_since(process.heard) < GONE_AFTER);
        let versions = heard.filter_map(|process| match &process.heartbeat.state {
            ProcessState::Worker(worker) => Some(worker.envelope_version),
            ProcessState::Api(_) => None,
        });
        versions.min()
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::Clock;
    use hamro_shared::queue::{Heartbeat, WorkerState};
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    fn installation() -> Installation {
        Installation::new(Clock::system())
    }

    /// A worker sends a heartbeat.
    fn hears(installation: &Installation, worker: u128, envelope_version: u16, stopped: bool) {
        let state = ProcessState::Worker(WorkerState { envelope_version, stopped, ..WorkerState::default() });
        let heartbeat = Heartbeat { process: Uuid::from_u128(worker), version: "0.4.0".to_owned(), state };
        installation.on_heartbeat(&heartbeat, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_is_readable_once_every_running_worker_has_reported_it() {
        let installation = installation();
        assert_eq!(installation.check_readable(2).await, Err(Unreadable::NotHeard));
        installation.listens(true);
        hears(&installation, 1, 2, false);
        let started = Instant::now();
        assert_eq!(installation.check_readable(2).await, Ok(()));
        assert_eq!(started.elapsed(), HEARD_ALL_AFTER, "another worker might not have been heard");
        hears(&installation, 2, 1, false);
        assert_eq!(installation.check_readable(2).await, Err(Unreadable::OlderWorker(1)));
        assert_eq!(installation.check_readable(1).await, Ok(()));
        hears(&installation, 2, 1, true);
        assert_eq!(installation.check_readable(2).await, Ok(()), "the older worker has stopped");
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_worker_that_falls_silent_counts_until_the_broker_has_closed_its_connection() {
        let installation = installation();
        installation.listens(true);
        hears(&installation, 2, 1, false);
        for elapsed in 1..35 {
            advance(Duration::from_secs(1)).await;
            hears(&installation, 1, 2, false);
            assert_eq!(installation.check_readable(2).await, Err(Unreadable::OlderWorker(1)), "{elapsed}");
        }
        advance(Duration::from_secs(1)).await;
        assert_eq!(installation.check_readable(2).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn while_no_worker_is_running_those_that_ran_last_count() {
        for (version, expected) in [(2, Ok(())), (1, Err(Unreadable::OlderWorker(1)))] {
            let installation = installation();
            installation.listens(true);
            advance(HEARD_ALL_AFTER).await;
            assert_eq!(installation.check_readable(2).await, Err(Unreadable::NoWorker));
            hears(&installation, 1, version, false);
            hears(&installation, 1, version, true);
            assert_eq!(installation.check_readable(2).await, expected);
            // Another connection: what was known of the workers that ran last still counts.
            installation.listens(false);
            assert_eq!(installation.check_readable(2).await, Err(Unreadable::NotHeard));
            installation.listens(true);
            assert_eq!(installation.check_readable(2).await, expected);
        }
    }
}
