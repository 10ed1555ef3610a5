//! The worker's modules against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod audit;
mod settlement;
