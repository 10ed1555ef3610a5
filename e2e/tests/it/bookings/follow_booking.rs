//! Following a ticket: held requests, conditional requests and event streams.

use anyhow::{Context, Result};
use futures_util::future::try_join;
use hamro_e2e::client::{ApiResponse, Client, booking};
use hamro_e2e::{Deployment, Events, Setup, wait_until};
use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::Value;

async fn book_with(
    client: &Client,
    prefer: &'static str,
    customer: &str,
    seats: &[i64],
) -> Result<ApiResponse> {
    let request = client.request(Method::POST, "/ticket-bookings").header("Prefer", prefer);
    Client::send(request.json(&booking(customer, seats))).await
}

#[tokio::test]
async fn a_client_that_prefers_to_wait_gets_the_response_of_the_waiting_endpoint() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;

        let booked = book_with(client, "wait=30", "alice", &seats[..2]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        assert_eq!(booked.header("preference-applied"), Some("wait=30"));
        assert_eq!(booked.header("vary"), Some("prefer"));
        assert_eq!(client.final_status(booked.location()?).await?["booking"], booked.body);

        let refused = book_with(client, "wait=30", "bob", &seats[..1]).await?;
        assert_eq!((refused.status, refused.code()), (409, "seats-taken"));
        assert_eq!(client.final_status(refused.location()?).await?["problem"], refused.body);

        let at_once = book_with(client, "respond-async", "carol", &seats[2..3]).await?;
        assert_eq!((at_once.status, at_once.header("preference-applied")), (202, Some("respond-async")));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wait_that_times_out_returns_the_ticket() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = book_with(&client, "wait=1", "alice", &client.seat_ids(0).await?[..1]).await?;
        assert_eq!((accepted.status, accepted.header("preference-applied")), (202, Some("wait=1")));
        let status = client.get(&format!("{}?wait=1", accepted.location()?)).await?;
        assert_eq!((status.status, &status.body["status"]), (200, &Value::from("queued")));
        let wrong = client.get(&format!("{}?wait=soon", accepted.location()?)).await?;
        assert_eq!((wrong.status, wrong.code()), (422, "invalid-request"));
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_held_status_request_is_answered_on_any_instance_once_the_ticket_is_settled() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        let path = format!("{}?wait=30", accepted.location()?);
        let other = deployment.apis[1].client.clone();
        let (held, _) = try_join(other.get(&path), deployment.start_worker(&[])).await?;
        assert_eq!(held.body["status"], "confirmed", "{held:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unchanged_final_status_is_answered_304() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..1]).await?;
        let rejected = client.book_seats("bob", &seats[..1]).await?;
        // Seats of a booking may be released later.
        for (answer, cache) in [(booked, "private, no-cache"), (rejected, "private, max-age=60")] {
            let path = answer.location()?;
            let status = client.get(path).await?;
            let etag = status.header("etag").context("no ETag")?;
            assert_eq!(status.header("cache-control"), Some(cache));
            let again = Client::send(client.request(Method::GET, path).header("If-None-Match", etag)).await?;
            assert_eq!((again.status, &again.body, again.header("etag")), (304, &Value::Null, Some(etag)));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stream_sends_the_status_then_the_outcome_and_ends() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        let location = accepted.location()?;
        let mut events = Events::open(&deployment.apis[1].client, &format!("{location}/events")).await?;
        let first = events.next().await?.context("no first event")?;
        assert_eq!((first.id.as_str(), &first.data["ticketId"]), ("queued", &accepted.body["ticketId"]));

        deployment.start_worker(&[]).await?;
        let last = events.settled().await?;
        assert_eq!((last.id.as_str(), &last.data["status"]), ("confirmed", &Value::from("confirmed")));
        assert_eq!(events.next().await?, None);

        // A stream that is opened later sends the outcome at once. A stream that is resumed after it has nothing to send.
        let mut late = Events::open(&client, &format!("{location}/events")).await?;
        assert_eq!(late.next().await?.as_ref(), Some(&last));
        let resumed =
            client.request(Method::GET, &format!("{location}/events")).header("Last-Event-ID", last.id);
        assert_eq!(Client::send(resumed).await?.status, 204);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stream_that_hyper_writes_reports_the_outcome_and_ends() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("EVENT_STREAMS", "hyper")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        let path = format!("{}/events", accepted.location()?);
        let mut events = Events::open(&client, &path).await?;
        assert_eq!(events.next().await?.context("no first event")?.id, "queued");
        deployment.start_worker(&[]).await?;
        assert_eq!(events.settled().await?.id, "confirmed");
        assert_eq!(events.next().await?, None);
        // A detached stream closes its connection.
        let response = client.request(Method::GET, &path).send().await?;
        assert_eq!((response.status, response.header("connection")), (200, None));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stream_sends_a_new_queue_position() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        wait_until("the length of the queue is known", async || {
            Ok((client.get("/queue").await?.body["depth"] == 0).then_some(()))
        })
        .await?;
        client.create_booking("alice", &seats[..1]).await?;
        let accepted = client.create_booking("bob", &seats[1..2]).await?;
        let mut events = Events::open(&client, &format!("{}/events", accepted.location()?)).await?;
        let before = events.next().await?.context("no first event")?;
        assert_eq!(before.data["queue"]["ahead"], 1);
        // The first booking is settled, so nothing is ahead of the second.
        deployment.announce_another().await?;
        let after = events.next().await?.context("no event with a new position")?;
        assert_eq!((after.id.as_str(), &after.data["queue"]["ahead"]), ("queued", &Value::from(0)));
        deployment.start_worker(&[]).await?;
        assert_eq!(events.settled().await?.id, "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_instance_opens_no_more_streams_than_its_limit() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("STREAMS_MAX", "1")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        let path = format!("/seats/concert/{concert}/events");
        let open = Events::open(client, &path).await?;
        let refused = client.get(&path).await?;
        assert_eq!((refused.status, refused.code()), (503, "too-many-streams"));
        assert!(refused.header("retry-after").is_some());
        drop(open);
        wait_until("another stream can be opened", async || Ok(Events::open(client, &path).await.ok()))
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stopping_api_ends_its_streams_and_held_requests() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        let location = accepted.location()?.to_owned();
        let mut events = Events::open(&client, &format!("{location}/events")).await?;
        assert!(events.next().await?.is_some());
        let held = tokio::spawn(async move { client.get(&format!("{location}?wait=30")).await });
        deployment.apis[0].process.signal(Signal::SIGTERM)?;
        assert_eq!(events.next().await?, None);
        // Either response is fine, a status or a refusal, as long as the request is not held until its timeout.
        let _ = held.await?;
        let mut api = deployment.apis.remove(0).process;
        assert!(api.ended().await?.success(), "{}", api.printed());
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn polls_beyond_the_watermark_run_no_queries() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        let location = accepted.location()?;
        // Postgres publishes a session's statistics when it is idle, so the difference may include earlier transactions.
        let transactions = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let before: i64 = sqlx::query_scalar(transactions).fetch_one(&deployment.pool).await?;
        for _ in 0..2_000 {
            assert_eq!(client.get(location).await?.body["status"], "queued");
        }
        let after: i64 = sqlx::query_scalar(transactions).fetch_one(&deployment.pool).await?;
        assert!(after - before < 500, "2000 polls took {} transactions", after - before);

        deployment.start_worker(&[]).await?;
        assert_eq!(client.final_status(location).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_outcome_whose_announcement_is_lost_is_still_delivered() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        // The queue of this instance is no longer bound to an exchange, so it receives no announcements.
        deployment.lose_announcements().await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        let mut events = Events::open(&client, &format!("{}/events", accepted.location()?)).await?;
        assert_eq!(events.settled().await?.id, "confirmed");
        deployment.expects_errors = true;
        Ok(())
    })
    .await
}
