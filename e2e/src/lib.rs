//! Shared code of the end-to-end tests, which run real processes: an installation per test, a client of the HTTP api,
//! fault injection, and checks of the final state of database and broker.

#![expect(clippy::print_stderr, reason = "tests print details of a failure")]

pub mod checker;
pub mod client;
pub mod crowd;
pub mod events;
pub mod evidence;
pub mod figures;
pub mod installation;
pub mod journal;
pub mod ledger;
mod open_loop;
pub mod outage;
pub mod process;
pub mod proxy;
mod queues;
pub mod status_read;
pub mod strays;
pub mod trial;
mod wait;

pub use client::Client;
pub use events::Events;
pub use installation::{Installation, Setup};
pub use open_loop::open_loop;
pub use trial::Trial;
pub use wait::wait_until;
