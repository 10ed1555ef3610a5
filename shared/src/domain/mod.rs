//! The words of the business: what a booking asks for and how it can end.
//!
//! Nothing in here knows of SQL, AMQP or HTTP. A value of one of these types has been checked: each has a
//! single fallible constructor, which deserialising goes through as well.

mod booking;
mod clock;
mod customer;
mod idempotency;
mod outcome;
mod price;
mod seat;
mod serial;
mod ticket;

pub use booking::{BookingRequest, RequestHash, SeatsError};
pub use clock::{Clock, Timestamp};
pub use customer::{CustomerName, Email, EmailError, NameError};
pub use idempotency::{IdempotencyDigest, IdempotencyKey, IdempotencyKeyError};
pub use outcome::{Booking, LineStatus, Outcome, Rejection, SettledTicket, SoldSeat, TierLine};
pub use price::{Price, PriceError};
pub use seat::{ConcertId, SeatId, TierId};
pub use ticket::{Ticket, TicketId, TicketKeys, TicketKeysError};
