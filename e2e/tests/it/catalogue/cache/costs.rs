//! What reads cost: counts of queries, not times.

use std::time::Instant;

use anyhow::Result;
use hamro_e2e::client::Client;
use hamro_e2e::metrics::Metrics;
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;

use super::documents;

/// Checks whether the catalogue has changed, and bodies that were read from the database.
async fn queries(deployment: &mut Deployment) -> Result<(f64, f64)> {
    let metrics: Metrics = deployment.apis[0].process.metrics().await?;
    let checks = metrics.count("hamro_catalogue_checks_total", &[]);
    Ok((checks, metrics.count("hamro_catalogue_builds_total", &[])))
}

/// Waits until more bodies were read, and returns how many: the metrics may be a quarter of a second old.
async fn more_builds_than(before: f64, deployment: &mut Deployment) -> Result<f64> {
    wait_until("a body is made", async || {
        let (_, builds) = queries(deployment).await?;
        Ok((builds > before).then_some(builds))
    })
    .await
}

fn setup() -> Setup {
    Setup { workers: 0, variables: vec![("METRICS_ADDR", "127.0.0.1:0")], ..Setup::default() }
}

#[tokio::test]
async fn a_thousand_reads_cost_a_few_checks_and_make_each_body_once() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        let documents = documents(&client).await?;
        let (checks, builds) = queries(deployment).await?;
        let began = Instant::now();
        let readers = (0..8).map(|reader| {
            let (client, documents) = (client.clone(), documents.clone());
            tokio::spawn(async move {
                for read in 0..125 {
                    let response = client.get(&documents[(reader + read) % documents.len()]).await?;
                    assert_eq!(response.status, 200, "{response:?}");
                }
                anyhow::Ok(())
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            reader.await??;
        }
        let quarters = began.elapsed().as_secs_f64() / 0.25;
        let (checks_after, builds_after) = queries(deployment).await?;
        let (checks, builds) = (checks_after - checks, builds_after - builds);
        assert!(checks <= quarters + 2.0, "{checks} checks in {quarters} quarters of a second");
        assert!(builds <= 8.0, "{builds} builds");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn requests_for_the_same_new_body_make_it_once_and_a_304_makes_none() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        let (_, before) = queries(deployment).await?;
        let reads = (0..40).map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("/concerts?limit=7").await })
        });
        let mut tag = String::new();
        for read in reads.collect::<Vec<_>>() {
            let response = read.await??;
            assert_eq!(response.status, 200);
            response.header("etag").unwrap_or_default().clone_into(&mut tag);
        }
        for _ in 0..20 {
            let read = client.request(Method::GET, "/concerts?limit=7").header("If-None-Match", &tag);
            assert_eq!(Client::send(read).await?.status, 304);
        }
        let after = more_builds_than(before, deployment).await?;
        assert!((after - before - 1.0).abs() < 0.1, "{before} and then {after} builds");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn in_a_new_epoch_every_body_is_made_again() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        assert_eq!(client.get("/concerts").await?.status, 200);
        let (_, before) = queries(deployment).await?;
        sqlx::query("UPDATE installation_epoch SET epoch = gen_random_uuid()")
            .execute(&deployment.pool)
            .await?;
        wait_until("the body is made again", async || {
            assert_eq!(client.get("/concerts").await?.status, 200);
            Ok((queries(deployment).await?.1 > before).then_some(()))
        })
        .await
    })
    .await
}
