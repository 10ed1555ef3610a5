//! What the tests across real processes share: an installation of its own for each test, a client that speaks the
//! contract, and a look into the database to see whether all is as it must be.

#![expect(clippy::print_stderr, reason = "what a test has to say beside its result")]

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
