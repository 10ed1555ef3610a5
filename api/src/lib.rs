//! The HTTP intake of Hamro Concert.
//!
//! `bookings` takes requests and tells what became of them, `intake` is what lies between those handlers and the
//! broker, `catalogue` is what can be booked. One endpoint, one file.

pub mod admin;
mod bookings;
pub mod catalogue;
pub mod config;
pub mod erase;
mod etag;
pub mod events;
mod extract;
pub mod gate;
mod health;
pub mod intake;
pub mod live_seats;
mod openapi;
mod page;
pub mod problem;
mod queue;
pub mod rate_limit;
mod refusal;
mod retry;
pub mod router;
pub mod schema;
pub mod server;
pub mod state;
