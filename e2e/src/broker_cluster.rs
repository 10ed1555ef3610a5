//! A private RabbitMQ cluster of three nodes, for tests that lose nodes. Other tests do not use it.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::outage::{Outage, script, wait_for_queue_on_disk};
use crate::private_stack::PrivateStack;
use crate::{Deployment, wait_until};

/// A node, by its number from 1 to 3.
pub type Node = u8;

pub const NODES: [Node; 3] = [1, 2, 3];

/// Of `deploy/dev/with-stack.sh`.
const OPTIONS: [&str; 4] = ["--only", "rabbitmq", "--brokers", "3"];

/// A running cluster. Dropping it stops all nodes.
pub struct BrokerCluster {
    stack: PrivateStack,
    url: String,
}

impl BrokerCluster {
    /// Starts a cluster in a stack with this name.
    pub fn start(stack: &str) -> Result<Self> {
        Self::start_with(stack, &OPTIONS)?.context("the cluster was not started")
    }

    /// Starts a cluster whose nodes have networks of their own. Returns `None` if this machine does not allow them.
    pub fn with_networks(stack: &str) -> Result<Option<Self>> {
        let options = [OPTIONS.as_slice(), &["--networks"]].concat();
        let cluster = Self::start_with(stack, &options)?;
        if cluster.is_none() {
            eprintln!("SKIPPED: this machine does not allow network namespaces");
        }
        Ok(cluster)
    }

    fn start_with(stack: &str, options: &[&str]) -> Result<Option<Self>> {
        let started = PrivateStack::start(stack, options, ["AMQP_URL"])?;
        Ok(started.map(|(stack, [url])| Self { stack, url }))
    }

    /// The URL of all nodes, for a [`Setup`](crate::Setup).
    pub fn url(&self) -> &'static str {
        self.url.clone().leak()
    }

    /// The host and port of a node.
    pub fn address(&self, node: Node) -> Result<&str> {
        let (_, servers) = self.url.split_once('@').context("no user")?;
        let (addresses, _) = servers.split_once('/').context("no virtual host")?;
        addresses.split(',').nth(usize::from(node) - 1).context("no such node")
    }

    /// The node at this host and port.
    pub fn node_at(&self, address: &str) -> Result<Node> {
        let is_there = |node: &Node| self.address(*node).is_ok_and(|there| there == address);
        NODES.into_iter().find(is_there).with_context(|| format!("no node at {address}"))
    }

    /// Kills a node. The remedy starts it again.
    pub fn kill(&self, node: Node) -> Result<Outage> {
        Outage::inject(self.control("kill", node), self.control("start", node))
    }

    /// Shuts a node down in an orderly way. The remedy starts it again.
    pub fn stop(&self, node: Node) -> Result<Outage> {
        Outage::inject(self.control("stop", node), self.control("start", node))
    }

    /// Drops everything that is sent to a node or from it, and reports no error to the sender. Requires [`Self::with_networks`].
    pub fn cut_network(&self, node: Node) -> Result<Outage> {
        Outage::inject(self.control("cut", node), self.control("join", node))
    }

    /// Cuts the connections between a node and the others, and makes them refuse new ones, by another cookie. Clients can
    /// still connect to every node.
    pub fn cut_off(&self, node: Node) -> Result<Outage> {
        let others = NODES.into_iter().filter(|other| *other != node).map(|other| self.erlang_name(other));
        let others = others.collect::<Vec<_>>().join(", ");
        let for_all = |cookie: &str| {
            format!(
                "[begin erlang:set_cookie(Node, {cookie}), erlang:disconnect_node(Node) end || Node <- [{others}]]."
            )
        };
        let set = |cookie: &str| self.rabbitmqctl(node, &["eval", &for_all(cookie)]);
        Outage::inject(set("another_cookie"), set("erlang:get_cookie()"))
    }

    /// As in `deploy/dev/rabbitmq.sh`.
    fn erlang_name(&self, node: Node) -> String {
        let stack = self.stack.directory.rsplit('/').next().unwrap_or_default();
        format!("'hamro-{stack}-{node}@localhost'")
    }

    fn control(&self, action: &str, node: Node) -> Command {
        script(&self.stack.directory, &[action, &format!("rabbitmq-{node}")])
    }

    fn rabbitmqctl(&self, node: Node, arguments: &[&str]) -> Command {
        let mut command = Command::new(format!("{}/rabbitmqctl-{node}", self.stack.directory));
        command.args(arguments);
        command
    }

    /// The node that leads the intake queue of this deployment. Waits until its name is on the disk of every node: see
    /// [`Deployment::queue_is_stored`].
    pub async fn leader(&self, deployment: &Deployment) -> Result<Node> {
        for node in NODES {
            let data = format!("{}/rabbitmq-{node}/data", self.stack.directory);
            wait_for_queue_on_disk(&data, deployment).await?;
        }
        let leader = self.queue(1, deployment, "leader")?;
        let number = leader.split('@').next().and_then(|name| name.rsplit('-').next());
        number.and_then(|number| number.parse().ok()).with_context(|| format!("no node: {leader}"))
    }

    /// Waits until every node has a member of the intake queue that takes part. `by` is a running node.
    pub async fn is_complete(&self, by: Node, deployment: &Deployment) -> Result<()> {
        wait_until("all members of the queue are online", async || {
            let online = self.queue(by, deployment, "online").unwrap_or_default();
            Ok((online.matches('@').count() == NODES.len()).then_some(()))
        })
        .await
    }

    /// A property of the intake queue, as `rabbitmqctl list_queues` prints it.
    fn queue(&self, by: Node, deployment: &Deployment, property: &str) -> Result<String> {
        let arguments = ["--quiet", "list_queues", "--no-table-headers", "name", property];
        let output = self.rabbitmqctl(by, &arguments).output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let name = deployment.topology.intake_queue();
        let line = text.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix('\t'));
        Ok(line.with_context(|| format!("{name} is not listed: {text}"))?.to_owned())
    }
}
