//! A load generator that simulates a ticket sale and verifies that the system lost nothing and sold no seat twice.
//!
//! A run prepares concerts and starts [`buyers`] at their due times ([`schedule`], [`pacer`]). Each buyer acts according
//! to the [`scenario`] with the shared state of the run ([`run_context`]). Latencies are measured from the due time
//! ([`metrics`]). What is recorded and checked is in [`hamro_verification`]. At the end the run is reported
//! ([`report`]).

pub mod arguments;
pub mod baseline;
mod buyer_rng;
mod buyers;
pub mod clean;
pub mod compare;
pub mod create;
mod interrupt;
mod load_phase;
pub mod merge;
mod metrics;
mod pacer;
mod prepare;
pub mod report;
pub mod run;
mod run_context;
mod sampler;
mod scenario;
mod schedule;
pub mod settings;
pub mod verify;
mod visits;
