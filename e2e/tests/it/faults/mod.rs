//! Faults under load. Each test injects one kind of fault, and the same checker verifies the guarantees: see
//! docs/RELIABILITY.md.

mod broken_rules;
mod chaos;
mod clocks;
mod cluster;
mod database;
mod early_rejection;
mod full_disk;
mod intake;
mod messages;
mod network;
mod restart;
pub mod servers;
mod workers;
