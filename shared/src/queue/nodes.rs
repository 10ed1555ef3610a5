//! The nodes of the broker: the order in which a connection tries them, and which of them do not work.
//!
//! `AMQP_URL` names one node or several of a cluster. A role that connects tries them in random order, so that the roles
//! of all processes are spread over the nodes. Nodes whose last try failed come last.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::uri::{AMQPAuthority, AMQPUri};
use rand::seq::SliceRandom;
use tracing::{info, warn};

use super::BrokerUrl;
use super::connect_error::{NoNodeWorks, public_cause};
use crate::metric_labels;
use crate::telemetry::metrics::MetricsRegistry;

metric_labels! {
    struct NodeName {
        node,
    }
}

/// The nodes in the order of `AMQP_URL`. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes(Arc<[Node]>);

/// One node, and what is known about it.
#[derive(Debug)]
pub(super) struct Node {
    pub uri: AMQPUri,
    /// The host and port.
    name: &'static str,
    /// Its place in `AMQP_URL`, for those who must not see the address.
    place: String,
    is_only_one: bool,
    state: Mutex<State>,
    connections: AtomicUsize,
}

/// How the last try to connect ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Untried,
    Works,
    /// With the cause, without user names and addresses.
    Fails(String),
}

/// Until this is dropped, the process has one more connection to the node.
pub(super) struct InUse<'a>(&'a Node);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Nodes {
    pub fn new(url: &BrokerUrl) -> Self {
        let count = url.nodes().len();
        let node = |(index, uri): (usize, &AMQPUri)| Node {
            uri: uri.clone(),
            // Leaked once per address and process: the label of a metric.
            name: address(uri).leak(),
            place: format!("node {} of {count}", index + 1),
            is_only_one: count == 1,
            state: Mutex::default(),
            connections: AtomicUsize::new(0),
        };
        Self(url.nodes().iter().enumerate().map(node).collect())
    }

    pub fn is_cluster(&self) -> bool {
        self.0.len() > 1
    }

    /// All nodes in random order, those whose last try failed after the others.
    pub fn in_random_order(&self) -> Vec<&Node> {
        let mut nodes: Vec<_> = self.0.iter().collect();
        nodes.shuffle(&mut rand::rng());
        nodes.sort_by_key(|node| node.fails());
        nodes
    }

    /// The nodes to which this process has no connection.
    pub fn unused(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().filter(|node| node.connections.load(Ordering::Relaxed) == 0)
    }

    /// One text for each node of a cluster that does not work: `node 2 of 3: connection refused`.
    pub fn failures(&self) -> Vec<String> {
        let failure = |node: &Node| match &*node.state() {
            State::Fails(cause) => Some(format!("{}: {cause}", node.place)),
            State::Untried | State::Works => None,
        };
        if self.is_cluster() { self.0.iter().filter_map(failure).collect() } else { Vec::new() }
    }

    pub fn register(&self, registry: &mut MetricsRegistry) {
        let nodes = self.clone();
        registry.read_gauges(
            "broker_node_works",
            "Whether the last try to connect to a node of RabbitMQ succeeded (1) or not (0)",
            move || {
                let works = |node: &Node| match *node.state() {
                    State::Untried => None,
                    State::Works => Some((NodeName { node: node.name }, 1.0)),
                    State::Fails(_) => Some((NodeName { node: node.name }, 0.0)),
                };
                nodes.0.iter().filter_map(works).collect()
            },
        );
    }
}

/// The hosts and ports.
impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|node| node.name).collect();
        f.write_str(&names.join(", "))
    }
}

impl Node {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self) -> bool {
        matches!(*self.state(), State::Fails(_))
    }

    /// A connection to the node was opened.
    pub fn works(&self) {
        if matches!(self.change(State::Works), State::Fails(_)) && !self.is_only_one {
            info!("node {self} of RabbitMQ works again");
        }
    }

    /// A try to connect failed. Logged once for each cause: processes that use other nodes may go on for days.
    pub fn failed(&self, error: &anyhow::Error) {
        let state = State::Fails(public_cause(error));
        if self.change(state.clone()) != state && !self.is_only_one {
            warn!("node {self} of RabbitMQ cannot be used; trying the others: {error:#}");
        }
    }

    fn change(&self, state: State) -> State {
        std::mem::replace(&mut *self.state(), state)
    }

    pub fn in_use(&self) -> InUse<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        InUse(self)
    }
}

/// The host and port.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Collects the errors of the nodes that were tried.
#[derive(Default)]
pub(super) struct Tries<'a>(Vec<(&'a Node, anyhow::Error)>);

impl<'a> Tries<'a> {
    pub fn add(&mut self, node: &'a Node, error: anyhow::Error) {
        node.failed(&error);
        self.0.push((node, error));
    }

    /// The error of all tries: one for all nodes if they agree.
    pub fn into_error(self) -> anyhow::Error {
        let texts: Vec<_> = self.0.iter().map(|(_, error)| format!("{error:#}")).collect();
        if texts.windows(2).all(|pair| pair[0] == pair[1]) {
            let names: Vec<_> = self.0.iter().map(|(node, _)| node.name).collect();
            let place = format!("RabbitMQ at {}", names.join(", "));
            let first = self.0.into_iter().next();
            return first
                .map_or_else(|| anyhow::anyhow!("no node to try"), |(_, error)| error.context(place));
        }
        let mut tries: Vec<_> = self.0.iter().zip(&texts).collect();
        tries.sort_by_key(|((node, _), _)| &node.place);
        let text: Vec<_> = tries.iter().map(|((node, _), text)| format!("{node}: {text}")).collect();
        let cause: Vec<_> = tries
            .iter()
            .map(|((node, error), _)| format!("{}: {}", node.place, public_cause(error)))
            .collect();
        anyhow::Error::from(NoNodeWorks { text: text.join("; "), cause: cause.join("; ") })
    }
}

fn address(uri: &AMQPUri) -> String {
    let AMQPAuthority { host, port, .. } = &uri.authority;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Setting;

    fn nodes(hosts: &str) -> Nodes {
        Nodes::new(&BrokerUrl::parse(&format!("amqp://u:p@{hosts}/%2f")).unwrap())
    }

    fn error(text: &'static str) -> anyhow::Error {
        anyhow::anyhow!(text)
    }

    #[test]
    fn nodes_are_tried_in_random_order_and_those_that_failed_come_last() {
        let nodes = nodes("one,two,three");
        let mut firsts = [0; 3];
        for _ in 0..3_000 {
            let first = nodes.in_random_order()[0].name;
            firsts[["one:5672", "two:5672", "three:5672"].iter().position(|name| *name == first).unwrap()] +=
                1;
        }
        assert!(firsts.iter().all(|count| *count > 700), "{firsts:?}");

        nodes.0[1].failed(&error("down"));
        for _ in 0..100 {
            let order: Vec<_> = nodes.in_random_order().iter().map(|node| node.name).collect();
            assert_eq!((order.len(), order[2]), (3, "two:5672"));
        }
        nodes.0[1].works();
        assert!((0..1_000).any(|_| nodes.in_random_order()[0].name == "two:5672"));
    }

    #[test]
    fn failed_nodes_are_named_by_their_place_and_the_only_node_is_not() {
        let cluster = nodes("one,[::1]:5673,three");
        assert_eq!(cluster.to_string(), "one:5672, [::1]:5673, three:5672");
        assert_eq!(cluster.failures(), [""; 0]);
        cluster.0[1].failed(&error("down"));
        assert_eq!(cluster.failures(), ["node 2 of 3: no connection to RabbitMQ"]);
        cluster.0[1].works();
        assert_eq!(cluster.failures(), [""; 0]);

        let single = nodes("one");
        single.0[0].failed(&error("down"));
        assert_eq!(single.failures(), [""; 0]);
    }

    #[test]
    fn a_node_is_unused_while_the_process_has_no_connection_to_it() {
        let nodes = nodes("one,two");
        let in_use = [nodes.0[0].in_use(), nodes.0[0].in_use()];
        let unused = || nodes.unused().map(|node| node.name).collect::<Vec<_>>();
        let [first, second] = in_use;
        drop(first);
        assert_eq!(unused(), ["two:5672"]);
        drop(second);
        assert_eq!(unused(), ["one:5672", "two:5672"]);
    }

    #[test]
    fn the_error_of_all_tries_names_each_node_or_all_of_them_if_they_agree() {
        let nodes = nodes("one,two");
        let error_of = |texts: [&'static str; 2]| {
            let mut tries = Tries::default();
            // In another order than they are written.
            tries.add(&nodes.0[1], error(texts[1]));
            tries.add(&nodes.0[0], error(texts[0]));
            tries.into_error()
        };
        let different = error_of(["refused", "late"]);
        assert_eq!(format!("{different:#}"), "no node of RabbitMQ works: one:5672: refused; two:5672: late");
        let same = error_of(["refused", "refused"]);
        assert_eq!(format!("{same:#}"), "RabbitMQ at two:5672, one:5672: refused");
    }
}
