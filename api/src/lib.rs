//! The HTTP intake of Hamro Concert.
//!
//! Endpoints, one a file: [`bookings`] takes bookings and tells what became of them, [`catalogue`] is what can be booked,
//! [`queue`] and [`health`]. [`state`] is what they share. Below it are the engines: [`broker`] (the way to and from RabbitMQ),
//! [`outcomes`] and [`seat_feed`]; [`http`] has the building blocks of the endpoints, [`server`] accepts connections and runs the
//! middleware. Imports run downward only.

mod booking_page;
pub mod booking_policy;
mod bookings;
pub mod broker;
mod catalogue;
pub mod config;
pub mod erase;
mod health;
pub mod http;
mod openapi;
pub mod outcomes;
mod queue;
pub mod router;
pub mod seat_feed;
pub mod server;
pub mod startup_migration;
pub mod state;
