//! A booking as a message of its own in the dead queue.
//!
//! A booking that was set aside carries how often that has happened, and when to try it next. It is always published as a new
//! message: the broker's delivery count starts again, so that only what kills a worker costs a try.

use std::time::Duration;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::{BOOKINGS_HEADER, ISOLATED_HEADER, Parcel};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};

use crate::settlement::batch::BookingCommand;

/// How often this booking was set aside.
const SET_ASIDE_HEADER: &str = "x-set-aside";

/// The moment of the next try, in milliseconds since the Unix epoch. Without it the next try is due at once.
const RETRY_AT_HEADER: &str = "x-retry-at";

/// The pause after the first retry; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a booking that wants a stuck seat waits in the dead queue.
const DEFERRED: Duration = Duration::from_secs(1);

/// What the headers say of a message with one booking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// How often the booking was set aside.
    pub set_aside: u32,
    /// When to try it.
    pub at: Option<Timestamp>,
}

impl Retry {
    pub fn of(delivery: &Delivery) -> Self {
        let integer = |name| header(delivery, name).and_then(AMQPValue::as_long_long_int);
        Self {
            set_aside: integer(SET_ASIDE_HEADER).and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            at: integer(RETRY_AT_HEADER).and_then(Timestamp::from_unix_millis),
        }
    }

    /// For an order that was set aside by a consumer: a reaper tries it as soon as it comes to it.
    pub fn at_once() -> Self {
        Self { set_aside: 1, at: None }
    }

    /// For an order that a reaper sets aside `now`. The last try is due as soon as the deadline has passed, and ends it.
    pub fn of_order(command: &BookingCommand, now: Timestamp) -> Self {
        let longer = 1_u32.checked_shl(command.set_aside).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(longer).min(LONGEST_PAUSE);
        let past_deadline = command.ticket.deadline + Duration::from_millis(1);
        Self { set_aside: command.set_aside + 1, at: Some(past_deadline.min(now + pause).max(now)) }
    }

    /// For an order that a reaper defers `now`.
    pub fn of_deferred(command: &BookingCommand, now: Timestamp) -> Self {
        let past_deadline = command.ticket.deadline + Duration::from_millis(1);
        Self { set_aside: command.set_aside, at: Some(past_deadline.min(now + DEFERRED).max(now)) }
    }

    /// The headers of a message with this one booking.
    pub fn headers(self) -> FieldTable {
        let mut headers = one_booking();
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

/// The headers of a message with one booking that takes the usual way.
pub fn one_booking() -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(1));
    headers
}

/// The body of a message that holds this booking alone.
pub fn parcel_of(booking: &str) -> Vec<u8> {
    let mut parcel = Parcel::default();
    parcel.push(booking.as_bytes());
    parcel.encode()
}

/// Whether this message holds one booking because a worker made it so.
pub fn is_alone(delivery: &Delivery) -> bool {
    header(delivery, ISOLATED_HEADER).is_some()
}

pub fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}
