//! The HTTP api of Hamro Concert.
//!
//! The layers, from the top. A module imports only from its own layer and those below it.
//!
//! - [`router`]: all endpoints, inside the middleware.
//! - Endpoints, one per file: [`bookings`] accepts bookings and reports their outcomes, [`catalogue`] manages concerts
//!   and seats, [`queue`] and [`health`] report the state of the system, [`ops`] is for operators. [`booking_page`] is a web page that uses them,
//!   and [`docs`] describes them.
//! - [`state`]: what the endpoints share.
//! - Background services: [`broker`] publishes bookings and receives announcements, [`outcomes`] caches and looks up
//!   outcomes, [`seat_feed`] streams seat maps, [`seat_maps`] makes documents of them, [`catalogue_cache`] keeps the catalogue in
//!   memory, [`intake`] knows whether operators let bookings be accepted,
//!   [`installation`] what all processes report.
//! - [`http`]: building blocks of the endpoints. [`metrics`]: what all of these count.
//!
//! [`canary`] uses the endpoints as a client does.
//!
//! [`server`], connections and middleware, stands beside the endpoints: it imports only [`http`], and only [`router`],
//! [`config`] and `main` import it.

mod booking_page;
pub mod booking_policy;
mod bookings;
mod boot_clock;
pub mod broker;
pub mod canary;
mod catalogue;
pub mod catalogue_cache;
pub mod check;
pub mod config;
mod docs;
pub mod doctor;
pub mod early_rejection;
pub mod epoch_watch;
#[cfg(test)]
mod fixtures;
pub mod health;
pub mod http;
pub mod installation;
pub mod intake;
pub mod keys;
pub mod metrics;
mod openapi;
mod ops;
pub mod outcomes;
pub mod person;
mod queue;
pub mod retention;
pub mod router;
pub mod seat_feed;
pub mod seat_maps;
pub mod seat_runs;
pub mod server;
pub mod startup_migration;
pub mod state;
pub mod ticket;
pub mod unfinished_releases;
