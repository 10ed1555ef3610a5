//! Connections that break at critical moments.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use hamro_e2e::client::{Answer, Client, booking};
use hamro_e2e::proxy::Proxy;
use hamro_e2e::{Deployment, Setup, ledger, wait_until};
use hamro_shared::queue::consume;
use lapin::options::{BasicCancelOptions, BasicNackOptions};
use reqwest::Method;

async fn book_under_key(client: &Client, key: &str, seats: &[i64]) -> Result<Answer> {
    let request = client.request(Method::POST, "/ticket-bookings").header("Idempotency-Key", key);
    Client::send(request.json(&booking("alice", seats))).await
}

#[tokio::test]
async fn a_client_that_loses_its_connection_and_retries_books_once() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let proxy = Proxy::start(client.address()).await?;
        let cut_off = Client::new(&format!("http://{}", proxy.address));
        assert_eq!(cut_off.get("/health/live").await?.status, 200);
        proxy.drop_responses();
        let first = {
            let seats = seats[..2].to_vec();
            tokio::spawn(async move { book_under_key(&cut_off, "key-1", &seats).await })
        };
        wait_until("the booking is in the queue", async || {
            Ok((deployment.waiting_messages().await? == 1).then_some(()))
        })
        .await?;
        proxy.cut();
        assert!(first.await?.is_err(), "the first attempt got a response");

        let again = book_under_key(&client, "key-1", &seats[..2]).await?;
        assert_eq!(again.status, 202, "{again:?}");
        deployment.start_worker(&[]).await?;
        assert_eq!(client.final_status(again.location()?).await?["status"], "confirmed");
        assert_eq!(ledger::count(&deployment.pool, "bookings").await?, 2);
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_thousand_concurrent_attempts_under_one_key_book_once() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 2, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let attempts =
            (0..1_000).map(|n| book_under_key(&deployment.apis[n % 2].client, "key-1", &seats[..2]));
        let answers = try_join_all(attempts).await?;
        let mut booked = None;
        for answer in &answers {
            assert_eq!(answer.status, 202, "{answer:?}");
            let status = deployment.client().final_status(answer.location()?).await?;
            assert_eq!(status["status"], "confirmed");
            assert_eq!(booked.get_or_insert_with(|| status["booking"].clone()), &status["booking"]);
        }
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_whose_confirm_is_lost_can_be_followed() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let (proxy, url) = deployment.broker_behind_proxy().await?;
        deployment.expects_errors = true;
        let number = deployment.start_api(&[("AMQP_URL", &url), ("CONFIRM_TIMEOUT", "1s")]).await?;
        let client = deployment.apis[number].client.clone();

        proxy.drop_responses();
        let unknown = book_under_key(&client, "key-1", &seats[..1]).await?;
        assert_eq!((unknown.status, unknown.code()), (503, "broker-unavailable"), "{unknown:?}");
        assert_eq!(
            unknown.body["ticketId"].as_str().map(|id| format!("/ticket-bookings/{id}")).as_deref(),
            Some(unknown.location()?)
        );
        assert!(unknown.header("retry-after").is_some());
        assert_eq!(client.final_status(unknown.location()?).await?["status"], "confirmed");

        // The api drops the connection. Until it has a new one, bookings are refused at once.
        wait_until("the api has dropped the connection", async || {
            Ok((client.get("/queue").await?.body["accepting"] == false).then_some(()))
        })
        .await?;
        let refused = book_under_key(&client, "key-1", &seats[..1]).await?;
        assert_eq!((refused.status, &refused.body["ticketId"]), (503, &serde_json::Value::Null));
        proxy.cut();
        client.wait_until_ready().await?;
        let again = book_under_key(&client, "key-1", &seats[..1]).await?;
        assert_eq!(client.final_status(again.location()?).await?["status"], "confirmed");
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_waiting_endpoint_reports_the_outcome_of_a_booking_whose_confirm_is_lost() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let (proxy, url) = deployment.broker_behind_proxy().await?;
        deployment.expects_errors = true;
        let number = deployment.start_api(&[("AMQP_URL", &url), ("CONFIRM_TIMEOUT", "1s")]).await?;
        proxy.drop_responses();
        let booked = deployment.apis[number].client.book_seats("alice", &seats[..1]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        proxy.cut();
        Ok(())
    })
    .await
}

/// The broker counts a message as delivered that never arrived.
#[tokio::test]
async fn a_lost_delivery_to_an_idle_worker_is_still_settled() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (proxy, url) = deployment.broker_behind_proxy().await?;
        deployment.start_worker(&[("AMQP_URL", &url)]).await?;
        proxy.drop_responses();
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        wait_until("the delivery is lost", async || Ok(proxy.has_dropped_response().then_some(()))).await?;
        proxy.deliver_responses();
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

/// Starts a worker that does not know that its queue was deleted and declared again.
async fn start_silently_cancelled_worker(deployment: &mut Deployment) -> Result<Proxy> {
    let (proxy, url) = deployment.broker_behind_proxy().await?;
    deployment.start_worker(&[("AMQP_URL", &url)]).await?;
    // The `basic.cancel` that the broker sends does not arrive.
    proxy.drop_responses();
    deployment.delete_queue().await?;
    wait_until("the cancellation is lost", async || Ok(proxy.has_dropped_response().then_some(()))).await?;
    deployment.topology.declare(&deployment.channel).await?;
    proxy.deliver_responses();
    Ok(proxy)
}

#[tokio::test]
async fn a_silently_cancelled_consumer_resubscribes_while_others_consume() -> Result<()> {
    Deployment::run(Setup { workers: 0, expects_errors: true, ..Setup::default() }, async |deployment| {
        let _proxy = start_silently_cancelled_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        // Another consumer receives one message and keeps it.
        let channel = &deployment.channel;
        let mut other = consume(channel, &deployment.topology.intake_queue(), 1).await?;
        let first = client.create_booking("alice", &seats[..1]).await?;
        let kept = other.next().await.context("the queue was deleted")??;
        let second = client.create_booking("bob", &seats[1..2]).await?;
        assert_eq!(client.final_status(second.location()?).await?["status"], "confirmed");
        channel.basic_cancel(other.tag(), BasicCancelOptions::default()).await?;
        kept.acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?;
        assert_eq!(client.final_status(first.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_silently_cancelled_consumer_resubscribes_when_it_is_the_only_one() -> Result<()> {
    Deployment::run(Setup { workers: 0, expects_errors: true, ..Setup::default() }, async |deployment| {
        let _proxy = start_silently_cancelled_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}
