//! Nodes in `AMQP_URL` that do not work.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use tokio::net::TcpListener;

use super::split_url;

/// Three seconds for a silent node, and room for a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// A program, and the client of its health checks.
async fn start(deployment: &Deployment, program: &str, url: &str) -> Result<(Process, Client)> {
    let environment = deployment.environment(&[("AMQP_URL", url), ("WORKER_HTTP_PORT", "0")]);
    let mut process = Process::start(program, program, &[], &environment)?;
    let marker = if program == "hamro-api" { "listening on " } else { "serving health checks on " };
    let client = Client::new(&process.line_after(marker).await?);
    Ok((process, client))
}

#[tokio::test]
async fn nodes_that_do_not_work_keep_no_process_from_running_and_are_named() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        // Connections to it are opened by the kernel, and nothing responds.
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let silent = (silent.local_addr()?, silent);
        let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let (login, server) = split_url(deployment);
        let url = format!("{login}@{closed},{},{server}", silent.0);
        for program in ["hamro-api", "hamro-worker"] {
            let started = Instant::now();
            let (mut process, client) = start(deployment, program, &url).await?;
            let what = format!("{program} is ready and names both nodes");
            let causes = ["node 1 of 3: connection refused", "node 2 of 3: no response in time"];
            wait_until(&what, async || {
                let ready = client.get("/health/ready").await?;
                let body = ready.body.to_string();
                Ok((ready.status == 200 && causes.iter().all(|cause| body.contains(cause))).then_some(()))
            })
            .await?;
            ensure!(
                started.elapsed() < READY_WITHIN,
                "{program} was ready only after {:?}",
                started.elapsed()
            );
            let (address, _) = server.split_once('/').unwrap_or_default();
            let metrics = process.metrics().await?;
            for (node, works) in
                [(closed.to_string(), 0.0), (silent.0.to_string(), 0.0), (address.to_owned(), 1.0)]
            {
                let value = metrics.value("hamro_broker_node_works", &[("node", &node)]);
                assert_eq!(value, Some(works), "{node}");
            }
            // Once, although every connection has tried them. The log is written in the background.
            let named = |printed: &str| printed.matches("of RabbitMQ cannot be used").count();
            wait_until(
                "the log names both nodes",
                async || Ok((named(&process.printed()) > 1).then_some(())),
            )
            .await?;
            assert_eq!(named(&process.printed()), 2, "{}", process.printed());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_process_that_finds_no_node_names_the_cause_of_each() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let silent = TcpListener::bind("127.0.0.1:0").await?;
        let silent = (silent.local_addr()?, silent);
        let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let (login, _) = split_url(deployment);
        let url = format!("{login}@{closed},{}/%2f?connection_timeout=500", silent.0);
        for (program, role) in [("hamro-api", "publishing"), ("hamro-worker", "requeuing")] {
            let (mut process, client) = start(deployment, program, &url).await?;
            let cause = format!("{role}: node 1 of 2: connection refused; node 2 of 2: no response in time");
            wait_until(&format!("{program} reports {cause:?}"), async || {
                let ready = client.get("/health/ready").await?;
                Ok((ready.status == 503 && ready.body.to_string().contains(&cause)).then_some(()))
            })
            .await?;
            let line = process.line_after(&format!("connection for {role} lost; reconnecting: ")).await?;
            let expected = format!("no node of RabbitMQ works: {closed}: ");
            assert!(line.starts_with(&expected) && line.contains(&format!("; {}: ", silent.0)), "{line}");
        }
        Ok(())
    })
    .await
}
