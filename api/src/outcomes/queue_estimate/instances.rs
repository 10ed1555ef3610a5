//! The other api instances, as their heartbeats describe them.

use std::collections::HashMap;
use std::time::Duration;

use hamro_shared::queue::{HEARTBEAT_EVERY, Published};
use tokio::time::Instant;
use uuid::Uuid;

use super::arrivals::Span;
use super::signed;

/// Nobody waits for the report of an instance that was silent for this long. It is probably gone.
const WAIT_AT_MOST: Duration = HEARTBEAT_EVERY.saturating_mul(2);
/// After this long, an instance is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// A time that differs by more milliseconds from this instance's clock is ignored: one of the two has not compared its
/// clock with the database's yet.
const CLOCK_DIFFERENCE_MAX: i64 = 5_000;

#[derive(Debug, Default)]
pub struct Instances(HashMap<Uuid, Instance>);

#[derive(Debug)]
struct Instance {
    published: Published,
    heard_at: Instant,
    /// It has reported the tickets before this time, in milliseconds since the Unix epoch.
    at: i64,
}

/// What an instance has published between two of its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increase {
    pub messages: u64,
    pub bookings: u64,
    /// When their tickets were issued.
    pub spans: Vec<Span>,
}

impl Instances {
    /// Returns what it has published since its previous heartbeat. `received_at` is used if the
    /// heartbeat has no time, as in earlier versions, or one that is far off.
    pub fn on_heartbeat(
        &mut self,
        instance: Uuid,
        published: Published,
        received_at: i64,
        now: Instant,
    ) -> Option<Increase> {
        let is_plausible = |at: &i64| (at - received_at).abs() <= CLOCK_DIFFERENCE_MAX;
        let at = published.recent_until.filter(is_plausible).unwrap_or(received_at);
        let recent = published.recent.clone();
        let (messages, bookings) = (published.messages, published.bookings);
        let previous = self.0.insert(instance, Instance { published, heard_at: now, at })?;
        let messages = messages.saturating_sub(previous.published.messages);
        let bookings = bookings.saturating_sub(previous.published.bookings);
        Some(Increase { messages, bookings, spans: spans(previous.at, at, bookings, &recent) })
    }

    /// Until when all others have reported; `None` if there is no other.
    pub fn reported_until(&mut self, now: Instant) -> Option<i64> {
        self.0.retain(|_, instance| now.duration_since(instance.heard_at) < FORGET_AFTER);
        let awaited = self.0.values().filter(|instance| now.duration_since(instance.heard_at) < WAIT_AT_MOST);
        awaited.map(|instance| instance.at).min()
    }

    /// How many bookings the messages of the other instances contain on average. `None` if that is unknown.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    pub fn average_size(&self) -> Option<f64> {
        let published = self.0.values().map(|instance| &instance.published);
        let (messages, bookings) = published.fold((0, 0), |(messages, bookings), published| {
            (messages + published.messages, bookings + published.bookings)
        });
        (messages > 0).then(|| bookings as f64 / messages as f64)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Distributes the bookings over the time between two heartbeats: as `recent` says, and the rest evenly. A booking whose
/// confirm was late counts as a later one, never as an earlier one: what was known about an earlier time does not change.
fn spans(from: i64, until: i64, bookings: u64, recent: &[u64]) -> Vec<Span> {
    let (mut spans, mut left, mut end) = (Vec::new(), bookings, until);
    let mut add = |from: i64, until: i64, bookings: u64| {
        if bookings > 0 {
            spans.push(Span { from, until: until.max(from + 1), bookings: signed(bookings) });
        }
    };
    for &count in recent {
        // The last millisecond of the step tells when the step begins.
        let start = ((end - 1).div_euclid(Published::STEP_MILLIS) * Published::STEP_MILLIS).max(from);
        let count = count.min(left);
        add(start, end, count);
        left -= count;
        end = start;
    }
    add(from, end, left);
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_increase_counts_from_the_previous_heartbeat_of_the_same_instance() {
        let (mut instances, now) = (Instances::default(), Instant::now());
        let [one, two] = [1, 2].map(Uuid::from_u128);
        let published = |messages, bookings, recent: &[u64], recent_until| Published {
            messages,
            bookings,
            recent: recent.to_vec(),
            recent_until,
            ..Published::default()
        };
        assert_eq!(instances.on_heartbeat(one, published(10, 640, &[64], None), 100, now), None);
        assert_eq!(instances.on_heartbeat(two, published(1, 1, &[], Some(150)), 90, now), None);
        let increase =
            instances.on_heartbeat(one, published(12, 700, &[1, 0, 39], Some(204)), 300, now).unwrap();
        let spans = [(200, 204, 1), (180, 190, 39), (100, 180, 20)];
        let spans = spans.map(|(from, until, bookings)| Span { from, until, bookings });
        assert_eq!(increase, Increase { messages: 2, bookings: 60, spans: spans.to_vec() });
        assert_eq!(instances.average_size(), Some(701.0 / 13.0));
        assert_eq!(instances.reported_until(now), Some(150));
        assert_eq!(instances.reported_until(now + WAIT_AT_MOST), None);
    }

    #[test]
    fn a_time_that_is_far_off_is_replaced_by_the_time_of_receipt() {
        for (recent_until, expected) in [(1_000_004, 1_000_004), (1_420_000, 1_000_000), (580_000, 1_000_000)]
        {
            let (mut instances, now) = (Instances::default(), Instant::now());
            let published = Published { recent_until: Some(recent_until), ..Published::default() };
            instances.on_heartbeat(Uuid::from_u128(1), published, 1_000_000, now);
            assert_eq!(instances.reported_until(now), Some(expected));
        }
    }

    #[test]
    fn a_booking_never_counts_as_earlier_than_its_ticket() {
        // Issued in the step that includes the heartbeat, in an earlier step, or before the previous heartbeat.
        for (recent, issued_at) in [(&[1][..], 203), (&[0, 1], 195), (&[0, 0, 0, 0, 1], 160)] {
            let spans = spans(175, 204, 1, recent);
            assert!(spans.iter().all(|span| span.before(issued_at) == 0), "{issued_at}: {spans:?}");
            assert!(spans.iter().all(|span| span.from >= 175 && span.before(204) == 1), "{spans:?}");
        }
    }
}
