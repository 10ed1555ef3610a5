//! The limit of the rate, which all instances share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use hamro_e2e::{Client, Deployment, Setup, open_loop, wait_until};

use super::{get, set_controls};

const LIMIT: u32 = 50;
const SECONDS: u32 = 10;

/// Requests this many bookings per second from each instance for about ten seconds. Returns how many were accepted per
/// second.
pub(super) async fn flood(clients: &[Client], per_second: &[u32], seat: i64) -> Result<f64> {
    let started = Instant::now();
    let accepted = Arc::<AtomicU64>::default();
    let floods = clients.iter().zip(per_second).map(async |(client, &per_second)| {
        let accepted = &accepted;
        open_loop(per_second, per_second * SECONDS, move |number, _| {
            let (client, accepted) = (client.clone(), accepted.clone());
            async move {
                let answer = client.create_booking(&format!("customer{number}"), &[seat]).await?;
                match (answer.status, answer.code()) {
                    (202, _) => _ = accepted.fetch_add(1, Ordering::Relaxed),
                    (503, "intake-limited") => {
                        let wait: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
                        assert!((1..=60).contains(&wait), "{answer:?}");
                        assert!(answer.header("location").is_none(), "{answer:?}");
                    }
                    _ => bail!("{answer:?}"),
                }
                Ok(())
            }
        })
        .await
    });
    try_join_all(floods).await?;
    // A busy machine takes longer, and may accept more meanwhile.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    Ok(accepted.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

#[tokio::test]
async fn instances_together_accept_what_the_limit_permits() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::queueing() }, async |deployment| {
        let mut clients: Vec<Client> = deployment.apis.iter().map(|api| api.client.clone()).collect();
        let seats = clients[0].seat_ids(0).await?;
        set_controls(&clients[0], false, Some(LIMIT)).await?;
        wait_until("both instances obey the limit", async || {
            Ok((get(&clients[1], "/ops/controls").await?.body["acceptPerSecond"] == LIMIT).then_some(()))
        })
        .await?;
        for (per_second, seat) in [(&[75, 25][..], seats[0]), (&[100, 0], seats[1])] {
            let asked: Vec<(Client, u32)> = clients
                .iter()
                .cloned()
                .zip(per_second.iter().copied())
                .filter(|(_, rate)| *rate > 0)
                .collect();
            let (asked, rates): (Vec<Client>, Vec<u32>) = asked.into_iter().unzip();
            let accepted = flood(&asked, &rates, seat).await?;
            assert!(
                (45.0..=53.0).contains(&accepted),
                "{accepted} of {per_second:?} per second were accepted"
            );
        }
        let number = deployment.start_api(&[]).await?;
        clients.push(deployment.apis[number].client.clone());
        let accepted = flood(&clients, &[40, 40, 40], seats[2]).await?;
        assert!(
            (45.0..=53.0).contains(&accepted),
            "{accepted} per second were accepted while a third instance joined"
        );
        // Without the limit, nothing is refused.
        set_controls(&clients[0], false, None).await?;
        for client in &clients {
            wait_until("the limit is removed", async || {
                let is_removed = get(client, "/ops/controls").await?.body["acceptPerSecond"].is_null();
                Ok(is_removed.then_some(()))
            })
            .await?;
            let requests = (0..30)
                .map(async |number| client.create_booking(&format!("late{number}"), &seats[3..4]).await);
            let answers = try_join_all(requests).await?;
            assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
        }
        Ok(())
    })
    .await
}
