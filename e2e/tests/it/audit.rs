//! The auditor of the workers, and what all workers export about its findings and their own work.

use anyhow::Result;
use hamro_e2e::{Deployment, Metrics, Setup, wait_until};
use nix::sys::signal::Signal;

/// Waits until the worker exports metrics that satisfy the condition.
async fn worker_metrics(
    deployment: &mut Deployment,
    worker: usize,
    condition: impl Fn(&Metrics) -> bool,
) -> Result<Metrics> {
    let worker = &mut deployment.workers[worker];
    wait_until("the worker exports what it should", async || {
        let metrics = worker.metrics().await?;
        Ok(condition(&metrics).then_some(metrics))
    })
    .await
}

async fn execute(deployment: &Deployment, statements: &'static str) -> Result<()> {
    sqlx::raw_sql(statements).execute(&deployment.pool).await?;
    Ok(())
}

fn double_sold(metrics: &Metrics) -> Option<f64> {
    metrics.value("hamro_audit_double_sold_seats", &[])
}

#[tokio::test]
async fn every_worker_exports_what_one_of_them_audits_also_after_that_one_was_killed() -> Result<()> {
    let setup = Setup {
        workers: 0,
        variables: vec![("AUDIT_EVERY", "100ms")],
        expects_errors: true,
        ..Setup::default()
    };
    Deployment::run(setup, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let auditing = deployment.start_worker(&[]).await?;
        deployment.workers[auditing].line_after("auditing seats and sales").await?;
        let other = deployment.start_worker(&[]).await?;
        let accepted = deployment.client().create_booking("alice", &seats[..1]).await?;
        assert_eq!(deployment.client().final_status(accepted.location()?).await?["status"], "confirmed");
        let is_complete = |metrics: &Metrics| {
            double_sold(metrics) == Some(0.0)
                && metrics.value("hamro_audit_last_completed_timestamp_seconds", &[]).is_some()
        };
        for worker in [auditing, other] {
            let metrics = worker_metrics(deployment, worker, is_complete).await?;
            assert_eq!(metrics.value("hamro_audit_mismatches", &[]), Some(0.0));
            assert_eq!(metrics.value("hamro_dead_letters", &[]), Some(0.0));
        }
        assert!(!deployment.workers[other].printed().contains("auditing seats and sales"));

        // The unique index excludes it, so it has to go first.
        execute(
            deployment,
            "DROP INDEX sale_seats_live;
             WITH sold AS (
                 INSERT INTO sales (ticket_id, user_name, user_email, created_at)
                 VALUES (gen_random_uuid(), 'bob', 'bob@example.com', now()) RETURNING *
             ), booked AS (
                 INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
                 SELECT ticket_id, 'confirmed', now(), '', id FROM sold
             )
             INSERT INTO sale_seats (sale_id, position, seat_id, price)
             SELECT sold.id, 0, seat_id, price FROM sold, sale_seats;",
        )
        .await?;
        for worker in [auditing, other] {
            worker_metrics(deployment, worker, |metrics| double_sold(metrics) == Some(1.0)).await?;
        }
        let line = format!("audit: seats are in more than one live sale: {}", seats[0]);
        deployment.workers[auditing].line_after(&line).await?;

        let mut killed = deployment.workers.remove(auditing);
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        let other = 0;
        assert_eq!(double_sold(&deployment.workers[other].metrics().await?), Some(1.0));
        deployment.workers[other].line_after("auditing seats and sales").await?;
        execute(
            deployment,
            "DELETE FROM bookings WHERE sale_id = (SELECT id FROM sales WHERE user_name = 'bob');
             DELETE FROM sale_seats WHERE sale_id = (SELECT id FROM sales WHERE user_name = 'bob');
             DELETE FROM sales WHERE user_name = 'bob';
             CREATE UNIQUE INDEX sale_seats_live ON sale_seats (seat_id) WHERE released_at IS NULL;",
        )
        .await?;
        worker_metrics(deployment, other, |metrics| double_sold(metrics) == Some(0.0)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_exports_what_it_settles() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        for _ in 0..2 {
            let accepted = deployment.client().create_booking("alice", &seats[..1]).await?;
            deployment.client().final_status(accepted.location()?).await?;
        }
        let metrics = deployment.workers[0].metrics().await?;
        for (outcome, count) in [("confirmed", Some(1.0)), ("seats-taken", Some(1.0)), ("failed", None)] {
            let labels = [("outcome", outcome)];
            assert_eq!(metrics.value("hamro_bookings_settled_total", &labels), count, "{outcome}");
        }
        for name in [
            "hamro_booking_settle_duration_seconds_count",
            "hamro_batch_duration_seconds_count",
            "hamro_batch_lock_wait_seconds_count",
            "hamro_batch_bookings_sum",
        ] {
            assert_eq!(metrics.value(name, &[]), Some(2.0), "{name}");
        }
        for check in ["broker", "consumer", "poison-isolator", "seats", "settlement"] {
            assert_eq!(metrics.value("hamro_worker_ready", &[("check", check)]), Some(1.0), "{check}");
        }
        worker_metrics(deployment, 0, |metrics| {
            metrics.value("hamro_worker_held_bookings", &[]) == Some(0.0)
        })
        .await?;
        Ok(())
    })
    .await
}
