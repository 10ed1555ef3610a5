//! How an instance learns what is sold, and when it no longer trusts what it knows.

use anyhow::Result;
use hamro_e2e::{Deployment, Metrics, Setup, wait_until};
use serde_json::json;

use super::{is_early, rejected_early, shown, sold};
use crate::restore::check;

#[tokio::test]
async fn an_instance_learns_a_sale_whose_announcement_is_lost() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        sold(&client, &seats[..1]).await?;
        deployment.lose_announcements().await?;
        let accepted = client.create_booking("alice", &seats[1..2]).await?;
        client.final_status(accepted.location()?).await?;
        rejected_early(&client, &seats[1..2]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_known_is_read_again_after_a_release_and_by_a_new_session() -> Result<()> {
    Deployment::run(Setup { apis: 2, expects_errors: true, ..Setup::default() }, async |deployment| {
        let [one, other] = [0, 1].map(|number| deployment.apis[number].client.clone());
        let seats = one.seat_ids(0).await?;
        let booked = one.book_seats("alice", &seats[..2]).await?;
        rejected_early(&other, &seats[..2]).await?;
        // Released on one instance, while the other one refuses the seats.
        let release = json!({"reason": "Refund 4711", "seatIds": &seats[..1]});
        let path = format!("{}/release", booked.location()?);
        let released = one.write(hyper::Method::POST, &path, &release).await?;
        assert_eq!(released.status, 200, "{released:?}");
        wait_until("the released seat is sold again", async || {
            Ok((other.book_seats("bob", &seats[..1]).await?.status == 201).then_some(()))
        })
        .await?;
        rejected_early(&other, &seats[..1]).await?;
        let ended = |cause| {
            move |metrics: &Metrics| {
                metrics.count("hamro_early_rejection_leases_ended_total", &[("cause", cause)]) >= 1.0
            }
        };
        shown(&mut deployment.apis[1], "the release has ended a lease", ended("freed")).await?;

        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name LIKE 'hamro-api%'";
        sqlx::query(terminate).execute(&deployment.pool).await?;
        wait_until("bookings are queued again", async || {
            Ok((!is_early(&other.create_booking("bob", &seats[..1]).await?)).then_some(()))
        })
        .await?;
        rejected_early(&other, &seats[..1]).await?;
        shown(&mut deployment.apis[1], "the session has ended leases", ended("session")).await
    })
    .await
}

/// The restored database has the same versions of the concerts, so only the epoch tells.
#[tokio::test]
async fn an_instance_does_not_refuse_a_seat_whose_sale_a_restore_has_lost() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        sold(&client, &seats[..1]).await?;
        let history = "ALTER TABLE seats DISABLE TRIGGER USER; ALTER TABLE bookings DISABLE TRIGGER USER;
                       UPDATE ticket_tiers tier SET available = available + 1
                       FROM seats WHERE booked_at IS NOT NULL AND ticket_tier_id = tier.id;
                       UPDATE seats SET booked_at = NULL WHERE booked_at IS NOT NULL;
                       DELETE FROM bookings; DELETE FROM sale_seats; DELETE FROM sales;
                       ALTER TABLE seats ENABLE TRIGGER USER; ALTER TABLE bookings ENABLE TRIGGER USER";
        // One transaction, which may meet a worker's locks in another order.
        wait_until("the sales are lost", async || {
            Ok(sqlx::raw_sql(history).execute(&deployment.pool).await.ok().map(drop))
        })
        .await?;
        rejected_early(&client, &seats[..1]).await?;
        let (status, printed, _) = check(deployment, &["--after-restore"]).await?;
        assert_eq!(status, Some(0), "{printed}");
        wait_until("the seat is sold again", async || {
            Ok((client.book_seats("bob", &seats[..1]).await?.status == 201).then_some(()))
        })
        .await?;
        let ended = |metrics: &Metrics| {
            metrics.count("hamro_early_rejection_leases_ended_total", &[("cause", "restored")]) >= 1.0
        };
        shown(&mut deployment.apis[0], "the restore has ended a lease", ended).await
    })
    .await
}

#[tokio::test]
async fn what_is_known_is_counted() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        sold(&client, &seats[..1]).await?;
        let known = |metrics: &Metrics| {
            metrics.value("hamro_early_rejection_concerts", &[]) == Some(1.0)
                && metrics.value("hamro_early_rejection_bytes", &[]).is_some_and(|bytes| bytes > 1_000.0)
                && metrics.count("hamro_early_rejections_total", &[("code", "seats-taken")]) > 0.0
                && metrics.count("hamro_early_rejection_comparisons_total", &[]) > 0.0
                && metrics.count("hamro_early_rejection_loads_total", &[]) > 0.0
        };
        shown(&mut deployment.apis[0], "what is known is counted", known).await
    })
    .await
}
