//! The latency from the moment a booking is due in the queue until it is settled, at a fixed rate that does not depend
//! on responses. For comparison, at the same time and rate: a confirmed publish followed by the commit of one row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::future::try_join;
use hamro_e2e::deployment::envelope;
use hamro_e2e::stats::{median, percentile, print};
use hamro_e2e::{Deployment, Setup, open_loop};
use hamro_shared::domain::TicketId;
use hamro_shared::queue::{Parcel, RawSettledEvent};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use tokio::time::Instant;

use crate::kind::Kind;

const PER_SECOND: u32 = 300;
const SECONDS: u32 = 20;
const ROUNDS: usize = 3;

pub async fn run() -> Result<()> {
    Deployment::run(Setup { workers: 1, ..Setup::default() }, async |deployment| {
        deployment.stop_apis().await?;
        // Separate queues without consumers.
        let setup = Setup { expects_leftovers: true, ..Setup::without_processes() };
        Box::pin(Deployment::run(setup, async |aside| compare(deployment, aside).await)).await
    })
    .await
}

async fn compare(deployment: &Deployment, aside: &Deployment) -> Result<()> {
    sqlx::raw_sql("CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)")
        .execute(&deployment.pool)
        .await?;
    let (mut settles, mut bares) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (settled, bare) = try_join(settle(deployment), bare(deployment, aside)).await?;
        for (what, figures) in [("settled", &settled), ("bare publish and commit", &bare)] {
            print(format!(
                "latency, round {round}, {PER_SECOND}/s: {what}: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
                percentile(figures, 0.5) * 1e3,
                percentile(figures, 0.99) * 1e3,
                percentile(figures, 0.999) * 1e3,
            ));
        }
        settles.push(percentile(&settled, 0.99));
        bares.push(percentile(&bare, 0.99));
    }
    let (settled, bare) = (median(settles), median(bares));
    print(format!(
        "latency, medians of p99 at {PER_SECOND}/s: from enqueued to settled {:.1} ms = {:.2} × a bare confirmed publish \
         and a bare commit ({:.1} ms; target 2)",
        settled * 1e3,
        settled / bare,
        bare * 1e3
    ));
    Ok(())
}

/// Returns the sorted latencies in seconds.
async fn settle(deployment: &Deployment) -> Result<Vec<f64>> {
    let count = PER_SECOND * SECONDS;
    let bookings = Kind::DistinctSeats.bookings(&deployment.pool, count as usize).await?;
    let queue = deployment.topology.subscribe_to_settled(&deployment.channel).await?;
    let (options, arguments) =
        (BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() }, FieldTable::default());
    let mut announcements =
        deployment.channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
    let due = Arc::<Mutex<HashMap<TicketId, Instant>>>::default();

    let publisher = deployment.publisher();
    let publishing = open_loop(PER_SECOND, count, |n, began| {
        let (publisher, due, seats) = (publisher.clone(), due.clone(), bookings[n as usize].clone());
        async move {
            let envelope = envelope(&format!("customer{n}"), &seats)?;
            due.lock().ok().context("poisoned")?.insert(envelope.ticket.id, began);
            let mut parcel = Parcel::default();
            parcel.push(&envelope.encode());
            publisher.publish(&parcel.encode()).await
        }
    });
    let receiving = async {
        let mut latencies = Vec::new();
        while latencies.len() < count as usize {
            let delivery = announcements.next().await.context("the announcement queue was deleted")??;
            let received = Instant::now();
            for ticket in RawSettledEvent::decode(&delivery.data)?.tickets {
                let began = due.lock().ok().context("poisoned")?.remove(&ticket.ticket_id);
                latencies.push((received - began.context("an unknown ticket was announced")?).as_secs_f64());
            }
        }
        Ok(latencies)
    };
    let (_, mut latencies) = try_join(publishing, receiving).await?;
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

async fn bare(deployment: &Deployment, aside: &Deployment) -> Result<Vec<f64>> {
    let mut parcel = Parcel::default();
    parcel.push(&envelope("customer1", &[1])?.encode());
    let body = Arc::new(parcel.encode());
    let (pool, aside) = (deployment.pool.clone(), aside.publisher());
    open_loop(PER_SECOND, PER_SECOND * SECONDS, |_, _| {
        let (pool, aside, body) = (pool.clone(), aside.clone(), body.clone());
        async move {
            aside.publish(&body).await?;
            sqlx::query("INSERT INTO bare (text) VALUES ('Customer 1')").execute(&pool).await?;
            Ok(())
        }
    })
    .await
}
