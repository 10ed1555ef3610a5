//! Bookings that the database refuses for no fault of their own: they are set aside, and nobody else notices.

use anyhow::Result;
use hamro_e2e::installation::envelope;
use hamro_e2e::strays::parcel;
use hamro_e2e::{Client, Installation, Setup, ledger, wait_until};
use serde_json::Value;

/// An installation whose worker tells whether it is ready. Returns who to ask.
async fn start(variables: Vec<(&'static str, &'static str)>) -> Result<(Installation, Client)> {
    let mut installation = Installation::start(Setup { workers: 0, variables, ..Setup::default() }).await?;
    installation.expects_errors = true;
    let worker = installation.start_worker(&[("WORKER_HTTP_PORT", "0"), ("REAPER_DELAY", "0s")]).await?;
    let url = installation.workers[worker].line_after("serving health checks on ").await?;
    Ok((installation, Client::new(&url)))
}

/// Makes the database refuse this customer with an SQLSTATE that says nothing of the booking.
async fn refuse(installation: &Installation, customer: &str) -> Result<()> {
    let statements = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'HV00X'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_name = '{customer}') EXECUTE FUNCTION refuse();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&installation.pool).await?;
    Ok(())
}

async fn execute(installation: &Installation, statement: &'static str) -> Result<()> {
    sqlx::raw_sql(statement).execute(&installation.pool).await?;
    Ok(())
}

async fn is_ready(health: &Client, expected: u16, said: &str) -> Result<()> {
    wait_until(&format!("readiness is {expected} and says {said:?}"), async || {
        let ready = health.get("/health/ready").await?;
        Ok((ready.status == expected && ready.body.to_string().contains(said)).then_some(()))
    })
    .await
}

async fn status(installation: &Installation, location: &str) -> Result<Value> {
    Ok(installation.client().final_status(location).await?["status"].clone())
}

#[tokio::test]
async fn a_sequence_that_has_run_out_fails_no_booking_and_all_are_sold_once_it_is_repaired() -> Result<()> {
    let (installation, health) = start(Vec::new()).await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    execute(&installation, "ALTER SEQUENCE sales_id_seq MAXVALUE 2; SELECT setval('sales_id_seq', 2)")
        .await?;
    let mut sales = Vec::new();
    let mut rejections = Vec::new();
    for seat in &seats[..15] {
        sales.push(client.create_booking("alice", &[*seat]).await?.location()?.to_owned());
        rejections.push(client.create_booking("bob", &[i64::from(i32::MAX)]).await?.location()?.to_owned());
    }
    is_ready(&health, 503, "settlement: ").await?;
    let failed: i64 = sqlx::query_scalar("SELECT count(*) FROM bookings WHERE status <> 'rejected'")
        .fetch_one(&installation.pool)
        .await?;
    assert_eq!((failed, ledger::count(&installation.pool, "dead_letters").await?), (0, 0));

    execute(&installation, "ALTER SEQUENCE sales_id_seq NO MAXVALUE").await?;
    for sale in &sales {
        assert_eq!(status(&installation, sale).await?, "confirmed");
    }
    for rejection in &rejections {
        assert_eq!(status(&installation, rejection).await?, "rejected");
    }
    is_ready(&health, 200, "ok").await?;
    assert_eq!(ledger::count(&installation.pool, "dead_letters").await?, 0);
    installation.close().await
}

#[tokio::test]
async fn a_booking_that_alone_fails_waits_and_is_sold_once_the_cause_is_gone() -> Result<()> {
    let (installation, health) = start(Vec::new()).await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    refuse(&installation, "odd").await?;
    let odd = client.create_booking("odd", &seats[..1]).await?.location()?.to_owned();
    // It has come into the dead queue, and was tried there in vain.
    is_ready(&health, 200, "poison-isolator: a booking is set aside").await?;
    for seat in &seats[1..6] {
        let sold = client.create_booking("alice", &[*seat]).await?.location()?.to_owned();
        assert_eq!(status(&installation, &sold).await?, "confirmed");
    }
    assert_eq!(ledger::count(&installation.pool, "bookings").await?, 5);
    assert_eq!(ledger::count(&installation.pool, "dead_letters").await?, 0);

    execute(&installation, "DROP TRIGGER refuse ON bookings").await?;
    assert_eq!(status(&installation, &odd).await?, "confirmed");
    installation.close().await
}

#[tokio::test]
async fn a_booking_set_aside_holds_up_nothing_in_the_dead_queue_and_costs_no_tries() -> Result<()> {
    let (mut installation, health) = start(Vec::new()).await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    refuse(&installation, "odd").await?;
    let odd = client.create_booking("odd", &seats[..1]).await?.location()?.to_owned();
    is_ready(&health, 200, "poison-isolator: a booking is set aside").await?;
    let behind = envelope("carol", &seats[1..2])?;
    installation.give_up(&parcel([&behind])).await?;
    let behind = format!("/ticket-bookings/{}", behind.ticket.id);
    assert_eq!(status(&installation, &behind).await?, "confirmed");
    // Copies that a killed worker has left wait until they are due.
    installation.expects_leftovers = true;
    // More often than a booking is tried that workers die of.
    for _ in 0..4 {
        installation.kill_worker(0).await?;
        installation.start_worker(&[("REAPER_DELAY", "0s")]).await?;
        installation.workers[0].line_after("is set aside until it can be settled").await?;
    }
    execute(&installation, "DROP TRIGGER refuse ON bookings").await?;
    assert_eq!(status(&installation, &odd).await?, "confirmed");
    assert_eq!(ledger::count(&installation.pool, "dead_letters").await?, 0);
    installation.close().await
}

#[tokio::test]
async fn a_booking_that_stays_set_aside_expires_at_its_deadline_and_is_kept() -> Result<()> {
    let (installation, _) = start(vec![("BOOKING_DEADLINE", "3s"), ("BOOKING_WAIT", "1s")]).await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    refuse(&installation, "odd").await?;
    client.create_booking("odd", &seats[..1]).await?;
    // Nobody asks for its status, which would end it as well.
    let (ended, reason): (String, String) = wait_until("the worker ends it", async || {
        let query = "SELECT booking.status, letter.reason FROM dead_letters letter \
                     JOIN bookings booking ON booking.ticket_id = letter.ticket_id";
        Ok(sqlx::query_as(query).fetch_optional(&installation.pool).await?)
    })
    .await?;
    assert_eq!((ended.as_str(), reason.as_str()), ("expired", "set-aside"));
    let payload: Vec<u8> =
        sqlx::query_scalar("SELECT payload FROM dead_letters").fetch_one(&installation.pool).await?;
    assert!(String::from_utf8(payload)?.contains("\"userName\":\"odd\""), "an operator has the booking");
    installation.close().await
}
