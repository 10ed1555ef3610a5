//! Shared code of the end-to-end tests, which run real processes: a deployment per test, a client of the HTTP api,
//! fault injection, and checks of the final state of database and broker.

#![expect(clippy::print_stderr, reason = "tests print details of a failure")]

pub mod checker;
pub mod client;
pub mod crowd;
pub mod dead_letter_setup;
pub mod deployment;
pub mod events;
pub mod evidence;
pub mod journal;
pub mod ledger;
mod open_loop;
pub mod outage;
pub mod process;
pub mod proxy;
pub mod stats;
pub mod status_read;
pub mod trial;
mod wait;

pub use client::Client;
pub use deployment::{Deployment, Setup};
pub use events::Events;
pub use open_loop::open_loop;
pub use trial::Trial;
pub use wait::wait_until;
