//! The rules for accepting bookings, read from the environment.

use std::num::NonZeroUsize;
use std::time::Duration;

use hamro_shared::config::Env;
use hamro_shared::config::shared_settings::{read_booking_deadline, read_ticket_keys};
use hamro_shared::domain::TicketKeys;
use hamro_shared::telemetry::metrics::MetricsRegistry;

use crate::http::prefer::MAX_HOLD;

#[derive(Debug)]
pub struct BookingPolicy {
    pub ticket_keys: TicketKeys,
    /// Maximum number of seats per booking.
    pub max_seats: usize,
    /// How long after its issue a ticket may be sold.
    pub booking_deadline: Duration,
    /// How long after its issue a ticket of the waiting endpoint may be sold.
    pub booking_wait: Duration,
    /// Approximate maximum number of bookings in the queue.
    pub queue_max: u64,
    /// The longest time for which a client can ask the api to hold a response.
    pub max_wait: Duration,
}

impl BookingPolicy {
    pub fn read(env: &mut Env) -> Option<Self> {
        let ticket_keys = read_ticket_keys(env);
        let max_seats = env
            .variable(
                "MAX_SEATS_PER_BOOKING",
                "Maximum number of seats in one booking.",
                "a number such as 10",
            )
            .or_default::<NonZeroUsize>("10");
        let booking_deadline = read_booking_deadline(env);
        let booking_wait = env
            .variable(
                "BOOKING_WAIT",
                "How long after its issue a ticket of POST /ticket-bookings/seats may be sold. At most a minute.",
                "a duration such as 10s",
            )
            .or_default("10s");
        let queue_max = env
            .variable(
                "QUEUE_MAX",
                "Approximate limit on the bookings in the queue. Above it, bookings are refused with 503.",
                "a number such as 1000000",
            )
            .or_default::<u32>("1000000");
        let max_wait = env
            .variable(
                "MAX_WAIT",
                "The longest that a client may have a response held. At most a minute.",
                "a duration such as 30s",
            )
            .or_default("30s");
        // A held response must be sent before the time limit for all requests.
        for (name, duration) in [("MAX_WAIT", max_wait), ("BOOKING_WAIT", booking_wait)] {
            if duration.is_some_and(|wait| wait > MAX_HOLD) {
                env.record_error(format!(
                    "{name} is longer than a minute: it should be a duration such as 10s"
                ));
            }
        }
        if booking_wait == Some(Duration::ZERO) {
            env.record_error("BOOKING_WAIT is zero: it should be a duration such as 10s");
        }
        if let (Some(deadline), Some(wait)) = (booking_deadline, booking_wait)
            && wait > deadline
        {
            env.record_error(format!(
                "BOOKING_WAIT ({wait:?}) is longer than BOOKING_DEADLINE ({deadline:?}): it should be at most as long"
            ));
        }
        Some(Self {
            ticket_keys: ticket_keys?,
            max_seats: max_seats?.get(),
            booking_deadline: booking_deadline?,
            booking_wait: booking_wait?,
            max_wait: max_wait?,
            queue_max: queue_max?.into(),
        })
    }

    /// Exports the limit of the queue, so that an alert can compare.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        let queue_max = self.queue_max as f64;
        registry.read_gauge(
            "queue_max",
            "Number of bookings in the queue above which bookings are refused",
            move || Some(queue_max),
        );
    }
}
