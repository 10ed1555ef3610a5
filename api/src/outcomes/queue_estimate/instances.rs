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

#[derive(Debug, Default)]
pub struct Instances(HashMap<Uuid, Instance>);

#[derive(Debug)]
struct Instance {
    published: Published,
    heard_at: Instant,
    /// The same by this instance's clock, in milliseconds since the Unix epoch.
    at: i64,
}

/// What an instance has published between two of its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increase {
    pub messages: u64,
    pub bookings: u64,
    /// When the bookings were published.
    pub spans: Vec<Span>,
}

impl Instances {
    /// Returns what it has published since its previous heartbeat.
    pub fn on_heartbeat(
        &mut self,
        instance: Uuid,
        published: Published,
        at: i64,
        now: Instant,
    ) -> Option<Increase> {
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

/// Distributes the bookings over the time between two heartbeats: as `recent` says, and the rest evenly.
fn spans(from: i64, until: i64, bookings: u64, recent: &[u64]) -> Vec<Span> {
    let step = i64::try_from(Published::STEP.as_millis()).unwrap_or(i64::MAX);
    let (mut spans, mut left, mut end) = (Vec::new(), bookings, until);
    for &count in recent {
        let start = (end - step).max(from);
        let count = count.min(left);
        if count > 0 {
            spans.push(Span { from: start, until: end, bookings: signed(count) });
        }
        left -= count;
        end = start;
    }
    if left > 0 {
        spans.push(Span { from, until: end, bookings: signed(left) });
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_increase_counts_from_the_previous_heartbeat_of_the_same_instance() {
        let (mut instances, now) = (Instances::default(), Instant::now());
        let [one, two] = [1, 2].map(Uuid::from_u128);
        let published =
            |messages, bookings, recent: &[u64]| Published { messages, bookings, recent: recent.to_vec() };
        assert_eq!(instances.on_heartbeat(one, published(10, 640, &[64]), 100, now), None);
        assert_eq!(instances.on_heartbeat(two, published(1, 1, &[]), 150, now), None);
        let increase = instances.on_heartbeat(one, published(12, 700, &[0, 40]), 200, now).unwrap();
        let spans = [(180, 190, 40), (100, 180, 20)];
        let spans = spans.map(|(from, until, bookings)| Span { from, until, bookings });
        assert_eq!(increase, Increase { messages: 2, bookings: 60, spans: spans.to_vec() });
        assert_eq!(instances.average_size(), Some(701.0 / 13.0));
        assert_eq!(instances.reported_until(now), Some(150));
        assert_eq!(instances.reported_until(now + WAIT_AT_MOST), None);
    }
}
