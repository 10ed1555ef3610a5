//! Machines whose clocks are wrong. The database's clock judges deadlines and sales windows, whatever the others show.

use anyhow::{Context, Result};
use hamro_e2e::{Installation, Setup, wait_until};

async fn start() -> Result<Installation> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    // A clock that is wrong is an error, which wants a person.
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
    installation.workers[worker].line_after("ahead of the database's").await?;
    installation.close().await
}

#[tokio::test]
async fn an_api_whose_clock_is_ahead_expires_no_booking_of_another() -> Result<()> {
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
async fn a_ticket_of_an_api_whose_clock_is_ahead_is_final_on_the_others_once_it_is_settled() -> Result<()> {
    let mut installation = start().await?;
    installation.start_worker(&[]).await?;
    // Longer than the tests wait for anything.
    let ahead = installation.start_api(&[("HAMRO_FAULTS", "clock=+3m")]).await?;
    // It hears of the outcome from nobody, and has to ask.
    installation.lose_announcements().await?;
    let seats = installation.client().seat_ids(0).await?;
    let accepted = installation.apis[ahead].client.create_booking("alice", &seats[..1]).await?;
    let status = installation.client().final_status(accepted.location()?).await?;
    assert_eq!(status["status"], "confirmed", "{status}");
    installation.close().await
}

#[tokio::test]
async fn an_instance_that_knows_no_time_is_not_ready_and_takes_bookings_all_the_same() -> Result<()> {
    let mut installation = start().await?;
    let seats = installation.client().seat_ids(0).await?;
    let nowhere = "postgres://hamro:hamro@127.0.0.1:1/hamro";
    let api = installation.launch_api(&[("DATABASE_URL", nowhere)]).await?;
    let client = &installation.apis[api].client;
    wait_until("it takes bookings", async || {
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
async fn a_clock_of_the_database_that_jumps_turns_nobody_red() -> Result<()> {
    let mut installation = start().await?;
    // The programs ask for `clock_timestamp()`; here they get that of the schema `public`, which can be moved.
    sqlx::raw_sql(
        "CREATE TABLE jump (by interval NOT NULL); INSERT INTO jump VALUES ('0 s');
         CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
         AS 'SELECT pg_catalog.clock_timestamp() + by FROM public.jump'",
    )
    .execute(&installation.pool)
    .await?;
    let moved = format!("ALTER DATABASE {} SET search_path = public, pg_catalog", installation.name());
    sqlx::raw_sql(sqlx::AssertSqlSafe(moved)).execute(&installation.pool).await?;
    let api = installation.start_api(&[]).await?;
    let worker = installation.start_worker(&[]).await?;
    sqlx::raw_sql("UPDATE jump SET by = '5 minutes'").execute(&installation.pool).await?;
    installation.apis[api].process.line_after("behind the database's").await?;
    installation.workers[worker].line_after("behind the database's").await?;
    let client = &installation.apis[api].client;
    assert_eq!(client.get("/health/ready").await?.status, 200);
    let seats = client.seat_ids(0).await?;
    let booked = client.book_seats("alice", &seats[..1]).await?;
    assert_eq!(booked.status, 201, "{booked:?}");
    let settled: bool = sqlx::query_scalar("SELECT settled_at > now() + interval '4 minutes' FROM bookings")
        .fetch_optional(&installation.pool)
        .await?
        .context("nothing was settled")?;
    assert!(settled, "it was settled at the time of the machine");
    installation.close().await
}
