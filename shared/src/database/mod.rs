//! Access to Postgres, the authority on seats and outcomes.

mod clock;
mod config;
mod encoding;
mod errors;
mod history;
mod inspection;
mod opening;
mod pool;
mod schema;
mod servers;
mod session_counts;
mod sessions;
pub mod sold_seats;
pub mod tickets;
mod tls;
mod url;
mod watching;

pub use clock::DatabaseClock;
pub use config::DatabaseConfig;
pub use encoding::StoredDate;
pub use errors::{commits_are_blocked, is_refusal, is_transient, needs_repair, server_replaced};
pub use pool::{Database, Work};
pub use schema::{MIGRATOR, SchemaError, migrate, next_instance_number, seed, wait_until_database_usable};
pub use servers::Servers;
pub use session_counts::SessionCounts;
pub use sessions::{CHECK_AFTER, Session, Sessions};
pub use watching::watch_servers;
