//! The words of the business: what a booking asks for and how it can end.
//!
//! Nothing in here knows of SQL, AMQP or HTTP. Input becomes a value of one of these types only by its single fallible
//! constructor, which deserialising goes through as well. What is stored, and what workers announce, is trusted instead:
//! it becomes one by `from_stored`, and the fields of a [`Booking`] are deserialised that way.

mod booking;
mod clock;
mod customer;
mod idempotency;
mod outcome;
mod price;
mod rejection;
mod seat;
mod serial;
mod ticket;

pub use booking::{BookingRequest, RequestHash, SeatsError};
pub use clock::{Clock, Timestamp};
pub use customer::{CustomerName, Email, EmailError, NameError};
pub use idempotency::{IdempotencyDigest, IdempotencyKey, IdempotencyKeyError};
pub use outcome::{Booking, LineStatus, Outcome, SettledTicket, SoldSeat, TierLine};
pub use price::{Amount, Price, PriceError};
pub use rejection::{Rejection, StoredRejection};
pub use seat::{ConcertId, SeatId, TierId};
pub use ticket::{Ticket, TicketId, TicketKeys, TicketKeysError};
