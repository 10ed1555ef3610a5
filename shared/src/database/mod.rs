//! Postgres: the only truth about seats and outcomes.

mod config;
mod schema;
pub mod tickets;
mod transient;

pub use config::DatabaseConfig;
pub use schema::{MIGRATOR, SchemaError, migrate, seed, wait_for_schema};
pub use transient::is_transient;
