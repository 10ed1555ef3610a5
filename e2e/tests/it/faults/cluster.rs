//! Nodes of a RabbitMQ cluster that are lost, under load. Each cluster is private to its test. The apis and the workers
//! know all nodes, and are connected to those that chance has chosen.

#![expect(clippy::print_stderr, reason = "measurements, which `--success-output final` shows")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::broker_cluster::{BrokerCluster, NODES, Node};
use hamro_e2e::process::Process;
use hamro_e2e::simulated_clients::SimulatedClients;
use hamro_e2e::{Deployment, FaultTest, Setup, wait_until};

use super::servers::apis_are_ready;

/// The longest that bookings through any instance may be refused or wait after a node was killed.
const BACK_AFTER: Duration = Duration::from_secs(10);

/// The same after a partition: each side first has to notice it. docs/RELIABILITY.md says what that takes, and what was
/// measured. On a machine that runs other clusters and their load beside it, it took 32 s once.
const BACK_AFTER_PARTITION: Duration = Duration::from_secs(90);

/// The same after the majority of the nodes was lost and one of them is started again: RabbitMQ needs most of it to start
/// and to elect a leader of the queue. Until then it refuses messages.
const BACK_AFTER_MAJORITY: Duration = Duration::from_secs(90);

async fn start(cluster: &BrokerCluster) -> Result<FaultTest> {
    FaultTest::start(setup(cluster)).await
}

fn setup(cluster: &BrokerCluster) -> Setup {
    let variables = vec![("AMQP_URL", cluster.url())];
    Setup { apis: 2, workers: 2, variables, ..Setup::default() }
}

/// Waits until bookings through every instance are settled again. Prints the time since the fault.
async fn is_back(what: &str, since: Instant, limit: Duration, clients: &SimulatedClients) -> Result<()> {
    clients.served_by_all().await?;
    let took = since.elapsed();
    eprintln!("{what}: service back after {took:.1?}");
    ensure!(took <= limit, "{what}: service was back only after {took:.1?}");
    Ok(())
}

/// Waits until all nodes take part again, and the instances are ready.
async fn is_whole(cluster: &BrokerCluster, deployment: &mut Deployment) -> Result<()> {
    cluster.is_complete(1, deployment).await?;
    apis_are_ready(deployment).await
}

/// The same after a partition. A node of RabbitMQ 3.10 that has paused sometimes never resumes, and is restarted then, as
/// docs/RUNBOOK.md says.
async fn is_whole_after_partition(
    cluster: &BrokerCluster,
    deployment: &mut Deployment,
    paused: Node,
) -> Result<()> {
    let other = NODES.into_iter().find(|node| *node != paused).context("no other node")?;
    if let Err(error) = cluster.is_complete(other, deployment).await {
        eprintln!("restarting node {paused}: {error}");
        cluster.kill(paused)?.end()?;
        cluster.is_complete(other, deployment).await?;
    }
    apis_are_ready(deployment).await
}

/// The node to which a process is connected for this role.
async fn node_of(cluster: &BrokerCluster, process: &mut Process, role: &str) -> Result<Node> {
    process.line_after(&format!(" for {role}")).await?;
    let marker = format!(" for {role}");
    let printed = process.printed();
    let line = printed.lines().rev().find(|line| line.ends_with(&marker)).context("no connection")?;
    let address = line.trim_end_matches(&marker).rsplit(' ').next().unwrap_or_default();
    cluster.node_at(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_of_the_intake_queue_loses_nothing() -> Result<()> {
    let cluster = BrokerCluster::start("killed-leader")?;
    start(&cluster)
        .await?
        .passes(async |deployment, clients| {
            let leader = cluster.leader(deployment).await?;
            let started = Instant::now();
            let outage = cluster.kill(leader)?;
            is_back("leader killed", started, BACK_AFTER, clients).await?;
            outage.end()?;
            is_whole(&cluster, deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_with_connections_of_an_api_and_a_worker_loses_nothing() -> Result<()> {
    let cluster = BrokerCluster::start("killed-node")?;
    start(&cluster)
        .await?
        .passes(async |deployment, clients| {
            cluster.leader(deployment).await?;
            let node = node_of(&cluster, &mut deployment.apis[0].process, "publishing").await?;
            // Chance decides to which node a worker connects.
            for number in 0.. {
                ensure!(number < 20, "no worker connects to node {node}");
                if number == deployment.workers.len() {
                    deployment.start_worker(&[]).await?;
                }
                if node_of(&cluster, &mut deployment.workers[number], "consuming").await? == node {
                    break;
                }
            }
            let started = Instant::now();
            let outage = cluster.kill(node)?;
            is_back("connected node killed", started, BACK_AFTER, clients).await?;
            let lost = format!("lost; reconnecting: RabbitMQ at {}", cluster.address(node)?);
            deployment.apis[0].process.line_after(&lost).await?;
            // The instances say which node is missing, and are ready.
            wait_until("the node is reported", async || {
                let ready = deployment.apis[0].client.get("/health/ready").await?;
                let expected = format!("node {node} of 3: connection refused");
                Ok((ready.status == 200 && ready.body.to_string().contains(&expected)).then_some(()))
            })
            .await?;
            outage.end()?;
            is_whole(&cluster, deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_from_the_other_nodes_loses_nothing() -> Result<()> {
    let cluster = BrokerCluster::start("cut-off")?;
    FaultTest::start_with_retry_timeout(setup(&cluster), BACK_AFTER_PARTITION)
        .await?
        .passes(async |deployment, clients| {
            let leader = cluster.leader(deployment).await?;
            let started = Instant::now();
            let outage = cluster.cut_off(leader)?;
            is_back("leader cut off", started, BACK_AFTER_PARTITION, clients).await?;
            outage.end()?;
            is_whole_after_partition(&cluster, deployment, leader).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_network_is_cut_loses_nothing() -> Result<()> {
    let Some(cluster) = BrokerCluster::with_networks("cut-network")? else { return Ok(()) };
    FaultTest::start_with_retry_timeout(setup(&cluster), BACK_AFTER_PARTITION)
        .await?
        .passes(async |deployment, clients| {
            let leader = cluster.leader(deployment).await?;
            let started = Instant::now();
            let outage = cluster.cut_network(leader)?;
            is_back("network cut", started, BACK_AFTER_PARTITION, clients).await?;
            outage.end()?;
            is_whole_after_partition(&cluster, deployment, leader).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_the_nodes_one_after_another_loses_nothing() -> Result<()> {
    let cluster = BrokerCluster::start("rolling")?;
    start(&cluster)
        .await?
        .passes(async |deployment, clients| {
            cluster.leader(deployment).await?;
            for node in NODES {
                let started = Instant::now();
                let outage = cluster.stop(node)?;
                is_back(&format!("node {node} shut down"), started, BACK_AFTER, clients).await?;
                outage.end()?;
                cluster.is_complete(node, deployment).await?;
            }
            is_whole(&cluster, deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_nodes_that_are_lost_stop_the_intake_until_one_returns() -> Result<()> {
    let cluster = BrokerCluster::start("minority")?;
    FaultTest::start_with_retry_timeout(setup(&cluster), BACK_AFTER_MAJORITY)
        .await?
        .passes(async |deployment, clients| {
            let leader = cluster.leader(deployment).await?;
            let remaining = NODES.into_iter().find(|node| *node != leader).context("no node")?;
            let [one, other] = [leader, 6 - leader - remaining].map(|node| cluster.kill(node));
            let (one, other) = (one?, other?);
            clients.wait_for_refused(50).await?;
            for api in &deployment.apis {
                wait_until("the instance says why it is not ready", async || {
                    let ready = api.client.get("/health/ready").await?;
                    let names_all = NODES
                        .iter()
                        .all(|node| ready.body.to_string().contains(&format!("node {node} of 3")));
                    let is_refused_by_all = ready.body.to_string().contains("publishing: connection refused");
                    Ok((ready.status == 503 && (names_all || is_refused_by_all)).then_some(()))
                })
                .await?;
            }
            let started = Instant::now();
            one.end()?;
            apis_are_ready(deployment).await?;
            is_back("one node of two started", started, BACK_AFTER_MAJORITY, clients).await?;
            other.end()?;
            is_whole(&cluster, deployment).await
        })
        .await
}
