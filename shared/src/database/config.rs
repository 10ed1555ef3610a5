//! How to reach Postgres.

use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::config::Env;

/// Where Postgres is and how many connections to it a process may hold.
#[derive(Clone)]
pub struct DatabaseConfig {
    options: PgConnectOptions,
    connections: NonZeroU16,
}

/// How long a caller waits for a free connection before it is told that there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

impl DatabaseConfig {
    /// `DATABASE_URL`, and `DATABASE_CONNECTIONS` with the process's own default.
    pub fn read(env: &mut Env, default_connections: u16) -> Option<Self> {
        let options = env.required("DATABASE_URL", "postgres://user:password@host:5432/database", |url| {
            if url.starts_with("postgres://") || url.starts_with("postgresql://") {
                PgConnectOptions::from_str(url).map_err(drop)
            } else {
                Err(())
            }
        });
        let default = NonZeroU16::new(default_connections).unwrap_or(NonZeroU16::MIN);
        let connections =
            env.or("DATABASE_CONNECTIONS", default, "the largest number of connections, such as 10");
        Some(Self { options: options?, connections: connections? })
    }

    /// A pool that connects when it is first used. Each session has these settings, by name and value, on top of
    /// the server's own, and shows up there as `process`.
    pub fn pool(&self, process: &str, session: &[(&str, &str)]) -> PgPool {
        let options = self.options.clone().application_name(process).options(session.iter().copied());
        PgPoolOptions::new()
            .max_connections(self.connections.get().into())
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options)
    }
}
