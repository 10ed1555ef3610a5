//! Faults under load. Each test injects one kind of fault, and the same checker verifies the guarantees: see
//! docs/RELIABILITY.md.

mod broken_rules;
mod chaos;
mod database;
mod intake;
mod messages;
mod servers;
mod workers;
