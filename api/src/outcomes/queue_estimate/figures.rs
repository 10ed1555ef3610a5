//! The state of the queue in figures, for metrics and for the live view.

use std::time::Duration;

use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::time::Instant;

use super::QueueEstimate;

/// What is known about the queue. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueFigures {
    /// Bookings in the queue and held by workers.
    pub bookings: Option<u64>,
    /// Messages in the queue, at most a second ago.
    pub messages: Option<u64>,
    /// How long ago the first of these bookings arrived. Zero if there is none. Bookings that were in the queue before this
    /// instance started count from its start.
    pub oldest_age: Option<Duration>,
    /// Bookings that were published since this instance started, at all instances.
    pub arrivals: u64,
    /// Bookings that were settled since then.
    pub departures: u64,
    /// Bookings that this instance has issued and the broker has not confirmed.
    pub in_flight: u64,
}

impl QueueEstimate {
    pub fn figures(&self) -> QueueFigures {
        let (state, now) = (self.lock(), self.now());
        let oldest_age = state.tracking.as_ref().map(|tracking| {
            let age = tracking.oldest_arrival().map_or(0, |arrived| now - arrived);
            Duration::from_millis(u64::try_from(age).unwrap_or(0))
        });
        QueueFigures {
            bookings: state.depth(),
            messages: state.queue_messages,
            oldest_age,
            arrivals: state.arrivals,
            departures: state.departures,
            in_flight: state.in_flight,
        }
    }

    /// Exports the figures.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let figure = |get: fn(QueueFigures) -> Option<f64>| {
            let estimate = self.clone();
            move || get(estimate.figures())
        };
        registry.read_gauge(
            "queue_bookings",
            "Bookings in the queue and held by workers, of the whole installation",
            figure(|it| it.bookings.map(|n| n as f64)),
        );
        registry.read_gauge(
            "queue_messages",
            "Messages in the queue, which hold one or more bookings each",
            figure(|it| it.messages.map(|n| n as f64)),
        );
        registry.read_gauge(
            "queue_oldest_age_seconds",
            "Time since the oldest booking in the queue arrived; 0 if the queue is empty",
            figure(|it| it.oldest_age.map(|age| age.as_secs_f64())),
        );
        registry.read_counter(
            "queue_arrivals",
            "Bookings that all instances have published since this instance started",
            figure(|it| Some(it.arrivals as f64)),
        );
        registry.read_counter(
            "queue_departures",
            "Bookings that all workers have settled since this instance started",
            figure(|it| Some(it.departures as f64)),
        );
        registry.read_gauge(
            "publish_in_flight",
            "Bookings of this instance that wait for the broker's confirm",
            figure(|it| Some(it.in_flight as f64)),
        );
        let estimate = self.clone();
        registry.read_gauge(
            "queue_drain_rate",
            "Bookings per second that all workers settle while there are any, by their heartbeats",
            move || estimate.drain_rate(Instant::now()),
        );
        let estimate = self.clone();
        registry.read_gauge(
            "workers",
            "Workers that consume the queue, of the whole installation",
            move || estimate.workers(Instant::now()).map(|workers| workers as f64),
        );
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::{Clock, Timestamp};

    use hamro_shared::queue::Counted;

    use super::*;

    #[test]
    fn the_age_of_the_oldest_booking_is_zero_in_an_empty_queue_and_grows_while_one_waits() {
        let at = |millis: i64| Timestamp::from_unix_millis(1_000_000 + millis).unwrap();
        let estimate = QueueEstimate::new(Clock::stopped_at(at(0)));
        assert_eq!(estimate.figures(), QueueFigures::default());
        for _ in 0..3 {
            estimate.record_depth(Counted { messages: 0, consumers: 0 }, Instant::now());
        }
        let seen_at = |millis| QueueEstimate { clock: Clock::stopped_at(at(millis)), ..estimate.clone() };
        assert_eq!(seen_at(50_000).figures().oldest_age, Some(Duration::ZERO));
        // After an hour without bookings.
        seen_at(3_600_000).on_issued(at(3_600_000));
        seen_at(3_605_000).on_issued(at(3_605_000));
        let figures = seen_at(3_630_000).figures();
        assert_eq!((figures.bookings, figures.in_flight), (Some(2), 2));
        assert_eq!(figures.oldest_age, Some(Duration::from_secs(30)));
        estimate.on_confirmed([at(3_600_000), at(3_605_000)].into_iter());
        let figures = seen_at(3_630_000).figures();
        assert_eq!((figures.arrivals, figures.departures, figures.in_flight), (2, 0, 0));
    }
}
