//! Machines with wrong clocks. Only the database clock decides deadlines and sales windows.

use anyhow::{Context, Result};
use hamro_e2e::{Installation, Setup, wait_until};

async fn start() -> Result<Installation> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    // A wrong clock is logged as an error, because it needs an operator.
    installation.expects_errors = true;
    Ok(installation)
}

#[tokio::test]
async fn a_worker_whose_clock_is_ahead_expires_no_booking() -> Result<()> {
    let mut installation = start().await?;
    let worker = installation.start_worker(&[("HAMRO_FAULTS", "clock=+11s")]).await?;
    let client = installation.client();
    let seats = client.seat_ids(0).await?;
    let booked = client.book_seats("alice", &seats[..1]).await?;
    assert_eq!(booked.status, 201, "{booked:?}");
    installation.workers[worker].line_after("ahead of the database clock").await?;
    installation.close().await
}

#[tokio::test]
async fn an_api_whose_clock_is_ahead_expires_no_booking_of_another_instance() -> Result<()> {
    let mut installation = start().await?;
    let ahead = installation.start_api(&[("HAMRO_FAULTS", "clock=+16m")]).await?;
    let seats = installation.client().seat_ids(0).await?;
    let accepted = installation.client().create_booking("alice", &seats[..1]).await?;
    let path = accepted.location()?;
    let answer = installation.apis[ahead].client.get(path).await?;
    assert_eq!(answer.body["status"], "queued", "{answer:?}");
    installation.start_worker(&[]).await?;
    let status = installation.client().final_status(path).await?;
    assert_eq!(status["status"], "confirmed", "{status}");
    installation.close().await
}

#[tokio::test]
async fn an_api_whose_clock_is_ahead_sells_nothing_before_the_sale_opens() -> Result<()> {
    let mut installation = start().await?;
    installation.start_worker(&[]).await?;
    let ahead = installation.start_api(&[("HAMRO_FAULTS", "clock=+16m")]).await?;
    sqlx::query("UPDATE concerts SET sales_open_at = now() + interval '10 minutes'")
        .execute(&installation.pool)
        .await?;
    let client = &installation.apis[ahead].client;
    let seats = client.seat_ids(0).await?;
    let answer = client.book_seats("alice", &seats[..1]).await?;
    assert_eq!(answer.code(), "sale-not-open", "{answer:?}");
    installation.close().await
}

#[tokio::test]
async fn a_ticket_issued_by_an_api_whose_clock_is_ahead_becomes_final_on_other_instances() -> Result<()> {
    let mut installation = start().await?;
    installation.start_worker(&[]).await?;
    // Longer than any timeout of the tests.
    let ahead = installation.start_api(&[("HAMRO_FAULTS", "clock=+3m")]).await?;
    // The api receives no announcements and has to query the database.
    installation.lose_announcements().await?;
    let seats = installation.client().seat_ids(0).await?;
    let accepted = installation.apis[ahead].client.create_booking("alice", &seats[..1]).await?;
    let status = installation.client().final_status(accepted.location()?).await?;
    assert_eq!(status["status"], "confirmed", "{status}");
    installation.close().await
}

#[tokio::test]
async fn an_api_that_has_not_measured_its_clock_is_not_ready_but_accepts_bookings() -> Result<()> {
    let mut installation = start().await?;
    let seats = installation.client().seat_ids(0).await?;
    let nowhere = "postgres://hamro:hamro@127.0.0.1:1/hamro";
    let api = installation.launch_api(&[("DATABASE_URL", nowhere)]).await?;
    let client = &installation.apis[api].client;
    wait_until("the api accepts bookings", async || {
        Ok((client.get("/queue").await?.body["accepting"] == true).then_some(()))
    })
    .await?;
    assert_eq!(client.get("/health/ready").await?.code(), "not-ready");
    let accepted = client.create_booking("alice", &seats[..1]).await?;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    installation.start_worker(&[]).await?;
    let status = installation.client().final_status(accepted.location()?).await?;
    assert_eq!(status["status"], "confirmed");
    installation.close().await
}

#[tokio::test]
async fn a_jump_of_the_database_clock_does_not_affect_readiness() -> Result<()> {
    let mut installation = start().await?;
    // The programs call `clock_timestamp()`. The search path replaces it by a function whose time can be shifted.
    sqlx::raw_sql(
        "CREATE TABLE jump (by interval NOT NULL); INSERT INTO jump VALUES ('0 s');
         CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
         AS 'SELECT pg_catalog.clock_timestamp() + by FROM public.jump'",
    )
    .execute(&installation.pool)
    .await?;
    let statement = format!("ALTER DATABASE {} SET search_path = public, pg_catalog", installation.name());
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&installation.pool).await?;
    let api = installation.start_api(&[]).await?;
    let worker = installation.start_worker(&[]).await?;
    sqlx::raw_sql("UPDATE jump SET by = '5 minutes'").execute(&installation.pool).await?;
    installation.apis[api].process.line_after("behind the database clock").await?;
    installation.workers[worker].line_after("behind the database clock").await?;
    let client = &installation.apis[api].client;
    assert_eq!(client.get("/health/ready").await?.status, 200);
    let seats = client.seat_ids(0).await?;
    let booked = client.book_seats("alice", &seats[..1]).await?;
    assert_eq!(booked.status, 201, "{booked:?}");
    let settled: bool = sqlx::query_scalar("SELECT settled_at > now() + interval '4 minutes' FROM bookings")
        .fetch_optional(&installation.pool)
        .await?
        .context("nothing was settled")?;
    assert!(settled, "it was settled at the time of the system clock");
    installation.close().await
}
