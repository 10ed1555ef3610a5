//! The canary: one instance books and releases a seat of a hidden concert again and again.

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::{ADMIN_TOKEN, booking};
use hamro_e2e::{Client, Deployment, Setup, tables, wait_until};
use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;

const CONCERT: &str = "00000000-0000-8000-8000-63616e617279";

/// A run every second.
fn with_canary(apis: usize, workers: usize, variables: &[(&'static str, &'static str)]) -> Setup {
    let variables = [&[("CANARY_EVERY", "1s")], variables].concat();
    Setup { apis, workers, variables, ..Setup::default() }
}

async fn number(pool: &PgPool, query: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// Waits until the query returns at least `least`.
async fn at_least(pool: &PgPool, least: i64, query: &'static str) -> Result<()> {
    wait_until(&format!("{query}: {least}"), async || Ok((number(pool, query).await? >= least).then_some(())))
        .await
}

const RELEASED: &str = "SELECT count(*) FROM releases WHERE released_by = 'canary'";
const LIVE: &str = "SELECT count(*) FROM sale_seats WHERE released_at IS NULL";

/// Waits until runs that begin from now on have succeeded.
async fn succeeds_again(pool: &PgPool) -> Result<()> {
    let last_run = "SELECT coalesce(max(id), 0) FROM releases WHERE released_by = 'canary'";
    let earlier = number(pool, last_run).await?;
    wait_until("the canary succeeds", async || {
        let query = "SELECT count(*) FROM canary WHERE failure IS NULL AND last_success_at = last_run_at";
        let succeeded = number(pool, query).await? == 1;
        // One may have been in progress.
        Ok((succeeded && number(pool, last_run).await? >= earlier + 2).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_run_books_and_releases_the_next_seat_as_a_client_does() -> Result<()> {
    Deployment::run(with_canary(1, 1, &[]), async |deployment| {
        let pool = &deployment.pool;
        at_least(pool, 3, RELEASED).await?;
        succeeds_again(pool).await?;
        let seats: Vec<Vec<i32>> =
            sqlx::query_scalar("SELECT seat_ids FROM releases ORDER BY id LIMIT 3").fetch_all(pool).await?;
        assert_eq!(seats, [vec![seats[0][0]], vec![seats[0][0] + 1], vec![seats[0][0] + 2]]);
        let customers: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT user_email FROM sales").fetch_all(pool).await?;
        ensure!(
            customers.len() == 1
                && customers[0].starts_with("canary-")
                && customers[0].ends_with("@canary.invalid"),
            "{customers:?}"
        );
        let not_confirmed = "SELECT count(*) FROM bookings WHERE status <> 'confirmed'";
        assert_eq!(number(pool, not_confirmed).await?, 0);
        let duration: f64 = sqlx::query_scalar("SELECT duration_seconds FROM canary").fetch_one(pool).await?;
        assert!(duration > 0.0 && duration < 30.0, "{duration}");
        let view = deployment.client().write(Method::GET, "/ops/state", &Value::Null).await?.body;
        assert!(view["canary"]["lastSuccessAt"].is_string() && view["canary"]["failure"].is_null(), "{view}");
        let api = &mut deployment.apis[0].process;
        assert!(!api.printed().contains("the canary failed"), "{}", api.printed());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_run_that_fails_names_its_step_and_later_ones_recover() -> Result<()> {
    // The first booking fills the queue.
    let variables = [("CANARY_TIMEOUT", "1s"), ("QUEUE_MAX", "1")];
    Deployment::run(with_canary(1, 0, &variables), async |deployment| {
        let api = &mut deployment.apis[0].process;
        api.line_after("the canary failed: settle: still queued").await?;
        let cause = api.line_after("the canary failed: accept: ").await?;
        assert!(cause.starts_with("503 queue-full after "), "{cause}");
        let failure = "SELECT count(*) FROM canary WHERE failure LIKE 'accept: 503 queue-full after %'
                       AND last_success_at IS NULL";
        at_least(&deployment.pool, 1, failure).await?;
        deployment.start_worker(&[]).await?;
        deployment.apis[0].process.line_after("the canary succeeded again").await?;
        // Also that of the booking that was settled late.
        wait_until("every seat is released", async || {
            Ok((number(&deployment.pool, LIVE).await? == 0).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_run_while_the_intake_is_paused_is_no_failure() -> Result<()> {
    Deployment::run(with_canary(1, 1, &[]), async |deployment| {
        at_least(&deployment.pool, 1, RELEASED).await?;
        for is_paused in [true, false] {
            let client = deployment.client();
            let controls =
                Client::send(client.request(Method::GET, "/ops/controls").bearer_auth(ADMIN_TOKEN)).await?;
            let change = json!({
                "intakePaused": is_paused, "acceptPerSecond": null, "reason": "a test",
                "revision": controls.body["revision"],
            });
            let changed = client.write(Method::PUT, "/ops/controls", &change).await?;
            assert_eq!(changed.status, 200, "{changed:?}");
            if is_paused {
                let paused =
                    "SELECT count(*) FROM canary WHERE refused_with = 'intake-paused' AND failure IS NULL
                              AND last_success_at IS NOT NULL";
                at_least(&deployment.pool, 1, paused).await?;
            }
        }
        succeeds_again(&deployment.pool).await?;
        let api = &mut deployment.apis[0].process;
        assert!(!api.printed().contains("the canary failed"), "{}", api.printed());
        let metrics = api.metrics_page("/metrics").await?;
        for text in
            ["runs_total{result=\"paused\"}", "duration_seconds_count", "last_success_timestamp_seconds"]
        {
            assert!(metrics.contains(&format!("hamro_canary_{text} ")), "{metrics}");
        }
        assert!(metrics.contains("hamro_canary_runs_total{result=\"failure\"} 0\n"), "{metrics}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_instance_runs_the_canary_and_another_takes_over_when_it_is_killed() -> Result<()> {
    const LEADS: &str = "the canary runs on this instance";
    Deployment::run(with_canary(2, 1, &[]), async |deployment| {
        at_least(&deployment.pool, 3, RELEASED).await?;
        let leads: Vec<bool> =
            deployment.apis.iter().map(|api| api.process.printed().contains(LEADS)).collect();
        let leader = leads.iter().position(|leads| *leads).context("no instance runs the canary")?;
        assert_eq!(leads.iter().filter(|leads| **leads).count(), 1, "{leads:?}");
        let mut killed = deployment.apis.remove(leader).process;
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        deployment.apis[0].process.line_after(LEADS).await?;
        succeeds_again(&deployment.pool).await
    })
    .await
}

#[tokio::test]
async fn a_seat_of_a_run_that_was_killed_is_released_by_the_next() -> Result<()> {
    Deployment::run(with_canary(1, 0, &[]), async |deployment| {
        at_least(&deployment.pool, 1, "SELECT count(*) FROM canary_tickets").await?;
        let mut killed = deployment.apis.remove(0).process;
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        deployment.start_worker(&[]).await?;
        at_least(&deployment.pool, 1, LIVE).await?;
        deployment.start_api(&[]).await?;
        let cleaned = "SELECT count(*) FROM releases
                       WHERE released_by = 'canary' AND reason LIKE 'An earlier run of the canary%'";
        at_least(&deployment.pool, 1, cleaned).await?;
        succeeds_again(&deployment.pool).await
    })
    .await
}

/// The id of a seat of the hidden concert, and that of its tier.
async fn hidden_seat(pool: &PgPool) -> Result<(i32, i32)> {
    let query = "SELECT seat.id, seat.ticket_tier_id FROM seats seat
                 JOIN concerts ON concerts.id = seat.concert_id AND hidden ORDER BY seat.id DESC LIMIT 1";
    wait_until("the hidden concert exists", async || {
        Ok(sqlx::query_as::<_, (i32, i32)>(query).fetch_optional(pool).await?)
    })
    .await
}

/// The paths of all GET requests of the OpenAPI document, except those about a ticket, with the ids of the hidden concert.
async fn read_paths(client: &Client, tier: i32) -> Result<Vec<String>> {
    let document = client.get("/openapi.json").await?.body;
    let paths = document["paths"].as_object().context("no paths")?;
    let read = paths.iter().filter(|(path, item)| item.get("get").is_some() && !path.contains("{ticketId}"));
    let filled = read
        .map(|(path, _)| path.replace("{concertId}", CONCERT).replace("{ticketTierId}", &tier.to_string()));
    Ok(filled.collect())
}

#[tokio::test]
async fn no_read_request_shows_a_hidden_concert() -> Result<()> {
    Deployment::run(with_canary(1, 1, &[]), async |deployment| {
        let client = deployment.client().clone();
        let (_, tier) = hidden_seat(&deployment.pool).await?;
        let mut paths = read_paths(&client, tier).await?;
        ensure!(paths.len() > 8, "{paths:?}");
        paths.push(format!("/ticket-tiers?concertId={CONCERT}"));
        for path in paths.iter().filter(|path| !path.contains('{') && !path.starts_with("/ops")) {
            for (is_admin, knows_any) in [(false, false), (true, false), (false, true), (true, true)] {
                let request = client.request(Method::GET, path);
                let request = if is_admin { request.bearer_auth(ADMIN_TOKEN) } else { request };
                let request = if knows_any { request.header("if-none-match", "*") } else { request };
                let response = Client::send(request).await?;
                let is_named = path.contains(CONCERT) || path.ends_with(&format!("/{tier}"));
                let expected = if is_named && !path.contains('?') { 404 } else { 200 };
                let is_expected = response.status == expected || response.status == 304 && expected == 200;
                assert!(is_expected, "{path}: {response:?}");
                let body = response.body.to_string().to_lowercase();
                assert!(!body.contains("canary"), "{path}: {body}");
                if !path.contains(CONCERT) {
                    assert!(!body.contains(CONCERT), "{path}: {body}");
                }
            }
        }
        let test = client.write(Method::GET, "/concerts?test=true", &Value::Null).await?;
        assert_eq!((test.status, &test.body["total"]), (200, &json!(0)), "{test:?}");
        assert_eq!(client.get("/concerts").await?.body["total"], 3);
        let tiers = client.get(&format!("/ticket-tiers?concertId={CONCERT}")).await?;
        assert_eq!(tiers.body["total"], 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_the_canary_can_book_a_seat_of_its_concert() -> Result<()> {
    Deployment::run(with_canary(1, 1, &[]), async |deployment| {
        let client = deployment.client().clone();
        let (seat, _) = hidden_seat(&deployment.pool).await?;
        let booked = client.book_seats("alice", &[seat.into()]).await?;
        assert_eq!((booked.status, booked.code()), (404, "seats-not-found"), "{booked:?}");
        assert_eq!(booked.body.get("seats"), None, "{booked:?}");
        let mut body = booking("alice", &[seat.into()]);
        body["concertId"] = json!(CONCERT);
        let booked = client.post("/ticket-bookings/seats", &body).await?;
        assert_eq!((booked.status, &booked.body["missingConcertId"]), (404, &json!(CONCERT)), "{booked:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_hidden_concert_that_an_administrator_deletes_is_created_again() -> Result<()> {
    Deployment::run(with_canary(1, 1, &[]), async |deployment| {
        at_least(&deployment.pool, 1, RELEASED).await?;
        let deleted =
            deployment.client().write(Method::DELETE, &format!("/concerts/{CONCERT}"), &Value::Null).await?;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        succeeds_again(&deployment.pool).await
    })
    .await
}

#[tokio::test]
async fn what_runs_leave_in_the_tables_is_deleted_after_a_day() -> Result<()> {
    Deployment::run(with_canary(1, 1, &[]), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let sold = client.book_seats("alice", &seats[..2]).await?;
        let released = client
            .write(
                Method::POST,
                &format!("{}/release", sold.location()?),
                &json!({"reason": "x", "seatIds": [seats[0]]}),
            )
            .await?;
        assert_eq!((sold.status, released.status), (201, 200));
        let pool = &deployment.pool.clone();
        at_least(pool, 1, RELEASED).await?;
        fabricate_old_runs(pool).await?;
        let old = "SELECT count(*) FROM canary_tickets WHERE booked_at < now() - interval '1 day'";
        assert!(number(pool, old).await? > 100);
        wait_until("old runs are deleted", async || Ok((number(pool, old).await? == 0).then_some(())))
            .await?;
        deployment.stop_apis().await?;
        let pool = &deployment.pool;
        // What is left is of the last runs, which are noted, and of alice.
        let runs = number(pool, "SELECT count(*) FROM canary_tickets").await?;
        for (table, of_alice) in [("bookings", 1), ("sales", 1), ("sale_seats", 2), ("releases", 1)] {
            let rows = tables::count(pool, table).await?;
            // A run that was broken off is not released.
            assert!((of_alice..=of_alice + runs).contains(&rows), "{table}: {rows} rows of {runs} runs");
        }
        Ok(())
    })
    .await
}

/// Copies a run of the canary 300 times, a day and more ago: 250 that were confirmed and released, and 50 that were rejected.
async fn fabricate_old_runs(pool: &PgPool) -> Result<()> {
    sqlx::raw_sql(
        "CREATE TEMPORARY TABLE old AS
             SELECT n, gen_random_uuid() AS ticket, n <= 250 AS is_sold FROM generate_series(1, 300) AS n;
         ALTER TABLE old ADD COLUMN sale bigint;
         UPDATE old SET sale = nextval('sales_id_seq') WHERE is_sold;
         INSERT INTO canary_tickets SELECT ticket, now() - interval '1 day' - n * interval '1 minute' FROM old;
         INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
             SELECT sale, ticket, 'Canary', 'x@canary.invalid', now() - interval '1 day' FROM old WHERE is_sold;
         INSERT INTO sale_seats (sale_id, position, seat_id, price, released_at)
             SELECT sale, 0, (SELECT min(seats.id) FROM seats JOIN concerts ON concerts.id = concert_id AND hidden), 0, now()
             FROM old WHERE is_sold;
         INSERT INTO releases (sale_id, ticket_id, seat_ids, reason, released_by, released_at)
             SELECT sale, ticket, '{1}', 'x', 'canary', now() FROM old WHERE is_sold;
         INSERT INTO bookings (ticket_id, status, settled_at, request_hash, user_email, sale_id, rejection)
             SELECT ticket, CASE WHEN is_sold THEN 'confirmed' ELSE 'rejected' END, now(), '', 'x@canary.invalid', sale,
                    CASE WHEN NOT is_sold THEN '{}'::jsonb END
             FROM old;
         DROP TABLE old",
    )
    .execute(pool)
    .await?;
    Ok(())
}
