//! A private Postgres, whose configuration a test can change. Other tests do not use it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

/// A running server. Dropping it stops the server.
pub struct OwnPostgres {
    url: String,
    superuser_url: String,
    stack: Child,
    /// Kept open, because the script still prints messages.
    _output: BufReader<ChildStdout>,
}

impl OwnPostgres {
    /// Starts Postgres in a stack with this name.
    pub fn start(name: &str) -> Result<Self> {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/with-stack.sh"));
        // The stack runs until stdin is closed, which also happens if this process is killed.
        let until_closed = "echo \"ready $DATABASE_URL $HAMRO_SUPERUSER_URL\"; exec cat";
        command.args(["--only", "postgres", name, "--", "sh", "-c", until_closed]);
        let mut stack = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(stack.stdout.take().context("no stdout")?);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            let mut words = line.split_whitespace();
            if words.next() == Some("ready") {
                let mut next = || words.next().unwrap_or_default().to_owned();
                let (url, superuser_url) = (next(), next());
                return Ok(Self { url, superuser_url, stack, _output: output });
            }
            line.clear();
        }
        bail!("{command:?} ended with {}", stack.wait()?)
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

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        drop(self.stack.stdin.take());
        if let Err(error) = self.stack.wait() {
            eprintln!("{error}");
        }
    }
}
