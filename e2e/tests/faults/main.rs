//! Faults in the middle of a load. Each test brings about one, and the same checker judges them all: see docs/RELIABILITY.md.
//!
//! Those in `servers` and `chaos` stop or freeze a server that all tests share, and run alone for that: see `.config/nextest.toml`.

mod broken_rules;
mod chaos;
mod database;
mod intake;
mod messages;
mod servers;
mod workers;
