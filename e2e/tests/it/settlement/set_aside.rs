//! Bookings that the database rejects through no fault of their own. They are set aside without affecting others.

use anyhow::Result;
use hamro_e2e::dead_letter_setup::parcel;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Client, Deployment, Setup, tables, wait_until};
use serde_json::Value;

/// The worker is started by [`start_worker`].
fn with_failing_bookings(variables: Vec<(&'static str, &'static str)>) -> Setup {
    Setup { workers: 0, variables, expects_errors: true, ..Setup::default() }
}

/// Starts a worker and returns a client of its health endpoints.
async fn start_worker(deployment: &mut Deployment) -> Result<Client> {
    let worker = deployment.start_worker(&[("WORKER_HTTP_PORT", "0"), ("REAPER_DELAY", "0s")]).await?;
    let url = deployment.workers[worker].line_after("serving health checks on ").await?;
    Ok(Client::new(&url))
}

/// Makes the database reject this customer's bookings with an SQLSTATE that does not blame the booking.
async fn refuse(deployment: &Deployment, customer: &str) -> Result<()> {
    let statements = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'HV00X'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_name = '{customer}') EXECUTE FUNCTION refuse();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&deployment.pool).await?;
    Ok(())
}

async fn execute(deployment: &Deployment, statement: &'static str) -> Result<()> {
    sqlx::raw_sql(statement).execute(&deployment.pool).await?;
    Ok(())
}

async fn is_ready(health: &Client, expected: u16, text: &str) -> Result<()> {
    wait_until(&format!("readiness is {expected} and contains {text:?}"), async || {
        let ready = health.get("/health/ready").await?;
        Ok((ready.status == expected && ready.body.to_string().contains(text)).then_some(()))
    })
    .await
}

async fn status(deployment: &Deployment, location: &str) -> Result<Value> {
    Ok(deployment.client().final_status(location).await?["status"].clone())
}

#[tokio::test]
async fn an_exhausted_sequence_fails_no_booking() -> Result<()> {
    Deployment::run(with_failing_bookings(Vec::new()), async |deployment| {
        let health = start_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        execute(deployment, "ALTER SEQUENCE sales_id_seq MAXVALUE 2; SELECT setval('sales_id_seq', 2)")
            .await?;
        let mut sales = Vec::new();
        let mut rejections = Vec::new();
        for seat in &seats[..15] {
            sales.push(client.create_booking("alice", &[*seat]).await?.location()?.to_owned());
            rejections
                .push(client.create_booking("bob", &[i64::from(i32::MAX)]).await?.location()?.to_owned());
        }
        is_ready(&health, 503, "settlement: ").await?;
        let failed: i64 = sqlx::query_scalar("SELECT count(*) FROM bookings WHERE status <> 'rejected'")
            .fetch_one(&deployment.pool)
            .await?;
        assert_eq!((failed, tables::count(&deployment.pool, "dead_letters").await?), (0, 0));

        execute(deployment, "ALTER SEQUENCE sales_id_seq NO MAXVALUE").await?;
        for sale in &sales {
            assert_eq!(status(deployment, sale).await?, "confirmed");
        }
        for rejection in &rejections {
            assert_eq!(status(deployment, rejection).await?, "rejected");
        }
        is_ready(&health, 200, "ok").await?;
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_fails_alone_is_sold_once_the_cause_is_removed() -> Result<()> {
    Deployment::run(with_failing_bookings(Vec::new()), async |deployment| {
        let health = start_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        refuse(deployment, "odd").await?;
        let odd = client.create_booking("odd", &seats[..1]).await?.location()?.to_owned();
        // The booking was moved to the dead queue and has failed there.
        is_ready(&health, 200, "poison-isolator: a booking is set aside").await?;
        for seat in &seats[1..6] {
            let sold = client.create_booking("alice", &[*seat]).await?.location()?.to_owned();
            assert_eq!(status(deployment, &sold).await?, "confirmed");
        }
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 5);
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);

        execute(deployment, "DROP TRIGGER refuse ON bookings").await?;
        assert_eq!(status(deployment, &odd).await?, "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_set_aside_blocks_no_other_and_counts_no_redeliveries() -> Result<()> {
    Deployment::run(with_failing_bookings(Vec::new()), async |deployment| {
        let health = start_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        refuse(deployment, "odd").await?;
        let odd = client.create_booking("odd", &seats[..1]).await?.location()?.to_owned();
        is_ready(&health, 200, "poison-isolator: a booking is set aside").await?;
        let behind = envelope("carol", &seats[1..2])?;
        deployment.publish_dead(&parcel([&behind])).await?;
        let behind = format!("/ticket-bookings/{}", behind.ticket.id);
        assert_eq!(status(deployment, &behind).await?, "confirmed");
        // A killed worker leaves duplicates, which wait until they are due.
        deployment.expects_leftovers = true;
        // One time more than a poison booking is tried.
        for _ in 0..4 {
            deployment.kill_worker(0).await?;
            deployment.start_worker(&[("REAPER_DELAY", "0s")]).await?;
            // Until then, a worker that dies with the booking may be its victim, so that a redelivery counts.
            deployment.workers[0].line_after("booking put back into ").await?;
        }
        execute(deployment, "DROP TRIGGER refuse ON bookings").await?;
        assert_eq!(status(deployment, &odd).await?, "confirmed");
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_stays_set_aside_expires_and_becomes_a_dead_letter() -> Result<()> {
    Deployment::run(
        with_failing_bookings(vec![("BOOKING_DEADLINE", "3s"), ("BOOKING_WAIT", "1s")]),
        async |deployment| {
            start_worker(deployment).await?;
            let client = deployment.client().clone();
            let seats = client.seat_ids(0).await?;
            refuse(deployment, "odd").await?;
            client.create_booking("odd", &seats[..1]).await?;
            // No client reads its status, because that would expire the ticket too.
            let (ended, reason): (String, String) = wait_until("the worker expires it", async || {
                let query = "SELECT booking.status, letter.reason FROM dead_letters letter \
                     JOIN bookings booking ON booking.ticket_id = letter.ticket_id";
                Ok(sqlx::query_as(query).fetch_optional(&deployment.pool).await?)
            })
            .await?;
            assert_eq!((ended.as_str(), reason.as_str()), ("expired", "set-aside"));
            let payload: Vec<u8> =
                sqlx::query_scalar("SELECT payload FROM dead_letters").fetch_one(&deployment.pool).await?;
            assert!(
                String::from_utf8(payload)?.contains("\"userName\":\"odd\""),
                "the dead letter contains the booking"
            );
            Ok(())
        },
    )
    .await
}
