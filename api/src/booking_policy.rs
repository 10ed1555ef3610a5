//! The rules for accepting bookings, read from the environment.

use std::num::NonZeroUsize;
use std::time::Duration;

use hamro_shared::config::Env;
use hamro_shared::domain::TicketKeys;

use crate::http::admin_auth::AdminToken;
use crate::http::prefer::MAX_HOLD;

#[derive(Debug)]
pub struct BookingPolicy {
    pub ticket_keys: TicketKeys,
    pub admin_token: AdminToken,
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
        const QUEUE_MAX: u32 = 1_000_000;
        const MAX_SEATS: NonZeroUsize = NonZeroUsize::new(10).expect("is not zero");
        let ticket_keys = read_ticket_keys(env);
        let admin_token =
            env.or_default("ADMIN_TOKEN", AdminToken::default(), "a secret of at least 16 ASCII characters");
        let max_seats = env.or_default("MAX_SEATS_PER_BOOKING", MAX_SEATS, "a number such as 10");
        let booking_deadline =
            env.or_default("BOOKING_DEADLINE", Duration::from_mins(15), "a duration such as 15m");
        let booking_wait = env.or_default("BOOKING_WAIT", Duration::from_secs(10), "a duration such as 10s");
        let queue_max =
            env.or_default("QUEUE_MAX", QUEUE_MAX, "a maximum number of bookings, such as 1000000");
        let max_wait = env.or_default("MAX_WAIT", Duration::from_secs(30), "a duration such as 30s");
        // A held response must be sent before the time limit for all requests.
        for (name, duration) in [("MAX_WAIT", max_wait), ("BOOKING_WAIT", booking_wait)] {
            if duration.is_some_and(|wait| wait > MAX_HOLD) {
                env.record_error(format!(
                    "{name} is longer than a minute: it should be a duration such as 10s"
                ));
            }
        }
        for (name, duration) in [("BOOKING_DEADLINE", booking_deadline), ("BOOKING_WAIT", booking_wait)] {
            if duration == Some(Duration::ZERO) {
                env.record_error(format!("{name} is zero: it should be a duration such as 10s"));
            }
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
            admin_token: admin_token?,
            max_seats: max_seats?.get(),
            booking_deadline: booking_deadline?,
            booking_wait: booking_wait?,
            max_wait: max_wait?,
            queue_max: queue_max?.into(),
        })
    }
}

/// Reads `TICKET_KEYS`.
pub fn read_ticket_keys(env: &mut Env) -> Option<TicketKeys> {
    let expected = "comma-separated keys of 64 hexadecimal digits each (openssl rand -hex 32)";
    env.required("TICKET_KEYS", expected, TicketKeys::parse)
}
