//! Limits the processor time for making seat maps again: to a twentieth of a core on average, for all concerts of an instance.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::kept::Made;

/// A document that took the processor time `t` to make is followed by a pause of `20 t`.
const PAUSE: u32 = 20;

/// A seat map with at most so many seats takes a few milliseconds. It is made at once after every change, while the average
/// permits it.
const SMALL_SEATS: usize = 1_000;

/// How far the pauses of all concerts together may reach into the future, before a small seat map waits: after a second of
/// making.
const SMALL_AHEAD: Duration = Duration::from_secs(20);

/// The same for large ones, which leave the rest to the small ones.
const LARGE_AHEAD: Duration = Duration::from_secs(5);

/// No document gets older than this, however many concerts share the twentieth.
const OLDEST: Duration = Duration::from_mins(2);

pub struct Pace {
    /// When the pauses after all documents that have been made would be over, one after the other.
    over_at: Mutex<Instant>,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { over_at: Mutex::new(now) }
    }

    /// How long to wait before a document is made again.
    pub fn pause(&self, made: &Made, now: Instant) -> Duration {
        if now.duration_since(made.as_of) > OLDEST {
            return Duration::ZERO;
        }
        let is_small = made.seats <= SMALL_SEATS;
        let (own, ahead) = if is_small { (made.took, SMALL_AHEAD) } else { (PAUSE * made.took, LARGE_AHEAD) };
        let own_until = made.made_at + own;
        let over_at = *self.over_at.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = over_at.saturating_duration_since(now).saturating_sub(ahead);
        own_until.saturating_duration_since(now).max(shared)
    }

    /// Records that a document has been made.
    pub fn record(&self, took: Duration, now: Instant) {
        let mut over_at = self.over_at.lock().unwrap_or_else(PoisonError::into_inner);
        *over_at = (*over_at).max(now) + PAUSE * took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ready_body::ReadyBody;

    fn made(seats: usize, took: Duration, now: Instant) -> Made {
        let body = ReadyBody::json(b"[]".to_vec());
        Made { body, as_of: now, revision: 1, seats, made_at: now, took, last_event_id: None }
    }

    /// Makes a document as soon as its pause permits, for a minute, and returns the time that this took in all.
    fn make_for_a_minute(concerts: usize, seats: usize, took: Duration) -> Duration {
        let start = Instant::now();
        let (pace, mut now, mut spent) = (Pace::new(start), start, Duration::ZERO);
        let mut documents = vec![made(seats, took, start); concerts];
        while now < start + Duration::from_mins(1) {
            for document in &mut documents {
                if pace.pause(document, now).is_zero() {
                    pace.record(took, now);
                    *document = made(seats, took, now);
                    spent += took;
                }
            }
            now += Duration::from_millis(1);
        }
        spent
    }

    #[test]
    fn making_seat_maps_takes_a_twentieth_of_a_core_however_many_concerts_sell() {
        for (concerts, seats, took, allowance) in
            [(1, 100_000, 300, 600), (20, 100_000, 300, 600), (20, 20_000, 60, 350), (20, 100, 1, 1_050)]
        {
            let spent = make_for_a_minute(concerts, seats, Duration::from_millis(took));
            let limit = Duration::from_secs(3) + Duration::from_millis(allowance);
            assert!(spent <= limit, "{concerts} of {seats} seats: {spent:?}");
            assert!(spent >= Duration::from_millis(2_500), "{concerts} of {seats} seats: only {spent:?}");
        }
    }

    #[test]
    fn a_small_seat_map_is_made_again_at_once() {
        let (now, took) = (Instant::now(), Duration::from_millis(1));
        let pace = Pace::new(now);
        let document = made(100, took, now);
        pace.record(took, now);
        assert_eq!(pace.pause(&document, now + took), Duration::ZERO);
        let large = made(20_000, took, now);
        assert_eq!(pace.pause(&large, now + took), 19 * took);
    }

    #[test]
    fn no_seat_map_gets_older_than_two_minutes() {
        let now = Instant::now();
        let pace = Pace::new(now);
        pace.record(Duration::from_mins(1), now);
        let document = made(100_000, Duration::from_mins(1), now);
        assert!(pace.pause(&document, now + Duration::from_mins(2)) > Duration::ZERO);
        assert_eq!(pace.pause(&document, now + Duration::from_secs(121)), Duration::ZERO);
    }
}
