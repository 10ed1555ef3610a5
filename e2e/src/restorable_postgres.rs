//! A private Postgres server that archives its log, and can be restored from a base backup. Other tests do not use it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::outage::{run, run_aside, script};
use crate::private_stack::PrivateStack;
use crate::wait_until;

/// A running server. Dropping it stops the server.
pub struct RestorablePostgres {
    stack: PrivateStack,
    url: String,
    superuser_url: String,
    /// The data directory.
    data: PathBuf,
    /// The directory of the server's programs.
    programs: PathBuf,
}

impl RestorablePostgres {
    /// Starts a server in a stack with this name, and has it archive its log.
    pub async fn start(name: &str) -> Result<Self> {
        let variables = ["DATABASE_URL", "HAMRO_SUPERUSER_URL"];
        let started = PrivateStack::start(name, &["--only", "postgres"], variables)?;
        let (stack, [url, superuser_url]) = started.context("the stack did not start")?;
        let mut superuser = PgConnection::connect(&superuser_url).await?;
        let data: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut superuser).await?;
        let programs: String = sqlx::query_scalar("SELECT setting FROM pg_config() WHERE name = 'BINDIR'")
            .fetch_one(&mut superuser)
            .await?;
        superuser.close().await?;
        let server = Self { stack, url, superuser_url, data: data.into(), programs: programs.into() };
        server.archive().await?;
        Ok(server)
    }

    /// The server's URL, for a [`Setup`](crate::Setup).
    pub fn url(&self) -> &'static str {
        self.url.clone().leak()
    }

    /// Starts archiving the log, and allows backups.
    async fn archive(&self) -> Result<()> {
        let mut access = fs::OpenOptions::new().append(true).open(self.data.join("pg_hba.conf"))?;
        writeln!(access, "host replication all 127.0.0.1/32 scram-sha-256")?;
        let archive = self.beside("archive");
        fs::create_dir(&archive)?;
        self.give_away(&archive)?;
        self.execute("ALTER SYSTEM SET archive_mode = on").await?;
        let command = format!("test ! -f {0}/%f && cp %p {0}/%f", archive.display());
        self.execute(&format!("ALTER SYSTEM SET archive_command = '{command}'")).await?;
        let command = format!("cp {}/%f %p", archive.display());
        self.execute(&format!("ALTER SYSTEM SET restore_command = '{command}'")).await?;
        run(script(&self.stack.directory, &["stop", "postgres"]))?;
        run(script(&self.stack.directory, &["start", "postgres"]))
    }

    /// Makes a base backup, as docs/RUNBOOK.md says.
    pub async fn back_up(&self) -> Result<()> {
        let mut command = Command::new(self.programs.join("pg_basebackup"));
        command
            .args(["--checkpoint=fast", "--dbname", &self.superuser_url, "--pgdata"])
            .arg(self.beside("backup"));
        run_aside(command).await
    }

    /// Names this moment, and waits until the log up to it is archived.
    pub async fn name_this_moment(&self, name: &str) -> Result<()> {
        self.execute(&format!("SELECT pg_create_restore_point('{name}')")).await?;
        let mut superuser = PgConnection::connect(&self.superuser_url).await?;
        let segment: String =
            sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())").fetch_one(&mut superuser).await?;
        superuser.close().await?;
        let archived = self.beside("archive").join(&segment);
        wait_until("the log is archived", async || Ok(archived.exists().then_some(()))).await
    }

    /// Destroys the server and its data.
    pub fn destroy(&self) -> Result<()> {
        run(script(&self.stack.directory, &["kill", "postgres"]))?;
        Ok(fs::remove_dir_all(&self.data)?)
    }

    /// Restores the backup, replays the archived log up to the named moment, and starts the server.
    pub async fn restore(&self, name: &str) -> Result<()> {
        fs::rename(self.beside("backup"), &self.data)?;
        let settings = self.data.join("postgresql.auto.conf");
        let target = "recovery_target_action = 'promote'";
        let settings_now = fs::read_to_string(&settings)?;
        fs::write(&settings, format!("{settings_now}recovery_target_name = '{name}'\n{target}\n"))?;
        fs::write(self.data.join("recovery.signal"), "")?;
        self.give_away(&self.data)?;
        run(script(&self.stack.directory, &["start", "postgres"]))?;
        let mut superuser = PgConnection::connect(&self.superuser_url).await?;
        wait_until("the log is replayed", async || {
            let query = "SELECT NOT pg_is_in_recovery()";
            let is_promoted: bool = sqlx::query_scalar(query).fetch_one(&mut superuser).await?;
            Ok(is_promoted.then_some(()))
        })
        .await
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        let mut superuser = PgConnection::connect(&self.superuser_url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await?;
        Ok(superuser.close().await?)
    }

    /// A directory beside the data.
    fn beside(&self, name: &str) -> PathBuf {
        self.data.with_file_name(name)
    }

    /// Lets the server use what this process has written. Its data is beside, in a directory of its own.
    fn give_away(&self, path: &Path) -> Result<()> {
        let owner = fs::metadata(self.data.parent().context("no directory")?)?;
        let mut paths = vec![path.to_owned()];
        while let Some(path) = paths.pop() {
            chown(&path, Some(owner.uid()), Some(owner.gid()))?;
            if path.is_dir() {
                for entry in fs::read_dir(&path)? {
                    paths.push(entry?.path());
                }
            }
        }
        Ok(())
    }
}
