//! Shared code of the end-to-end tests, which run real processes: a deployment per test, a client of the HTTP api,
//! fault injection, and checks of the final state of database and broker.

#![expect(clippy::print_stderr, reason = "tests print details of a failure")]

pub mod broker_cluster;
pub mod certificates;
pub mod client;
mod database_clock;
pub mod dead_letter_setup;
pub mod deployment;
pub mod events;
pub mod fault_test;
pub mod final_state;
pub mod lossy_link;
pub mod metrics;
mod open_loop;
pub mod outage;
pub mod own_postgres;
pub mod pgbouncer;
pub mod private_stack;
pub mod process;
pub mod proxy;
pub mod raw_http;
pub mod replicated_postgres;
pub mod restorable_postgres;
pub mod reverse_proxy;
pub mod simulated_clients;
pub mod small_disk;
pub mod stats;
pub mod tables;
mod wait;

pub use client::Client;
pub use deployment::{Deployment, Setup};
pub use events::Events;
pub use fault_test::FaultTest;
pub use metrics::Metrics;
pub use open_loop::open_loop;
pub use wait::wait_until;
