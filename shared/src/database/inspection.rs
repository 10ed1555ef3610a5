//! Connections for `hamro-api doctor`, which examines a server whether or not the programs can use it.

use sqlx::Error;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout_at};

use super::DatabaseConfig;
use super::errors::{OpenError, unavailable};
use super::opening::{OPEN_TIMEOUT, connect};

impl DatabaseConfig {
    /// Connects to each server of `DATABASE_URL`, also to a standby, and applies no settings. Each has its address.
    pub async fn inspect(&self, process: &str) -> Vec<(String, Result<PgConnection, Error>)> {
        let mut servers = Vec::new();
        for (address, options) in self.servers.for_process(process).each() {
            let until = Instant::now() + OPEN_TIMEOUT;
            let opened = timeout_at(until, connect(options, until)).await;
            let opened = opened.unwrap_or_else(|_| Err(unavailable("opening a session timed out")));
            let opened = opened.map(|(connection, _)| connection);
            servers.push((address.to_owned(), opened.map_err(|error| OpenError::of(address, &error).into())));
        }
        servers
    }
}
