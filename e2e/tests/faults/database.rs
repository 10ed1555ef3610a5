//! Sessions of Postgres that end at the worst moment.

use anyhow::Result;
use futures_util::future::try_join;
use hamro_e2e::journal::{Way, Wish};
use hamro_e2e::{Installation, Setup, Trial};

pub async fn end_sessions(installation: &Installation) -> Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'hamro-%'",
    )
    .execute(&installation.pool)
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_postgres_ends_are_replaced() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            for _ in 0..5 {
                end_sessions(installation).await?;
                crowd.has_pursued(20).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_holds_a_seat_costs_nobody_else_anything() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            // Whoever wants the seat must wait, and be told so; the others must not.
            let seats = crowd.first_seat();
            let holder = installation.hold_seat(seats[0]).await?;
            let (customer, key) = ("patient".to_owned(), Some("patient".to_owned()));
            let waiting = Wish { customer, key, seats, way: Way::Poll };
            let others = async {
                installation.worker_waits_for_a_lock().await?;
                crowd.has_pursued(100).await?;
                Ok(holder.rollback().await?)
            };
            try_join(crowd.pursue(&waiting), others).await?;
            Ok(())
        })
        .await
}
