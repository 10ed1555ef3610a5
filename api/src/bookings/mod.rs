//! Taking bookings, and telling what became of them.

mod accept;
pub mod book_seats;
pub mod create_booking;
pub mod follow_booking;
pub mod get_booking;
mod outcome;
mod prefer;
mod request;
mod status;

pub use request::BookingBody;
pub use status::{QueuePosition, TicketStatus};
