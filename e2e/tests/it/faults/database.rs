//! Postgres sessions that end or block at critical moments.

use anyhow::Result;
use futures_util::future::try_join;
use hamro_e2e::journal::{Way, Wish};
use hamro_e2e::{Deployment, Setup, Trial};

pub async fn end_sessions(deployment: &Deployment) -> Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'hamro-%'",
    )
    .execute(&deployment.pool)
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_terminated_by_postgres_are_replaced() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            for _ in 0..5 {
                end_sessions(deployment).await?;
                crowd.has_pursued(20).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_locks_a_seat_delays_only_bookings_of_that_seat() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            // Only bookings of this seat wait, and their status is `queued`.
            let seats = crowd.first_seat();
            let holder = deployment.hold_seat(seats[0]).await?;
            let (customer, key) = ("waiting".to_owned(), Some("waiting".to_owned()));
            let waiting = Wish { customer, key, seats, way: Way::Poll };
            let others = async {
                deployment.worker_waits_for_a_lock().await?;
                crowd.has_pursued(100).await?;
                Ok(holder.rollback().await?)
            };
            try_join(crowd.pursue(&waiting), others).await?;
            Ok(())
        })
        .await
}
