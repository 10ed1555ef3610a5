//! The business types: what a booking requests and how it can end.
//!
//! This module has no SQL, AMQP or HTTP. The one exception is `utoipa::ToSchema`, a derive that keeps the OpenAPI
//! document beside the types. Each type has a single fallible constructor for input. Deserialization also uses it, except
//! for names and addresses: see [`CustomerName`]. Stored data and announcements of workers are trusted instead:
//! `from_stored` converts them, and the fields of a [`Booking`] are deserialized that way.

mod booking_request;
mod clock;
mod customer;
mod customer_digest;
mod email_syntax;
mod idempotency;
mod ids;
mod outcome;
mod price;
mod rejection;
mod seat_label;
mod serial;
mod ticket;
pub mod visible_text;

pub use booking_request::{BookingRequest, RequestHash, SeatsError};
pub use clock::{Clock, Timestamp};
pub use customer::{CustomerName, Email, EmailError, NameError};
pub use customer_digest::{CustomerDigest, CustomerDigests};
pub use idempotency::{IdempotencyDigest, IdempotencyKey, IdempotencyKeyError, KeyDigest, SaleKey};
pub use ids::{ConcertId, SeatId, TierId};
pub use outcome::{Booking, LineStatus, Outcome, SettledTicket, SoldSeat, TierLine};
pub use price::{Amount, AmountError, Price, PriceError};
pub use rejection::{Rejection, StoredRejection};
pub use seat_label::SeatLabel;
pub use ticket::{Ticket, TicketId, TicketKeys, TicketKeysError};
