//! Opens connections to the broker: on the first of its nodes that works.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::{Connection, ConnectionProperties};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Topology;
use super::connect_error::NoResponse;
use super::nodes::{Node, Nodes, Tries};
use super::refusal::Refusal;
use super::tls::TlsFiles;

/// Heartbeat interval in seconds. By the protocol, a connection counts as lost after two intervals of silence: ten seconds
/// after a node has vanished. RabbitMQ's documentation warns that shorter intervals make false alarms likely.
const HEARTBEAT: u16 = 5;

/// How long a node may take for everything that a connection needs. `connection_timeout` in the URL changes it.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// How long a node may take until the login is complete, while another node is left to try: one that does not respond at
/// all must not use up the time of the others.
const LOGIN_LIMIT: Duration = Duration::from_secs(3);

/// How often the nodes to which there is no connection are tried.
const WATCH_EVERY: Duration = Duration::from_secs(30);

/// What a connection needs.
#[derive(Clone)]
pub(super) struct Opener {
    pub nodes: Nodes,
    pub tls: TlsFiles,
    /// The name of the process in the management tools of RabbitMQ.
    pub process: String,
    pub topology: Topology,
    pub declares: bool,
}

/// A new connection.
pub(super) struct Open<'a> {
    pub connection: Connection,
    pub node: &'a Node,
}

impl Opener {
    /// Opens a connection on one of the nodes and makes sure that the topology exists.
    pub async fn open(&self, role: &str) -> anyhow::Result<Open<'_>> {
        let mut tries = Tries::default();
        let nodes = self.nodes.in_random_order();
        for (number, node) in nodes.iter().enumerate() {
            let is_last = number + 1 == nodes.len();
            match self.open_on(node, role, is_last).await {
                Ok(connection) => {
                    node.works();
                    return Ok(Open { connection, node });
                }
                Err(error) => tries.add(node, Refusal::explained(error, &node.uri, &self.topology)),
            }
        }
        Err(tries.into_error())
    }

    async fn open_on(&self, node: &Node, role: &str, is_last: bool) -> anyhow::Result<Connection> {
        let limit = node.setup_limit();
        let login_limit = if is_last { limit } else { limit.min(LOGIN_LIMIT) };
        in_time(limit, async {
            let connection = in_time(login_limit, self.log_in(node, role)).await?;
            let channel = connection.create_channel().await?;
            if self.declares {
                self.topology.declare(&channel).await?;
            } else {
                self.topology.verify(&channel).await?;
            }
            channel.close(200, "done".into()).await?;
            Ok(connection)
        })
        .await
    }

    async fn log_in(&self, node: &Node, role: &str) -> anyhow::Result<Connection> {
        let mut uri = node.uri.clone();
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let properties =
            ConnectionProperties::default().with_connection_name(format!("{} {role}", self.process).into());
        // The certificate of a node must name the host of this URI.
        self.tls.connect(uri, properties).await
    }

    /// Finds out whether a node works, without using it.
    async fn try_node(&self, node: &Node) {
        match in_time(LOGIN_LIMIT, self.log_in(node, "trying")).await {
            Ok(connection) => {
                node.works();
                let _ = timeout(LOGIN_LIMIT, connection.close(200, "done".into())).await;
            }
            Err(error) => node.failed(&Refusal::explained(error, &node.uri, &self.topology)),
        }
    }
}

impl Node {
    pub fn setup_limit(&self) -> Duration {
        self.uri.query.connection_timeout.map_or(SETUP_LIMIT, Duration::from_millis)
    }
}

/// See [`Broker::watch_nodes`](super::Broker::watch_nodes).
pub(super) async fn watch_nodes(opener: &Opener, stop: &CancellationToken) {
    if !opener.nodes.is_cluster() {
        return stop.cancelled().await;
    }
    let mut ticks = interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let tries = join_all(opener.nodes.unused().map(|node| opener.try_node(node)));
        stop.run_until_cancelled(tries).await;
    }
}

/// Fails if the broker does not respond: a response that was lost would otherwise be awaited forever.
pub(super) async fn in_time<T>(
    limit: Duration,
    setup: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    timeout(limit, setup).await.map_err(|_| NoResponse)?
}
