//! The database, the broker connection and the environment variables of a deployment.

use anyhow::{Context, Result};
use hamro_shared::config::Env;
use hamro_shared::queue::{Broker, BrokerConfig};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};
use uuid::Uuid;

use super::intake_queue::TICKET_KEY;
use super::{Deployment, Programs, Setup};
use crate::client::ADMIN_TOKEN;

impl Setup {
    /// The URL of a server.
    fn url(&self, variable: &str) -> Result<String> {
        let other = self.variables.iter().find(|(name, _)| *name == variable);
        other.map_or_else(|| test_setting(variable), |(_, url)| Ok((*url).to_owned()))
    }
}

impl Deployment {
    /// Creates an empty database and chooses a prefix for queues, but starts no process.
    pub(super) async fn prepare(setup: &Setup) -> Result<Self> {
        let name = format!("e2e_{}", Uuid::from_u128(rand::random()).simple());
        let database_url = setup.url("DATABASE_URL")?;
        let server: PgConnectOptions = first_server(&database_url).parse()?;
        let mut connection = server.connect().await.context("connecting to DATABASE_URL")?;
        // The name was generated above and has only letters, digits and underscores.
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(server.database(&name));

        let amqp_url = setup.url("AMQP_URL")?;
        let prefix = format!("{name}.");
        let mut env = Env::of(&[("AMQP_URL", &amqp_url), ("QUEUE_PREFIX", &prefix)]);
        let config = BrokerConfig::read(&mut env);
        let broker = Broker::new(&env.finish(config)?, "hamro-e2e");
        let topology = broker.topology().clone();
        let (connection, channel) = connect(&broker).await?;

        let mut variables: Vec<(String, String)> = [
            ("DATABASE_URL", &*with_database(&database_url, &name)),
            ("AMQP_URL", &amqp_url),
            ("QUEUE_PREFIX", &prefix),
            ("TICKET_KEYS", TICKET_KEY),
            ("ADMIN_TOKEN", ADMIN_TOKEN),
            ("PORT", "0"),
            ("DRAIN_DELAY", "0s"),
            ("METRICS_ADDR", "127.0.0.1:0"),
            // Many tests write rows that no program writes, which the auditor would report.
            ("AUDIT_EVERY", "off"),
            // All clients of a test or a benchmark have one address.
            ("CLIENT_SHARE", "100"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let others = setup.variables.iter().filter(|(name, _)| !["DATABASE_URL", "AMQP_URL"].contains(name));
        variables.extend(others.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self {
            name,
            variables,
            programs: Programs::default(),
            apis: Vec::new(),
            workers: Vec::new(),
            stopped: Vec::new(),
            pool,
            topology,
            expects_errors: setup.expects_errors,
            expects_leftovers: setup.expects_leftovers,
            broker,
            connection,
            channel,
            is_finished: false,
        })
    }

    /// The name of the database, which is unique to this deployment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the test itself use its database on another server, after a failover.
    pub fn use_server(&mut self, url: &str) -> Result<()> {
        let options: PgConnectOptions = self.database_on(url).parse()?;
        self.pool = PgPoolOptions::new().max_connections(4).connect_lazy_with(options);
        Ok(())
    }

    /// The URL of this deployment's database on the server, or servers, of this URL.
    pub fn database_on(&self, url: &str) -> String {
        with_database(url, &self.name)
    }

    /// Runs a statement in the database of this deployment as a superuser. The programs and the tests log in without such
    /// rights.
    pub async fn run_as_superuser(&self, statement: impl Into<String>) -> Result<()> {
        let superuser: PgConnectOptions = test_setting("HAMRO_SUPERUSER_URL")?.parse()?;
        let mut connection = superuser.database(&self.name).connect().await?;
        sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// The environment of a process of this deployment, with these changes.
    pub fn environment(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut variables = self.variables.clone();
        variables.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        variables.extend(changes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        variables
    }

    /// The broker's URL with a heartbeat interval. A connection counts as lost after about two intervals of silence.
    pub fn broker_with_heartbeat(seconds: u16) -> Result<String> {
        Ok(format!("{}?heartbeat={seconds}", test_setting("AMQP_URL")?))
    }

    /// Reconnects to the broker after an outage.
    pub async fn reconnect(&mut self) -> Result<()> {
        (self.connection, self.channel) = connect(&self.broker).await?;
        Ok(())
    }

    pub(super) async fn drop_database(&self) -> Result<()> {
        self.pool.close().await;
        let server = (*self.pool.connect_options()).clone().database("postgres");
        let mut connection = server.connect().await?;
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}

/// The URL with only the first of its addresses.
fn first_server(url: &str) -> String {
    let Some((before, after)) = url.split_once(',') else { return url.to_owned() };
    let path = after.split_once('/').map_or("", |(_, path)| path);
    format!("{before}/{path}").replace("target_session_attrs=read-write", "")
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (before, parameters) =
        url.split_once('?').map_or((url, None), |(before, after)| (before, Some(after)));
    let server = before.rsplit_once('/').map_or(before, |(server, _)| server);
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    format!("{server}/{name}{parameters}")
}

async fn connect(broker: &Broker) -> Result<(Connection, Channel)> {
    let connection = broker.connect("testing").await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Reads a setting of the tests themselves, such as the address of a server.
pub(crate) fn test_setting(name: &str) -> Result<String> {
    optional_test_setting(name).with_context(|| format!("{name} is not set: run the tests with `make test`"))
}

#[expect(clippy::disallowed_methods, reason = "the settings of the tests come from the environment")]
pub(super) fn optional_test_setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
