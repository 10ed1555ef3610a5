//! A message with a single booking, published by a worker.
//!
//! Its headers say how often the booking was set aside and when to retry it. It is always published as a new message,
//! which resets the broker's delivery count, so that only a dying worker uses up a redelivery.

use std::time::Duration;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::{BOOKINGS_HEADER, Parcel};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use crate::settlement::batch::BookingCommand;

/// Marks an isolated booking: the parcel contains only this booking, so the broker's redelivery count of the message is
/// the redelivery count of the booking.
const ISOLATED_HEADER: &str = "x-alone";

/// How often this booking was set aside.
const SET_ASIDE_HEADER: &str = "x-set-aside";

/// When to try the booking, in milliseconds since the Unix epoch. Without it the booking is due at once.
const RETRY_AT_HEADER: &str = "x-retry-at";

/// A booking set aside by the consumer is due at once. The pauses after its retries are 2, 4, 8, … seconds, up to the
/// longest.
const PAUSE_UNIT: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a booking waits in the dead queue if another database session has locked one of its seats.
const DEFERRAL_PAUSE: Duration = Duration::from_secs(1);

/// When to try an isolated booking, as the headers of its message store it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetrySchedule {
    /// How often the booking was set aside.
    pub set_aside: u32,
    /// When to try it; at once if `None`.
    pub at: Option<Timestamp>,
}

impl RetrySchedule {
    pub fn of(delivery: &Delivery) -> Self {
        let integer = |name| header(delivery, name).and_then(AMQPValue::as_long_long_int);
        Self {
            set_aside: integer(SET_ASIDE_HEADER).and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            at: integer(RETRY_AT_HEADER).and_then(Timestamp::from_unix_millis),
        }
    }

    /// For a booking that the consumer sets aside.
    pub fn at_once() -> Self {
        Self { set_aside: 1, at: None }
    }

    /// For a booking that the poison isolator sets aside `now`. The last attempt is due right after the deadline and
    /// ends it.
    pub fn after_set_aside(command: &BookingCommand, now: Timestamp) -> Self {
        let factor = 1_u32.checked_shl(command.set_aside).unwrap_or(u32::MAX);
        let pause = PAUSE_UNIT.saturating_mul(factor).min(LONGEST_PAUSE);
        let past_deadline = command.ticket.first_moment_past_deadline();
        Self { set_aside: command.set_aside + 1, at: Some(past_deadline.min(now + pause).max(now)) }
    }

    /// For a booking that the poison isolator defers `now`.
    pub fn after_deferral(command: &BookingCommand, now: Timestamp) -> Self {
        let past_deadline = command.ticket.first_moment_past_deadline();
        Self { set_aside: command.set_aside, at: Some(past_deadline.min(now + DEFERRAL_PAUSE).max(now)) }
    }

    /// The headers of an isolated message.
    pub fn headers(self) -> FieldTable {
        let mut headers = single_booking_headers();
        headers.insert(ISOLATED_HEADER.into(), AMQPValue::Boolean(true));
        if self.set_aside > 0 {
            headers.insert(SET_ASIDE_HEADER.into(), AMQPValue::LongLongInt(self.set_aside.into()));
        }
        if let Some(at) = self.at {
            headers.insert(RETRY_AT_HEADER.into(), AMQPValue::LongLongInt(at.unix_millis()));
        }
        headers
    }
}

/// The headers of a single booking that is published to the intake queue.
pub fn single_booking_headers() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(1));
    headers
}

/// A parcel with this booking only.
pub fn parcel_of(booking: &str) -> Vec<u8> {
    let mut parcel = Parcel::default();
    parcel.push(booking.as_bytes());
    parcel.encode()
}

/// The number of bookings in a parcel, as its publisher has counted them. 1 if unknown.
pub fn bookings_in(delivery: &Delivery) -> u32 {
    let counted = header(delivery, BOOKINGS_HEADER).and_then(AMQPValue::as_long_int);
    counted.and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

/// Whether a worker published this message with a single booking.
pub fn is_isolated(delivery: &Delivery) -> bool {
    header(delivery, ISOLATED_HEADER).is_some()
}

pub fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}
