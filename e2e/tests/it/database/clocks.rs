//! Machines with wrong clocks. Only the database clock decides deadlines and sales windows.

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Setup, wait_until};

/// A wrong clock is logged as an error, because it needs an operator.
fn with_wrong_clocks() -> Setup {
    Setup { workers: 0, expects_errors: true, ..Setup::default() }
}

#[tokio::test]
async fn a_worker_whose_clock_is_ahead_expires_no_booking() -> Result<()> {
    Deployment::run(with_wrong_clocks(), async |deployment| {
        let worker = deployment.start_worker(&[("HAMRO_FAULTS", "clock=+11s")]).await?;
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..1]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        deployment.workers[worker].line_after("ahead of the database clock").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_api_whose_clock_is_ahead_expires_no_booking_of_another_instance() -> Result<()> {
    Deployment::run(with_wrong_clocks(), async |deployment| {
        let ahead = deployment.start_api(&[("HAMRO_FAULTS", "clock=+16m")]).await?;
        let seats = deployment.client().seat_ids(0).await?;
        let accepted = deployment.client().create_booking("alice", &seats[..1]).await?;
        let path = accepted.location()?;
        let answer = deployment.apis[ahead].client.get(path).await?;
        assert_eq!(answer.body["status"], "queued", "{answer:?}");
        deployment.start_worker(&[]).await?;
        let status = deployment.client().final_status(path).await?;
        assert_eq!(status["status"], "confirmed", "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_api_whose_clock_is_ahead_sells_nothing_before_the_sale_opens() -> Result<()> {
    Deployment::run(with_wrong_clocks(), async |deployment| {
        deployment.start_worker(&[]).await?;
        let ahead = deployment.start_api(&[("HAMRO_FAULTS", "clock=+16m")]).await?;
        sqlx::query("UPDATE concerts SET sales_open_at = now() + interval '10 minutes'")
            .execute(&deployment.pool)
            .await?;
        let client = &deployment.apis[ahead].client;
        let seats = client.seat_ids(0).await?;
        let answer = client.book_seats("alice", &seats[..1]).await?;
        assert_eq!(answer.code(), "sale-not-open", "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_ticket_issued_by_an_api_whose_clock_is_ahead_becomes_final_on_other_instances() -> Result<()> {
    Deployment::run(with_wrong_clocks(), async |deployment| {
        deployment.start_worker(&[]).await?;
        // Longer than any timeout of the tests.
        let ahead = deployment.start_api(&[("HAMRO_FAULTS", "clock=+3m")]).await?;
        // The api receives no announcements and has to query the database.
        deployment.lose_announcements().await?;
        let seats = deployment.client().seat_ids(0).await?;
        let accepted = deployment.apis[ahead].client.create_booking("alice", &seats[..1]).await?;
        let status = deployment.client().final_status(accepted.location()?).await?;
        assert_eq!(status["status"], "confirmed", "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_api_that_has_not_measured_its_clock_is_not_ready_but_accepts_bookings() -> Result<()> {
    Deployment::run(with_wrong_clocks(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let nowhere = "postgres://hamro:hamro@127.0.0.1:1/hamro";
        let api = deployment.launch_api(&[("DATABASE_URL", nowhere)]).await?;
        let client = &deployment.apis[api].client;
        wait_until("the api accepts bookings", async || {
            Ok((client.get("/queue").await?.body["accepting"] == true).then_some(()))
        })
        .await?;
        assert_eq!(client.get("/health/ready").await?.code(), "not-ready");
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        deployment.start_worker(&[]).await?;
        let status = deployment.client().final_status(accepted.location()?).await?;
        assert_eq!(status["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_jump_of_the_database_clock_does_not_affect_readiness() -> Result<()> {
    Deployment::run(with_wrong_clocks(), async |deployment| {
        // The programs call `clock_timestamp()`. The search path replaces it by a function whose time can be shifted.
        sqlx::raw_sql(
            "CREATE TABLE jump (by interval NOT NULL); INSERT INTO jump VALUES ('0 s');
         CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
         AS 'SELECT pg_catalog.clock_timestamp() + by FROM public.jump'",
        )
        .execute(&deployment.pool)
        .await?;
        let statement = format!("ALTER DATABASE {} SET search_path = public, pg_catalog", deployment.name());
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&deployment.pool).await?;
        let api = deployment.start_api(&[]).await?;
        let worker = deployment.start_worker(&[]).await?;
        sqlx::raw_sql("UPDATE jump SET by = '5 minutes'").execute(&deployment.pool).await?;
        deployment.apis[api].process.line_after("behind the database clock").await?;
        deployment.workers[worker].line_after("behind the database clock").await?;
        let client = &deployment.apis[api].client;
        assert_eq!(client.get("/health/ready").await?.status, 200);
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..1]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        let settled: bool =
            sqlx::query_scalar("SELECT settled_at > now() + interval '4 minutes' FROM bookings")
                .fetch_optional(&deployment.pool)
                .await?
                .context("nothing was settled")?;
        assert!(settled, "it was settled at the time of the system clock");
        Ok(())
    })
    .await
}
