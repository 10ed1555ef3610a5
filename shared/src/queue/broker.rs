//! Connections to the broker, and what to do when one is lost.
//!
//! A lost connection is not patched up: everything that hung on it (channels, confirms, delivery tags) is dropped,
//! and a session starts anew on a fresh one. So a tag from before a reconnect cannot be used, and there is one way
//! to recover, whatever was lost: the connection, a channel, a queue under its consumer.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{PublishError, Topology};
use crate::backoff::Backoff;
use crate::config::Env;

/// Seconds without a sign of the broker after which a connection counts as lost (twice this, by the protocol).
const HEARTBEAT: u16 = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that lasted this long was a good one: the next try need not wait as if it had failed.
const STABLE_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct BrokerConfig {
    uri: AMQPUri,
    prefix: String,
}

impl BrokerConfig {
    /// `AMQP_URL`, and `QUEUE_PREFIX` for installations that share a virtual host.
    pub fn read(env: &mut Env) -> Option<Self> {
        let uri = env.required("AMQP_URL", "amqp://user:password@host:5672/%2f", str::parse::<AMQPUri>);
        let prefix = env.or("QUEUE_PREFIX", String::new(), "a prefix for the names of queues and exchanges");
        Some(Self { uri: uri?, prefix: prefix? })
    }
}

/// The broker, as one process sees it.
#[derive(Clone)]
pub struct Broker {
    uri: AMQPUri,
    process: String,
    topology: Topology,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broker({}:{})", self.uri.authority.host, self.uri.authority.port)
    }
}

impl Broker {
    /// `process` is the name that its connections show in the broker's own tools.
    pub fn new(config: &BrokerConfig, process: &str) -> Self {
        let mut uri = config.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Self { uri, process: process.to_owned(), topology: Topology::new(&config.prefix) }
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A fresh connection, on which the topology stands. `role` tells a process's connections apart.
    pub async fn connect(&self, role: &str) -> anyhow::Result<Connection> {
        let properties =
            ConnectionProperties::default().with_connection_name(format!("{} {role}", self.process).into());
        let connecting = async {
            let runtime = lapin::runtime::default_runtime()?;
            let tls = OwnedTLSConfig::default();
            let connection =
                Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime).await?;
            let channel = connection.create_channel().await?;
            self.topology.declare(&channel).await?;
            channel.close(200, "done".into()).await?;
            anyhow::Ok(connection)
        };
        timeout(CONNECT_TIMEOUT, connecting).await.context("the broker does not answer")?
    }
}

/// Something that is done on a connection for as long as it lasts, and done anew on the next.
pub trait Session: Send {
    /// What the connection is for, as its name says in the broker's own tools.
    const ROLE: &'static str;

    /// Has the connection and one channel of it to itself. Ends well when there is nothing left to do or `stop` asks for
    /// it, and with an error as soon as it finds them, or what it had on them, unusable.
    fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Somebody has deleted a queue.
#[derive(Debug, thiserror::Error)]
#[error("the queue {0} has gone")]
pub struct QueueDeleted(pub String);

/// How long RabbitMQ may take to delete a queue. Who declares it again meanwhile may get a wreck, on which everything ends
/// with `INTERNAL_ERROR` (seen with 3.10).
const QUEUE_DELETION_DELAY: Duration = Duration::from_secs(1);

/// Runs the session on one fresh connection after the other, until it ends well or `stop` is cancelled between two.
pub async fn supervise<S: Session>(broker: &Broker, stop: &CancellationToken, session: &mut S) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    while !stop.is_cancelled() {
        let started = Instant::now();
        let Err(error) = attempt(broker, stop, session).await else { return };
        warn!("the connection for {} is lost: {error:#}", S::ROLE);
        if started.elapsed() > STABLE_AFTER {
            backoff.reset();
        }
        if is_queue_missing(&error) {
            // Elapses unless we are to stop.
            let _ = timeout(QUEUE_DELETION_DELAY, stop.cancelled()).await;
        }
        stop.run_until_cancelled(backoff.pause()).await;
    }
}

fn is_queue_missing(error: &anyhow::Error) -> bool {
    error.is::<QueueDeleted>() || matches!(error.downcast_ref(), Some(PublishError::NoQueue))
}

async fn attempt<S: Session>(
    broker: &Broker,
    stop: &CancellationToken,
    session: &mut S,
) -> anyhow::Result<()> {
    let Some(connection) = stop.run_until_cancelled(broker.connect(S::ROLE)).await else {
        return Ok(());
    };
    let connection = connection?;
    info!("connected to {broker:?} for {}", S::ROLE);
    let channel = connection.create_channel().await?;
    session.run(&connection, &channel, stop).await?;
    // Best effort: the session is over, and the broker notices a closed socket as well. Not the channel first: a consumer
    // that was dropped a moment ago cancels itself on it, and on a channel that is closed that is an error.
    let _ = timeout(Duration::from_secs(1), connection.close(200, "done".into())).await;
    Ok(())
}
