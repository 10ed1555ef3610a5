//! The time to accept a booking, at a rate that does not depend on responses.
//!
//! Bookings and bare messages are published to the same queue at the same time. A confirm waits for the broker's disk,
//! and a shared disk may stall for a tenth of a second. If the two alternated, one of them might meet more stalls.

use anyhow::Result;
use futures_util::future::try_join;
use hamro_e2e::stats::{median, percentile, print};
use hamro_e2e::{Deployment, Setup, open_loop};

use hamro_verification::baseline::publish::publish_one;

const PER_SECOND: u32 = 1_000;
const SECONDS: u32 = 8;
const ROUNDS: usize = 3;

pub async fn run() -> Result<()> {
    let setup = Setup { workers: 0, expects_leftovers: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| compare(deployment).await).await
}

async fn compare(deployment: &Deployment) -> Result<()> {
    let client = deployment.client().clone();
    let (mut accepts, mut publishes) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let accepting = open_loop(PER_SECOND, PER_SECOND * SECONDS, |n, _| {
            let client = client.clone();
            async move {
                let taken = client.create_booking(&format!("customer{n}"), &[i64::from(n) + 1]).await?;
                anyhow::ensure!(taken.status == 202, "{taken:?}");
                Ok(())
            }
        });
        let publishing = open_loop(PER_SECOND, PER_SECOND * SECONDS, |_, _| {
            let (channel, topology) = (deployment.channel.clone(), deployment.topology.clone());
            async move { publish_one(&channel, &topology).await }
        });
        let (accept, bare) = try_join(accepting, publishing).await?;
        for (what, figures) in [("accepted", &accept), ("bare publish", &bare)] {
            print(format!(
                "latency, round {round}, {PER_SECOND}/s: {what}: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
                percentile(figures, 0.5) * 1e3,
                percentile(figures, 0.99) * 1e3,
                percentile(figures, 0.999) * 1e3,
            ));
        }
        accepts.push(percentile(&accept, 0.99));
        publishes.push(percentile(&bare, 0.99));
    }
    let (accept, bare) = (median(accepts), median(publishes));
    print(format!(
        "latency, medians of p99 at {PER_SECOND}/s: accepted {:.1} ms = {:.2} × a bare confirmed publish ({:.1} ms; target 2)",
        accept * 1e3,
        accept / bare,
        bare * 1e3
    ));
    Ok(())
}
