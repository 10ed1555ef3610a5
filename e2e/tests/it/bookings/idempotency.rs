//! Attempts under one `Idempotency-Key` book once, however they are repeated.

use anyhow::Result;
use futures_util::future::try_join_all;
use hamro_e2e::client::{ApiResponse, Client, booking};
use hamro_e2e::proxy::Proxy;
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use hyper::Method;

pub async fn book_under_key(client: &Client, key: &str, seats: &[i64]) -> Result<ApiResponse> {
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
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 2);
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
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
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_idempotency_key_of_spaces_is_valid() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let request =
            client.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", "\"   \"");
        let answer = Client::send(request.json(&booking("alice", &seats[..1]))).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn retries_under_one_key_book_once() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let book = async |seats: &[i64]| {
            let request =
                client.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", "\"k1\"");
            Client::send(request.json(&booking("alice", seats))).await
        };
        let attempts = (0..20).map(|_| book(&seats[..2]));
        let answers = try_join_all(attempts).await?;
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
        }
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);

        let other = book(&seats[5..6]).await?;
        assert_eq!((other.status, other.code()), (422, "idempotency-key-reused"));
        Ok(())
    })
    .await
}
