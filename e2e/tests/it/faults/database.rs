//! Postgres sessions that end or block at critical moments.

use anyhow::Result;
use futures_util::future::try_join;
use hamro_e2e::simulated_clients::ClientBehaviour;
use hamro_e2e::{Deployment, FaultTest, Setup};

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
    FaultTest::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            for _ in 0..5 {
                end_sessions(deployment).await?;
                clients.wait_for_ended(20).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_locks_a_seat_delays_only_bookings_of_that_seat() -> Result<()> {
    FaultTest::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            // Only bookings of this seat wait, and their status is `queued`.
            let waiting = clients.intent_for_free_seat();
            let holder = deployment.hold_seat(waiting.seats[0].into()).await?;
            let others = async {
                deployment.worker_waits_for_a_lock().await?;
                clients.wait_for_ended(100).await?;
                Ok(holder.rollback().await?)
            };
            try_join(clients.run_intent(&waiting, ClientBehaviour::Poll), others).await?;
            Ok(())
        })
        .await
}
