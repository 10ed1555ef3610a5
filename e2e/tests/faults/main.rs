//! Faults under load. Each test injects one kind of fault, and the same checker verifies the guarantees: see
//! docs/RELIABILITY.md.
//!
//! The tests in `servers` and `chaos` stop or freeze servers that all tests share, so they run alone: see
//! `.config/nextest.toml`.

mod broken_rules;
mod chaos;
mod database;
mod intake;
mod messages;
mod servers;
mod workers;
