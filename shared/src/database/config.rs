//! How to reach Postgres.

use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::Sessions;
use crate::config::Env;

/// Where Postgres is.
#[derive(Clone)]
pub struct DatabaseConfig {
    options: PgConnectOptions,
}

/// How long a caller waits for a free connection before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

impl DatabaseConfig {
    /// `DATABASE_URL`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let options = env.required("DATABASE_URL", "postgres://user:password@host:5432/database", |url| {
            if url.starts_with("postgres://") || url.starts_with("postgresql://") {
                PgConnectOptions::from_str(url).map_err(drop)
            } else {
                Err(())
            }
        });
        Some(Self { options: options? })
    }

    /// For connections that show up at the server as `process`.
    pub fn options(&self, process: &str) -> PgConnectOptions {
        self.options.clone().application_name(process)
    }

    /// Sessions of `process` that live as long as they work.
    pub fn sessions(&self, process: &str, settings: &[(&'static str, &'static str)]) -> Sessions {
        Sessions::new(self.options(process), settings)
    }

    /// A pool of connections with these settings, for a command that ends soon.
    pub fn pool(&self, process: &str, session: &[(&str, &str)], connections: NonZeroU16) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections.get().into())
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(self.options(process).options(session.iter().copied()))
    }
}
