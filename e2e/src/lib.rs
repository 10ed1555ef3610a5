//! What the tests across real processes share: an installation of its own for each test, a client that speaks the
//! contract, and a look into the database to see whether all is as it must be.

pub mod client;
pub mod events;
pub mod figures;
pub mod installation;
pub mod ledger;
mod open_loop;
pub mod outage;
pub mod process;
pub mod proxy;
pub mod strays;
mod wait;

pub use client::Client;
pub use events::Events;
pub use installation::{Installation, Setup};
pub use open_loop::open_loop;
pub use wait::wait_until;
