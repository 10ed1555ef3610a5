//! Connections to the broker, and recovery when one is lost.
//!
//! A lost connection is not repaired. Everything that depended on it (channels, confirms, delivery tags) is dropped,
//! and the task that used it starts again on a new connection. A delivery tag therefore cannot be used after a
//! reconnect, and recovery is the same whether the connection, a channel or a consumed queue was lost.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connected_roles::ConnectedRoles;
use super::publish::check_may_publish;
use super::refusal::{Refusal, broker_text};
use super::{PublishError, RoleFailures, Topology};
use crate::backoff::Backoff;
use crate::config::Env;
use crate::telemetry::metrics::MetricsRegistry;

/// Heartbeat interval in seconds. By the protocol, a connection counts as lost after two intervals of silence.
const HEARTBEAT: u16 = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that lasts this long counts as a success and resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A role that has run for this long on its connection works: what RabbitMQ refuses, it refuses at once.
const WORKS_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct BrokerConfig {
    uri: AMQPUri,
    prefix: String,
    declares: bool,
}

impl BrokerConfig {
    /// `AMQP_URL`, and `QUEUE_PREFIX` for installations that share a virtual host.
    pub fn read(env: &mut Env) -> Option<Self> {
        let uri = env
            .variable(
                "AMQP_URL",
                "Address and credentials of RabbitMQ. With amqps:// the connection is encrypted.",
                "amqp://user:password@host:5672/%2f",
            )
            .secret()
            .required();
        let prefix = env
            .variable(
                "QUEUE_PREFIX",
                "Start of the names of all queues and exchanges, for installations that share a virtual host.",
                "a text such as staging-",
            )
            .optional();
        let declares = env
            .variable(
                "DECLARE_TOPOLOGY",
                "Whether to declare the exchanges and queues, which needs the configure right. Without it they must exist.",
                "true or false",
            )
            .or_default("true");
        Some(Self { uri: uri?, prefix: prefix?.unwrap_or_default(), declares: declares? })
    }
}

/// The address of the broker, the topology, and the name under which this process connects.
#[derive(Clone)]
pub struct Broker {
    uri: AMQPUri,
    process: String,
    topology: Topology,
    declares: bool,
    failures: RoleFailures,
    connected: ConnectedRoles,
}

/// The host and port.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPAuthority { host, port, .. } = &self.uri.authority;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Broker {
    /// `process` is the name of its connections in the management tools of RabbitMQ.
    pub fn new(config: &BrokerConfig, process: &str) -> Self {
        let mut uri = config.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Self {
            uri,
            process: process.to_owned(),
            topology: Topology::new(&config.prefix),
            declares: config.declares,
            failures: RoleFailures::default(),
            connected: ConnectedRoles::default(),
        }
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The roles of this process that do not work.
    pub fn failures(&self) -> RoleFailures {
        self.failures.clone()
    }

    /// Exports which roles of this process are connected.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.connected.register(registry);
    }

    /// Opens a connection and makes sure that the topology exists. `role` distinguishes the connections of a process.
    pub async fn connect(&self, role: &str) -> anyhow::Result<Connection> {
        let connection = self.open(role, self.declares).await.map_err(|error| self.explained(error));
        connection.with_context(|| format!("RabbitMQ at {self}"))
    }

    /// Declares the topology, whatever the settings are.
    pub async fn declare(&self) -> anyhow::Result<()> {
        let connection = self.open("declaring", true).await.map_err(|error| self.explained(error));
        let connection = connection.with_context(|| format!("RabbitMQ at {self}"))?;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    async fn open(&self, role: &str, declares: bool) -> anyhow::Result<Connection> {
        let properties =
            ConnectionProperties::default().with_connection_name(format!("{} {role}", self.process).into());
        let connecting = async {
            let runtime = lapin::runtime::default_runtime()?;
            let tls = OwnedTLSConfig::default();
            let connection =
                Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime).await?;
            let channel = connection.create_channel().await?;
            if declares {
                self.topology.declare(&channel).await?;
            } else {
                self.topology.verify(&channel).await?;
            }
            channel.close(200, "done".into()).await?;
            anyhow::Ok(connection)
        };
        self.in_time(connecting).await
    }

    /// Fails if the broker does not respond: a response that was lost would otherwise be awaited forever.
    async fn in_time<T>(&self, setup: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let limit = self.uri.query.connection_timeout.map_or(CONNECT_TIMEOUT, Duration::from_millis);
        timeout(limit, setup).await.context("the broker did not respond in time")?
    }

    /// Replaces an error by what an administrator has to know, if RabbitMQ refuses something.
    fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        Refusal::of(&error, &self.uri, &self.topology).map_or(error, anyhow::Error::from)
    }
}

/// Work that runs on a connection for as long as it lasts, and restarts on the next one.
pub trait BrokerTask: Send {
    /// What the connection is for. Part of the connection's name in the management tools of RabbitMQ.
    const ROLE: &'static str;

    /// Whether the broker confirms what is published on the channel.
    const CONFIRMS: bool = false;

    /// The exchanges that the task publishes to. Its right to do so is checked before it runs, and not only when there is
    /// a message, which may be rare.
    fn publishes_to(&self) -> Vec<String> {
        Vec::new()
    }

    /// Has exclusive use of the connection and of one channel. Returns `Ok` when there is nothing left to do or `stop`
    /// is cancelled, and an error as soon as the connection, the channel or anything opened on them is unusable.
    fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A consumed queue was deleted.
#[derive(Debug, thiserror::Error)]
#[error("queue {0} was deleted")]
pub struct QueueDeleted(pub String);

/// How long RabbitMQ may take to delete a queue. A queue that is declared again before that may be broken: every
/// operation on it then fails with `INTERNAL_ERROR` (observed with 3.10).
const QUEUE_DELETION_DELAY: Duration = Duration::from_secs(1);

/// Runs the task, on a new connection after each error, until it returns `Ok` or `stop` is cancelled between two
/// connections.
pub async fn supervise<T: BrokerTask>(broker: &Broker, stop: &CancellationToken, task: &mut T) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    broker.connected.start(T::ROLE);
    while !stop.is_cancelled() {
        let started = Instant::now();
        let Err(error) = attempt(broker, stop, task).await else {
            broker.failures.clear(T::ROLE);
            return;
        };
        let error = broker.explained(error);
        broker.failures.set(T::ROLE, cause(&error));
        warn!("broker connection for {} lost; reconnecting: RabbitMQ at {broker}: {error:#}", T::ROLE);
        if started.elapsed() > STABLE_AFTER {
            backoff.reset();
        }
        if is_queue_missing(&error) {
            // The timeout elapses unless `stop` is cancelled.
            let _ = timeout(QUEUE_DELETION_DELAY, stop.cancelled()).await;
        }
        stop.run_until_cancelled(backoff.pause()).await;
    }
}

fn is_queue_missing(error: &anyhow::Error) -> bool {
    error.is::<QueueDeleted>() || matches!(error.downcast_ref(), Some(PublishError::NoQueue))
}

/// Why a role does not work, without user names and addresses.
fn cause(error: &anyhow::Error) -> String {
    let refusal = error.downcast_ref::<Refusal>().map(|refusal| refusal.cause.clone());
    refusal.or_else(|| broker_text(error)).unwrap_or_else(|| "no connection to RabbitMQ".to_owned())
}

async fn open_channel<T: BrokerTask>(
    connection: &Connection,
    exchanges: &[String],
) -> anyhow::Result<Channel> {
    for exchange in exchanges {
        check_may_publish(connection, exchange).await?;
    }
    let channel = connection.create_channel().await?;
    if T::CONFIRMS {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
    }
    Ok(channel)
}

async fn attempt<T: BrokerTask>(
    broker: &Broker,
    stop: &CancellationToken,
    task: &mut T,
) -> anyhow::Result<()> {
    let exchanges = task.publishes_to();
    let connecting = async {
        let connection = broker.open(T::ROLE, broker.declares).await?;
        let channel = broker.in_time(open_channel::<T>(&connection, &exchanges)).await?;
        anyhow::Ok((connection, channel))
    };
    let Some(connected) = stop.run_until_cancelled(Box::pin(connecting)).await else {
        return Ok(());
    };
    let (connection, channel) = connected?;
    let _connected = broker.connected.connect(T::ROLE);
    info!("connected to {broker} for {}", T::ROLE);
    let mut running = pin!(task.run(&connection, &channel, stop));
    match timeout(WORKS_AFTER, &mut running).await {
        Ok(ended) => ended?,
        Err(_) => {
            broker.failures.clear(T::ROLE);
            running.await?;
        }
    }
    // Best effort: the broker also detects a closed socket. The channel is not closed first, because a consumer that
    // was just dropped still cancels itself on it, which would be an error on a closed channel.
    let _ = timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
    Ok(())
}
