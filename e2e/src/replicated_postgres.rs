//! A private Postgres with a standby, for tests that fail over. Other tests do not use these servers.

use anyhow::{Context, Result};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use crate::outage::{run, script};
use crate::private_stack::PrivateStack;
use crate::wait_until;

/// One of the two servers.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// The primary at first.
    Old,
    /// Its standby, until it is promoted.
    New,
}

impl Server {
    /// Its name in the stack.
    fn name(self) -> &'static str {
        match self {
            Self::Old => "postgres",
            Self::New => "standby",
        }
    }
}

/// Two running servers. Dropping it stops them.
pub struct ReplicatedPostgres {
    stack: PrivateStack,
    /// The URLs of the application's role.
    old: String,
    new: String,
    superuser: String,
}

impl ReplicatedPostgres {
    /// Starts both in a stack with this name. The replication is asynchronous.
    pub fn start(stack: &str) -> Result<Self> {
        let variables = ["DATABASE_URL", "HAMRO_STANDBY_URL", "HAMRO_SUPERUSER_URL"];
        let started = PrivateStack::start(stack, &["--standby", "--only", "postgres"], variables)?;
        let (stack, [old, new, superuser]) = started.context("the stack did not start")?;
        Ok(Self { stack, old, new, superuser })
    }

    /// The URL of both servers, for a [`Setup`](crate::Setup).
    pub fn url(&self) -> Result<&'static str> {
        let (before, path) = self.old.rsplit_once('/').context("no database")?;
        let (_, standby) = self.address(Server::New)?;
        let url: &'static str = format!("{before},{standby}/{path}?target_session_attrs=read-write").leak();
        Ok(url)
    }

    /// The URL of one server.
    pub fn url_of(&self, server: Server) -> &str {
        match server {
            Server::Old => &self.old,
            Server::New => &self.new,
        }
    }

    /// What precedes the address of a server in its URL, and the address.
    fn address(&self, server: Server) -> Result<(&str, &str)> {
        let (before, _) = self.url_of(server).rsplit_once('/').context("no database")?;
        before.rsplit_once('@').context("no user")
    }

    /// Makes commits wait for the standby.
    pub async fn replicate_synchronously(&self) -> Result<()> {
        self.set_synchronous_standby("standby").await?;
        wait_until("the standby is synchronous", async || {
            let query = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
            let is_synchronous: bool =
                sqlx::query_scalar(query).fetch_one(&mut self.superuser(Server::Old).await?).await?;
            Ok(is_synchronous.then_some(()))
        })
        .await
    }

    /// Makes commits on the old primary wait for no standby.
    pub async fn replicate_asynchronously(&self) -> Result<()> {
        self.set_synchronous_standby("").await
    }

    async fn set_synchronous_standby(&self, name: &str) -> Result<()> {
        let statement = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        self.execute(Server::Old, &statement).await?;
        self.execute(Server::Old, "SELECT pg_reload_conf()").await
    }

    /// Waits until the standby has applied everything.
    pub async fn is_caught_up(&self) -> Result<()> {
        let end = "SELECT pg_current_wal_lsn()::text";
        let end: String = sqlx::query_scalar(end).fetch_one(&mut self.superuser(Server::Old).await?).await?;
        wait_until("the standby is caught up", async || {
            let query = "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn";
            let mut standby = self.superuser(Server::New).await?;
            let is_caught_up: bool = sqlx::query_scalar(query).bind(&end).fetch_one(&mut standby).await?;
            Ok(is_caught_up.then_some(()))
        })
        .await
    }

    /// Promotes the standby, and waits until it accepts writes.
    pub async fn promote(&self) -> Result<()> {
        self.execute(Server::New, "SELECT pg_promote()").await
    }

    /// Terminates the sessions of the application.
    pub async fn terminate_sessions(&self, server: Server) -> Result<()> {
        let query =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'hamro-%'";
        self.execute(server, query).await
    }

    /// How many commits wait for the standby.
    pub async fn waiting_commits(&self) -> Result<i64> {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        Ok(sqlx::query_scalar(query).fetch_one(&mut self.superuser(Server::Old).await?).await?)
    }

    /// Runs a statement as the superuser.
    pub async fn execute(&self, server: Server, statement: &str) -> Result<()> {
        let mut connection = self.superuser(server).await?;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    async fn superuser(&self, server: Server) -> Result<PgConnection> {
        let application: PgConnectOptions = self.url_of(server).parse()?;
        let superuser: PgConnectOptions = self.superuser.parse()?;
        Ok(superuser.port(application.get_port()).database("postgres").connect().await?)
    }

    /// Does this to the server: see `deploy/dev/service.sh`.
    pub fn control(&self, action: &str, server: Server) -> Result<()> {
        run(script(&self.stack.directory, &[action, server.name()]))
    }
}
