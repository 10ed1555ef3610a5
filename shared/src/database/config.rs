//! The settings of the connection to Postgres.

use super::{Servers, Sessions};
use crate::config::Env;

/// The addresses and credentials of Postgres.
#[derive(Clone)]
pub struct DatabaseConfig {
    pub(super) servers: Servers,
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL`.
    pub fn read(env: &mut Env) -> Option<Self> {
        let servers = env
            .variable(
                "DATABASE_URL",
                "Address and credentials of Postgres: of one server, or of a primary and its standbys, of which the one \
                 that accepts writes is used.",
                "postgres://user:password@host:5432/database, with commas between several host:port",
            )
            .secret()
            .with_password("DATABASE_PASSWORD")
            .required();
        Some(Self { servers: servers? })
    }

    /// Sessions for `process`, which are replaced when they stop working. All of them share what is known about the
    /// servers.
    pub fn sessions(&self, process: &str, settings: &[(&'static str, &'static str)]) -> Sessions {
        Sessions::new(self.servers.for_process(process), settings)
    }
}
