//! The rules that bookings are accepted by, as the settings say.

use std::num::NonZeroUsize;
use std::time::Duration;

use hamro_shared::config::{Env, Setting};
use hamro_shared::domain::TicketKeys;

use crate::http::admin_auth::{AdminToken, AdminTokenSetting};
use crate::http::prefer::MAX_HOLD;

/// What is decided once, by settings.
#[derive(Debug)]
pub struct BookingPolicy {
    pub ticket_keys: TicketKeys,
    pub admin_token: AdminToken,
    /// The most seats that one booking may ask for.
    pub max_seats: usize,
    /// How long after it was issued a ticket may be sold.
    pub booking_deadline: Duration,
    /// The same on the endpoint that waits.
    pub booking_wait: Duration,
    /// The most bookings that may wait in the queue.
    pub queue_max: u64,
    /// The longest that a client may have an answer held.
    pub max_wait: Duration,
}

impl BookingPolicy {
    pub fn read(env: &mut Env) -> Option<Self> {
        const QUEUE_MAX: u32 = 1_000_000;
        const MAX_SEATS: NonZeroUsize = NonZeroUsize::new(10).expect("is not zero");
        let ticket_keys = read_ticket_keys(env);
        let admin_token = env.optional("ADMIN_TOKEN", "a secret of at least 16 ASCII characters", |text| {
            AdminTokenSetting::parse(text).ok_or(())
        });
        let max_seats = env.or("MAX_SEATS_PER_BOOKING", MAX_SEATS, "a number such as 10");
        let booking_deadline = env.or("BOOKING_DEADLINE", Duration::from_mins(15), "a duration such as 15m");
        let booking_wait = env.or("BOOKING_WAIT", Duration::from_secs(10), "a duration such as 10s");
        let queue_max = env.or("QUEUE_MAX", QUEUE_MAX, "the most bookings that may wait, such as 1000000");
        let max_wait = env.or("MAX_WAIT", Duration::from_secs(30), "a duration such as 30s");
        // What is held on purpose is held for less than the time limit of an answer.
        for (name, duration) in [("MAX_WAIT", max_wait), ("BOOKING_WAIT", booking_wait)] {
            if duration.is_some_and(|wait| wait > MAX_HOLD) {
                env.fault(format!(
                    "{name} is set to more than a minute: it should be a duration such as 10s"
                ));
            }
        }
        for (name, duration) in [("BOOKING_DEADLINE", booking_deadline), ("BOOKING_WAIT", booking_wait)] {
            if duration == Some(Duration::ZERO) {
                env.fault(format!("{name} is set to nothing: it should be a duration such as 10s"));
            }
        }
        if let (Some(deadline), Some(wait)) = (booking_deadline, booking_wait)
            && wait > deadline
        {
            env.fault(format!(
                "BOOKING_WAIT ({wait:?}) should not be longer than BOOKING_DEADLINE ({deadline:?})"
            ));
        }
        Some(Self {
            ticket_keys: ticket_keys?,
            admin_token: AdminToken::new(admin_token?.map(|AdminTokenSetting(token)| token)),
            max_seats: max_seats?.get(),
            booking_deadline: booking_deadline?,
            booking_wait: booking_wait?,
            max_wait: max_wait?,
            queue_max: queue_max?.into(),
        })
    }
}

/// `TICKET_KEYS`.
pub fn read_ticket_keys(env: &mut Env) -> Option<TicketKeys> {
    let expected =
        "one or more keys, separated by commas, each of 64 hexadecimal digits (openssl rand -hex 32)";
    env.required("TICKET_KEYS", expected, TicketKeys::parse)
}
