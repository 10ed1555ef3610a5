//! How long the queue is and how fast it moves, as one instance sees it: what a waiting customer is told.
//!
//! The broker counts messages; the workers' announcements tell how many bookings a message holds, how many are settled a
//! second, and up to which moment of issue they have got. What is not known is not made up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::RawSettledEvent;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

/// A count of messages that is older than this counts for nothing.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// The drain rate is that of so many seconds.
const WINDOW_SECONDS: u64 = 10;
/// How much of the mean of bookings a message a single announcement makes up.
const WEIGHT: f64 = 0.1;

/// What is known of the queue; `null` is what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuePosition {
    /// How many bookings are before it.
    pub ahead: Option<u64>,
    /// In about how many seconds it will be settled.
    pub eta_seconds: Option<u64>,
}

#[derive(Clone)]
pub struct QueueEstimate(Arc<Mutex<Reading>>);

struct Reading {
    messages: Option<(u32, Instant)>,
    bookings_per_message: f64,
    /// The moment from which seconds are counted.
    start: Instant,
    /// How many bookings were settled in each of the last seconds, and in which. Everybody who waits asks for the rate, so
    /// it must not take longer the more is settled.
    settled: VecDeque<(u64, u64)>,
    /// The latest moment of issue among what was settled. It never goes back.
    settled_through: Option<Timestamp>,
}

impl Default for QueueEstimate {
    fn default() -> Self {
        let reading = Reading {
            messages: None,
            bookings_per_message: 1.0,
            start: Instant::now(),
            settled: VecDeque::new(),
            settled_through: None,
        };
        Self(Arc::new(Mutex::new(reading)))
    }
}

impl QueueEstimate {
    /// The broker has so many messages in the queue.
    pub fn record_depth(&self, messages: u32, now: Instant) {
        self.lock().messages = Some((messages, now));
    }

    /// A worker has settled a batch.
    pub fn settled(&self, message: &RawSettledEvent, now: Instant) {
        let mut reading = self.lock();
        if message.parcels > 0 {
            let bookings_per_message = f64::from(message.bookings) / f64::from(message.parcels);
            reading.bookings_per_message += WEIGHT * (bookings_per_message - reading.bookings_per_message);
        }
        reading.add(message.bookings, now);
        let latest = message.tickets.iter().map(|ticket| ticket.ticket_id.issued_at()).max();
        reading.settled_through = reading.settled_through.max(latest);
    }

    /// Bookings in the queue.
    pub fn depth(&self, now: Instant) -> Option<u64> {
        self.lock().depth(now)
    }

    /// Bookings settled a second, by all workers.
    pub fn drain_rate(&self, now: Instant) -> Option<f64> {
        self.lock().drain_rate(now)
    }

    /// How many bookings are before one that was issued at `issued_at`. Those in the queue were issued between what has
    /// been served and this moment, and are taken to have come evenly.
    pub fn ahead(&self, issued_at: Timestamp, clock: Timestamp, now: Instant) -> Option<u64> {
        let reading = self.lock();
        let depth = reading.depth(now)?;
        if depth == 0 {
            return Some(0);
        }
        let settled_through = reading.settled_through?;
        let all = settled_through.until(clock).as_secs_f64();
        let before = settled_through.until(issued_at).as_secs_f64();
        Some(if all > 0.0 { scale(depth, (before / all).min(1.0)) } else { 0 })
    }

    /// In how long a booking is settled that has so many before it. Nobody knows how fast workers are that have nothing to
    /// do; but they are there, and a booking with none before it is theirs at once.
    pub fn eta(&self, ahead: u64, now: Instant) -> Option<Duration> {
        let rate = self.drain_rate(now)?;
        if ahead == 0 {
            return Some(Duration::from_secs(1));
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Duration::try_from_secs_f64(ahead as f64 / rate).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn depth(&self, now: Instant) -> Option<u64> {
        let (messages, at) = self.messages?;
        (now.duration_since(at) < STALE_AFTER).then(|| scale(messages.into(), self.bookings_per_message))
    }

    fn drain_rate(&self, now: Instant) -> Option<f64> {
        let since = (self.second(now) + 1).saturating_sub(WINDOW_SECONDS);
        let settled: u64 = self
            .settled
            .iter()
            .filter(|(second, _)| *second >= since)
            .map(|(_, record_depth)| record_depth)
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵² in ten seconds")]
        (settled > 0).then(|| settled as f64 / WINDOW_SECONDS as f64)
    }

    fn add(&mut self, bookings: u32, now: Instant) {
        let this = self.second(now);
        match self.settled.back_mut() {
            Some((second, record_depth)) if *second == this => *record_depth += u64::from(bookings),
            _ => self.settled.push_back((this, bookings.into())),
        }
        if self.settled.len() as u64 > WINDOW_SECONDS {
            self.settled.pop_front();
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.duration_since(self.start).as_secs()
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; neither factor is negative"
)]
fn scale(record_depth: u64, factor: f64) -> u64 {
    (record_depth as f64 * factor).round() as u64
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::{Outcome, SettledTicket, TicketId};
    use hamro_shared::queue::SettledEvent;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_795_364_062_000 + seconds * 1000).unwrap()
    }

    fn message(bookings: u32, parcels: u32, issued_at: Timestamp) -> RawSettledEvent {
        let ticket = SettledTicket {
            ticket_id: TicketId::last_of(issued_at),
            settled_at: at(0),
            outcome: Outcome::Expired,
        };
        let message = SettledEvent { tickets: vec![ticket], bookings, parcels };
        RawSettledEvent::decode(&message.encode()).unwrap()
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let (queue_estimate, now) = (QueueEstimate::default(), Instant::now());
        assert_eq!(
            (
                queue_estimate.depth(now),
                queue_estimate.drain_rate(now),
                queue_estimate.ahead(at(0), at(1), now)
            ),
            (None, None, None)
        );
        queue_estimate.record_depth(10, now);
        assert_eq!(
            (queue_estimate.depth(now), queue_estimate.ahead(at(0), at(1), now), queue_estimate.eta(3, now)),
            (Some(10), None, None)
        );
        assert_eq!(queue_estimate.depth(now + STALE_AFTER), None);
    }

    #[test]
    fn a_booking_is_as_far_back_as_it_was_issued_late() {
        let (queue_estimate, now) = (QueueEstimate::default(), Instant::now());
        queue_estimate.settled(&message(1000, 1000, at(0)), now);
        queue_estimate.record_depth(500, now);
        let ahead = |issued| queue_estimate.ahead(at(issued), at(10), now);
        assert_eq!([ahead(0), ahead(5), ahead(10), ahead(-3)], [Some(0), Some(250), Some(500), Some(0)]);
        assert_eq!(queue_estimate.drain_rate(now), Some(100.0));
        assert_eq!(queue_estimate.eta(500, now), Some(Duration::from_secs(5)));
        assert_eq!(queue_estimate.eta(0, now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_has_been_served_never_goes_back() {
        let (queue_estimate, now) = (QueueEstimate::default(), Instant::now());
        queue_estimate.settled(&message(1, 1, at(5)), now);
        queue_estimate.settled(&message(1, 1, at(3)), now);
        queue_estimate.record_depth(100, now);
        assert_eq!(queue_estimate.ahead(at(5), at(10), now), Some(0));
    }

    #[test]
    fn messages_are_counted_as_the_bookings_they_hold() {
        let (queue_estimate, now) = (QueueEstimate::default(), Instant::now());
        for _ in 0..100 {
            queue_estimate.settled(&message(64, 1, at(0)), now);
        }
        queue_estimate.record_depth(100, now);
        assert!(queue_estimate.depth(now).is_some_and(|depth| (6_300..=6_400).contains(&depth)));
        assert_eq!(queue_estimate.drain_rate(now + Duration::from_secs(WINDOW_SECONDS + 1)), None);
    }
}
