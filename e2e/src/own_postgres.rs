//! A private Postgres, whose configuration a test can change. Other tests do not use it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::private_stack::PrivateStack;

/// A running server. Dropping it stops the server.
pub struct OwnPostgres {
    url: String,
    superuser_url: String,
    _stack: PrivateStack,
}

impl OwnPostgres {
    /// Starts Postgres in a stack with this name.
    pub fn start(name: &str) -> Result<Self> {
        let variables = ["DATABASE_URL", "HAMRO_SUPERUSER_URL"];
        let started = PrivateStack::start(name, &["--only", "postgres"], variables)?;
        let (stack, [url, superuser_url]) = started.context("the stack did not start")?;
        Ok(Self { url, superuser_url, _stack: stack })
    }

    /// The server's URL, for a [`Setup`](crate::Setup).
    pub fn url(&self) -> &'static str {
        self.url.clone().leak()
    }

    /// Runs statements as a superuser, each in its own transaction, and makes the server read its configuration again.
    pub async fn configure(&self, statements: &[&str]) -> Result<()> {
        let mut superuser = PgConnection::connect(&self.superuser_url).await?;
        for statement in statements.iter().chain(&["SELECT pg_reload_conf()"]) {
            sqlx::raw_sql(AssertSqlSafe((*statement).to_owned())).execute(&mut superuser).await?;
        }
        superuser.close().await?;
        Ok(())
    }

    /// Writes a file into the data directory, readable by the server only.
    pub async fn write(&self, name: &str, content: &str) -> Result<()> {
        let mut superuser = PgConnection::connect(&self.superuser_url).await?;
        let data: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut superuser).await?;
        let path = format!("{data}/{name}");
        // The server runs as another user if the tests run as root. COPY writes the file as that user.
        let copy = format!(
            "COPY (SELECT unnest(string_to_array($text${}$text$, E'\\n'))) TO '{path}'",
            content.trim_end()
        );
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut superuser).await?;
        superuser.close().await?;
        Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
    }
}
