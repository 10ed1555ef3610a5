//! Connections to the broker, and recovery when one is lost.
//!
//! A lost connection is not repaired. Everything that depended on it (channels, confirms, delivery tags) is dropped,
//! and the task that used it starts again on a new connection. A delivery tag therefore cannot be used after a
//! reconnect, and recovery is the same whether the connection, a channel, a consumed queue or a node was lost.

use std::pin::pin;
use std::time::Duration;

use lapin::{Channel, Connection};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::broker_config::BrokerConfig;
use super::confirming_channel::open_confirming_channel;
use super::connect_error::public_cause;
use super::connected_roles::ConnectedRoles;
use super::nodes::{Node, Nodes};
use super::opening::{self, Open, Opener};
use super::publish::check_may_publish;
use super::refusal::Refusal;
use super::{PublishError, RoleFailures, Topology};
use crate::backoff::Backoff;
use crate::telemetry::metrics::MetricsRegistry;

/// A connection that lasts this long counts as a success and resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// A role that has run for this long on its connection works: what RabbitMQ refuses, it refuses at once.
const WORKS_AFTER: Duration = Duration::from_secs(1);

/// The nodes of the broker, the topology, and the state of this process's connections.
#[derive(Clone)]
pub struct Broker {
    pub(super) opener: Opener,
    failures: RoleFailures,
    connected: ConnectedRoles,
}

impl Broker {
    /// `process` is the name of its connections in the management tools of RabbitMQ.
    pub fn new(config: &BrokerConfig, process: &str) -> Self {
        let nodes = Nodes::new(&config.url);
        Self {
            failures: RoleFailures::of(nodes.clone()),
            opener: Opener {
                nodes,
                tls: config.tls.clone(),
                process: process.to_owned(),
                topology: Topology::new(&config.prefix),
                declares: config.declares,
            },
            connected: ConnectedRoles::default(),
        }
    }

    pub fn topology(&self) -> &Topology {
        &self.opener.topology
    }

    /// The roles of this process, and the nodes of the broker, that do not work.
    pub fn failures(&self) -> RoleFailures {
        self.failures.clone()
    }

    /// Exports which roles of this process are connected, and which nodes work.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.connected.register(registry);
        self.opener.nodes.register(registry);
    }

    /// Opens a connection and makes sure that the topology exists. `role` distinguishes the connections of a process.
    pub async fn connect(&self, role: &str) -> anyhow::Result<Connection> {
        Ok(self.opener.open(role).await?.connection)
    }

    /// Declares the topology, whatever the settings are.
    pub async fn declare(&self) -> anyhow::Result<()> {
        let connection = Opener { declares: true, ..self.opener.clone() }.open("declaring").await?.connection;
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    /// Tries the nodes of a cluster to which this process has no connection, now and then, until `stop` is cancelled:
    /// otherwise a node that is missing would be noticed when another one fails.
    pub async fn watch_nodes(&self, stop: &CancellationToken) {
        opening::watch_nodes(&self.opener, stop).await;
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
        let mut connected_at = None;
        let Err(error) = attempt(broker, stop, task, &mut connected_at).await else {
            broker.failures.clear(T::ROLE);
            return;
        };
        broker.failures.set(T::ROLE, public_cause(&error));
        warn!("broker connection for {} lost; reconnecting: {error:#}", T::ROLE);
        if connected_at.is_some_and(|at| at.elapsed() > STABLE_AFTER) {
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

async fn open_channel<T: BrokerTask>(
    connection: &Connection,
    exchanges: &[String],
) -> anyhow::Result<Channel> {
    for exchange in exchanges {
        check_may_publish(connection, exchange).await?;
    }
    if T::CONFIRMS {
        return open_confirming_channel(connection).await;
    }
    Ok(connection.create_channel().await?)
}

async fn attempt<T: BrokerTask>(
    broker: &Broker,
    stop: &CancellationToken,
    task: &mut T,
    connected_at: &mut Option<Instant>,
) -> anyhow::Result<()> {
    let Some(opened) = stop.run_until_cancelled(Box::pin(broker.opener.open(T::ROLE))).await else {
        return Ok(());
    };
    let Open { connection, node } = opened?;
    *connected_at = Some(Instant::now());
    let explained = |error| {
        let error = Refusal::explained(error, &node.uri, &broker.opener.topology);
        error.context(format!("RabbitMQ at {node}"))
    };
    run_on(broker, connection, node, stop, task).await.map_err(explained)
}

/// Runs the task on this connection.
async fn run_on<T: BrokerTask>(
    broker: &Broker,
    connection: Connection,
    node: &Node,
    stop: &CancellationToken,
    task: &mut T,
) -> anyhow::Result<()> {
    let _in_use = node.in_use();
    let exchanges = task.publishes_to();
    let opening = opening::in_time(node.setup_limit(), open_channel::<T>(&connection, &exchanges));
    let Some(channel) = stop.run_until_cancelled(Box::pin(opening)).await else {
        return Ok(());
    };
    let channel = channel?;
    let _connected = broker.connected.connect(T::ROLE);
    info!("connected to {node} for {}", T::ROLE);
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
