//! Endpoints that accept bookings and report their outcomes.

pub mod book_seats;
pub mod create_booking;
mod enqueue;
pub mod follow_booking;
pub mod get_booking;
mod outcome;
pub mod release_booking;
pub mod release_transaction;
mod request;
mod status;
mod trace;
mod wait;

pub use request::BookingBody;
pub use status::TicketStatus;
