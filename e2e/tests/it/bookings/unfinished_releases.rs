//! The two transactions of a release: what is true between them, and what if the second does not follow.

use std::os::unix::process::ExitStatusExt;

use anyhow::Result;
use hamro_e2e::{Deployment, Setup, wait_until};
use nix::sys::signal::Signal;

use super::releases::{book_once_free, release};

#[tokio::test]
async fn a_release_whose_instance_ends_between_its_transactions_is_finished_by_another() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..2]).await?;
        let ticket = booked.location()?;
        let doomed = deployment.start_api(&[("HAMRO_FAULTS", "api.after-release=kill@1")]).await?;
        let mut doomed = deployment.apis.remove(doomed);
        let response = release(&doomed.client, ticket, Some(&seats[..1])).await;
        assert!(response.is_err(), "{response:?}");
        assert_eq!(doomed.process.ended().await?.signal(), Some(Signal::SIGABRT as i32));

        deployment.apis[0].process.line_after("made 1 released seats free").await?;
        book_once_free(&client, "bob", &seats[..1]).await?;
        // The release is committed, and repeating it changes nothing.
        let again = release(&client, ticket, Some(&seats[..1])).await?;
        assert_eq!(again.body["releasedSeatIds"], serde_json::json!(&seats[..1]), "{again:?}");
        let recorded = "SELECT is_finished AND release.free_from = seat.free_from
                        FROM releases release JOIN seats seat ON seat.id = ANY(release.seat_ids)";
        let recorded: Vec<bool> = sqlx::query_scalar(recorded).fetch_all(&deployment.pool).await?;
        assert_eq!(recorded, [true]);
        Ok(())
    })
    .await
}

/// The first commit waits, as it does for a synchronous standby.
#[tokio::test]
async fn a_released_seat_becomes_free_three_seconds_after_the_commit() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..1]).await?;
        let ticket = booked.location()?.to_owned();
        sqlx::raw_sql(
            "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON releases DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION wait_at_commit();",
        )
        .execute(&deployment.pool)
        .await?;
        let mut commit = deployment.pool.begin().await?;
        sqlx::raw_sql("SELECT pg_advisory_xact_lock(7)").execute(&mut *commit).await?;
        let releasing = tokio::spawn(async move { release(&client, &ticket, None).await });
        wait_until("the release waits at its commit for a second", async || {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_stat_activity
                                WHERE datname = current_database() AND wait_event = 'advisory'
                                  AND state_change < clock_timestamp() - interval '1 second')",
            )
            .fetch_one(&deployment.pool)
            .await?;
            Ok(waits.then_some(()))
        })
        .await?;
        let committed_after: f64 = sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::float8")
            .fetch_one(&deployment.pool)
            .await?;
        commit.rollback().await?;
        assert_eq!(releasing.await??.status, 200);
        let free_from: f64 =
            sqlx::query_scalar("SELECT extract(epoch FROM free_from)::float8 FROM seats WHERE id = $1")
                .bind(i32::try_from(seats[0])?)
                .fetch_one(&deployment.pool)
                .await?;
        let waits = free_from - committed_after;
        assert!((3.0..60.0).contains(&waits), "free {waits} s after the commit");
        Ok(())
    })
    .await
}
