//! The settings of the connection to Postgres.

use std::num::NonZeroU16;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::Sessions;
use super::opening::prepare;
use crate::config::Env;

/// The address and credentials of Postgres.
#[derive(Clone)]
pub struct DatabaseConfig {
    options: PgConnectOptions,
}

/// How long a caller waits for a free connection before it gets an error.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

impl DatabaseConfig {
    /// Reads `DATABASE_URL`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let options = env
            .variable(
                "DATABASE_URL",
                "Address and credentials of Postgres.",
                "postgres://user:password@host:5432/database",
            )
            .secret()
            .with_password("DATABASE_PASSWORD")
            .required();
        Some(Self { options: options? })
    }

    /// Connection options with `process` as the application name.
    fn options(&self, process: &str) -> PgConnectOptions {
        self.options.clone().application_name(process)
    }

    /// The same for each server.
    pub(super) fn servers(&self, process: &str) -> Vec<PgConnectOptions> {
        vec![self.options(process)]
    }

    /// Long-lived sessions for `process`, which are replaced when they stop working.
    pub fn sessions(&self, process: &str, settings: &[(&'static str, &'static str)]) -> Sessions {
        Sessions::new(self.options(process), settings)
    }

    /// A pool of connections with these settings, for a short-lived command.
    pub fn pool(
        &self,
        process: &str,
        settings: &'static [(&'static str, &'static str)],
        connections: NonZeroU16,
    ) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections.get().into())
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| Box::pin(prepare(connection, settings)))
            .connect_lazy_with(self.options(process))
    }
}
