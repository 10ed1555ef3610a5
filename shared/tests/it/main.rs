//! Database sessions and migrations against a real Postgres, and compatibility with earlier versions.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod concert_times;
mod database;
mod duplicate_tiers;
mod earlier_versions;
mod expanding_migrations;
mod freed_versions;
mod migration_checksums;
mod migrations;
mod servers;
mod sold_seats;
