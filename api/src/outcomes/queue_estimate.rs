//! Estimates how long the queue is and how fast it drains, for clients that wait.
//!
//! The broker reports the number of messages. The workers' announcements report how many bookings a message contains,
//! how many are settled, and when these were issued. Unknown values are `None`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::RawSettledEvent;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

/// An older message count is not used.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// The drain rate is the mean of this many seconds.
const WINDOW_SECONDS: u64 = 10;
/// A time of issue that is later than the settlement by more than this was taken from a wrong clock. Without this check,
/// one such ticket would make every position 0 until that time has come.
const CLOCK_SKEW: Duration = Duration::from_secs(1);
/// The weight of one announcement in the moving average of bookings per message.
const WEIGHT: f64 = 0.1;

/// A ticket's estimated position in the queue. A value that is unknown is `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuePosition {
    /// How many bookings are ahead of it.
    pub ahead: Option<u64>,
    /// The estimated number of seconds until it is settled.
    pub eta_seconds: Option<u64>,
}

/// The estimates of one instance.
#[derive(Clone)]
pub struct QueueEstimate(Arc<Mutex<Measurements>>);

struct Measurements {
    /// The number of messages in the queue, and when it was read.
    messages: Option<(u32, Instant)>,
    /// A moving average.
    bookings_per_message: f64,
    /// The start of second 0.
    start: Instant,
    /// The latest seconds with settled bookings, as (second, bookings). Totals rather than single bookings, because
    /// every waiting client has the rate computed.
    settled_by_second: VecDeque<(u64, u64)>,
    /// The latest time of issue among settled tickets.
    settled_through: Option<Timestamp>,
}

impl Default for QueueEstimate {
    fn default() -> Self {
        let measurements = Measurements {
            messages: None,
            bookings_per_message: 1.0,
            start: Instant::now(),
            settled_by_second: VecDeque::new(),
            settled_through: None,
        };
        Self(Arc::new(Mutex::new(measurements)))
    }
}

impl QueueEstimate {
    /// Records the number of messages in the queue.
    pub fn record_depth(&self, messages: u32, now: Instant) {
        self.lock().messages = Some((messages, now));
    }

    /// Records the announcement of a settled batch.
    pub fn on_settled(&self, event: &RawSettledEvent, now: Instant) {
        let mut measurements = self.lock();
        if event.parcels > 0 {
            let bookings_per_message = f64::from(event.bookings) / f64::from(event.parcels);
            measurements.bookings_per_message +=
                WEIGHT * (bookings_per_message - measurements.bookings_per_message);
        }
        measurements.add_settled(event.bookings, now);
        let Some(settled_at) = event.tickets.iter().map(|ticket| ticket.settled_at).max() else { return };
        let is_credible = |issued_at: &Timestamp| *issued_at <= settled_at + CLOCK_SKEW;
        let issued_at = event.tickets.iter().map(|ticket| ticket.ticket_id.issued_at());
        // The previous value is checked too, because the database clock may have been set back.
        measurements.settled_through =
            issued_at.chain(measurements.settled_through).filter(is_credible).max();
    }

    /// How many bookings are in the queue.
    pub fn depth(&self, now: Instant) -> Option<u64> {
        self.lock().depth(now)
    }

    /// How many bookings all workers together settle per second; `None` if none was settled recently.
    pub fn drain_rate(&self, now: Instant) -> Option<f64> {
        self.lock().drain_rate(now)
    }

    /// How many bookings are ahead of one that was issued at `issued_at`.
    ///
    /// Assumes that the bookings in the queue were issued at a constant rate between `settled_through` and
    /// `current_time`.
    pub fn ahead(&self, issued_at: Timestamp, current_time: Timestamp, now: Instant) -> Option<u64> {
        let measurements = self.lock();
        let depth = measurements.depth(now)?;
        if depth == 0 {
            return Some(0);
        }
        let settled_through = measurements.settled_through?;
        let queue_span = settled_through.until(current_time).as_secs_f64();
        let span_before = settled_through.until(issued_at).as_secs_f64();
        Some(if queue_span > 0.0 { scale(depth, (span_before / queue_span).min(1.0)) } else { 0 })
    }

    /// How long until a booking with this many ahead of it is settled. `None` if no booking was settled in the last ten
    /// seconds: it is then unknown whether workers are running.
    ///
    /// With none ahead it is one second, whatever the drain rate is. Workers that were mostly idle have a low rate, and
    /// settle the first booking in the queue at once.
    pub fn eta(&self, ahead: u64, now: Instant) -> Option<Duration> {
        let rate = self.drain_rate(now)?;
        if ahead == 0 {
            return Some(Duration::from_secs(1));
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Duration::try_from_secs_f64(ahead as f64 / rate).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Measurements> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measurements {
    fn depth(&self, now: Instant) -> Option<u64> {
        let (messages, read_at) = self.messages?;
        (now.duration_since(read_at) < STALE_AFTER).then(|| scale(messages.into(), self.bookings_per_message))
    }

    fn drain_rate(&self, now: Instant) -> Option<f64> {
        let first_second = (self.second(now) + 1).saturating_sub(WINDOW_SECONDS);
        let in_window = self.settled_by_second.iter().filter(|(second, _)| *second >= first_second);
        let settled: u64 = in_window.map(|(_, bookings)| bookings).sum();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵² in ten seconds")]
        (settled > 0).then(|| settled as f64 / WINDOW_SECONDS as f64)
    }

    fn add_settled(&mut self, bookings: u32, now: Instant) {
        let this_second = self.second(now);
        match self.settled_by_second.back_mut() {
            Some((second, total)) if *second == this_second => *total += u64::from(bookings),
            _ => self.settled_by_second.push_back((this_second, bookings.into())),
        }
        if self.settled_by_second.len() as u64 > WINDOW_SECONDS {
            self.settled_by_second.pop_front();
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
fn scale(count: u64, factor: f64) -> u64 {
    (count as f64 * factor).round() as u64
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::{Outcome, SettledTicket, TicketId};
    use hamro_shared::queue::SettledEvent;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(1_795_364_062_000 + seconds * 1000).unwrap()
    }

    fn event(bookings: u32, parcels: u32, issued_at: Timestamp) -> RawSettledEvent {
        settled_at(issued_at, bookings, parcels, issued_at)
    }

    fn settled_at(
        settled_at: Timestamp,
        bookings: u32,
        parcels: u32,
        issued_at: Timestamp,
    ) -> RawSettledEvent {
        let ticket_id = TicketId::last_of(issued_at);
        let ticket = SettledTicket { ticket_id, settled_at, outcome: Outcome::Expired };
        let event = SettledEvent { tickets: vec![ticket], bookings, parcels };
        RawSettledEvent::decode(&event.encode()).unwrap()
    }

    #[test]
    fn unknown_values_are_none() {
        let (estimate, now) = (QueueEstimate::default(), Instant::now());
        assert_eq!(
            (estimate.depth(now), estimate.drain_rate(now), estimate.ahead(at(0), at(1), now)),
            (None, None, None)
        );
        estimate.record_depth(10, now);
        assert_eq!(
            (estimate.depth(now), estimate.ahead(at(0), at(1), now), estimate.eta(3, now)),
            (Some(10), None, None)
        );
        assert_eq!(estimate.depth(now + STALE_AFTER), None);
    }

    #[test]
    fn the_position_of_a_booking_is_proportional_to_its_time_of_issue() {
        let (estimate, now) = (QueueEstimate::default(), Instant::now());
        estimate.on_settled(&event(1000, 1000, at(0)), now);
        estimate.record_depth(500, now);
        let ahead = |issued| estimate.ahead(at(issued), at(10), now);
        assert_eq!([ahead(0), ahead(5), ahead(10), ahead(-3)], [Some(0), Some(250), Some(500), Some(0)]);
        assert_eq!(estimate.drain_rate(now), Some(100.0));
        assert_eq!(estimate.eta(500, now), Some(Duration::from_secs(5)));
        assert_eq!(estimate.eta(0, now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_latest_settled_time_never_decreases() {
        let (estimate, now) = (QueueEstimate::default(), Instant::now());
        estimate.on_settled(&event(1, 1, at(5)), now);
        estimate.on_settled(&settled_at(at(6), 1, 1, at(3)), now);
        estimate.record_depth(100, now);
        assert_eq!(estimate.ahead(at(5), at(10), now), Some(0));
    }

    #[test]
    fn a_ticket_from_the_future_does_not_make_positions_zero() {
        let (estimate, now) = (QueueEstimate::default(), Instant::now());
        estimate.record_depth(100, now);
        estimate.on_settled(&settled_at(at(0), 1, 1, at(0)), now);
        estimate.on_settled(&settled_at(at(1), 1, 1, at(300)), now);
        assert_eq!(estimate.ahead(at(5), at(10), now), Some(50));
    }

    #[test]
    fn positions_recover_after_the_database_clock_is_set_back() {
        let (estimate, now) = (QueueEstimate::default(), Instant::now());
        estimate.record_depth(100, now);
        estimate.on_settled(&settled_at(at(300), 1, 1, at(300)), now);
        assert_eq!(estimate.ahead(at(5), at(10), now), Some(0));
        estimate.on_settled(&settled_at(at(1), 1, 1, at(0)), now);
        assert_eq!(estimate.ahead(at(5), at(10), now), Some(50));
    }

    #[test]
    fn the_depth_counts_bookings_and_not_messages() {
        let (estimate, now) = (QueueEstimate::default(), Instant::now());
        for _ in 0..100 {
            estimate.on_settled(&event(64, 1, at(0)), now);
        }
        estimate.record_depth(100, now);
        assert!(estimate.depth(now).is_some_and(|depth| (6_300..=6_400).contains(&depth)));
        assert_eq!(estimate.drain_rate(now + Duration::from_secs(WINDOW_SECONDS + 1)), None);
    }
}
