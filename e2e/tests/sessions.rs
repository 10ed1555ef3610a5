//! Sessions of the database that are cut off, forgotten by the network, or no longer of any use.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::installation::ADMIN_TOKEN;
use hamro_e2e::{Client, Installation, Setup, wait_until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn concert(title: &str) -> Value {
    json!({
        "title": title, "artist": "Everybody", "date": "2030-06-01", "time": "20:00", "venue": "Dasarath Stadium",
        "city": "Kathmandu", "image": "https://example.com/open-air.jpg",
    })
}

/// Sends a request and hangs up once it is on its way.
async fn hang_up(client: &Client, method: &str, path: &str) -> Result<()> {
    let mut stream = TcpStream::connect(client.address()).await?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(())
}

async fn count(installation: &Installation, query: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(&installation.pool).await?)
}

const IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
     AND application_name LIKE 'hamro-api%' AND state LIKE 'idle in transaction%'";

#[tokio::test]
async fn clients_that_hang_up_in_the_middle_of_a_write_leave_no_session_inside_a_transaction() -> Result<()> {
    let mut installation = Installation::start(Setup { apis: 0, workers: 0, ..Setup::default() }).await?;
    let (proxy, url) = installation.database_behind_proxy().await?;
    let api = installation.start_api(&[("DATABASE_URL", &url), ("DATABASE_CONNECTIONS", "1")]).await?;
    let client = installation.apis[api].client.clone();
    proxy.delay(Duration::from_millis(50));
    for id in 0..3 {
        // It is dropped while the server is asked to begin, while it works, and while it is asked to commit.
        hang_up(&client, "DELETE", &format!("/ticket-tiers/{}", 999_999 - id)).await?;
    }
    proxy.delay(Duration::ZERO);
    for title in ["First", "Second"] {
        let created = client.write(Method::POST, "/concerts", &concert(title)).await?;
        assert_eq!(created.status, 201, "{created:?}");
        let id = created.body["id"].as_str().context("no id")?;
        // Somebody else sees it, on a session of their own.
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM concerts WHERE id::text = $1")
            .bind(id)
            .fetch_one(&installation.pool)
            .await?;
        assert_eq!(found, 1, "{title} was answered 201 and is not there");
    }
    assert_eq!(count(&installation, IN_TRANSACTION).await?, 0);
    installation.close().await
}

#[tokio::test]
async fn sessions_that_the_network_has_forgotten_cost_no_request_its_answer() -> Result<()> {
    let mut installation = Installation::start(Setup { apis: 0, workers: 0, ..Setup::default() }).await?;
    let (proxy, url) = installation.database_behind_proxy().await?;
    let api = installation.start_api(&[("DATABASE_URL", &url)]).await?;
    installation.start_worker(&[("DATABASE_URL", &url)]).await?;
    let client = installation.apis[api].client.clone();
    let seats = client.seat_ids(0).await?;
    // Several sessions are open, in the api and in the worker.
    let reads = (0..8).map(|_| client.get("/concerts"));
    for answer in futures_util::future::try_join_all(reads).await? {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);

    proxy.freeze_open();
    for _ in 0..10 {
        let answer = client.get("/concerts").await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let created = client.write(Method::POST, "/concerts", &concert("Afterwards")).await?;
    assert_eq!(created.status, 201, "{created:?}");
    let booked = client.book_seats("bob", &seats[1..2]).await?;
    assert_eq!(booked.status, 201, "{booked:?}");
    installation.close().await
}

#[tokio::test]
async fn a_storm_of_clients_that_hang_up_opens_no_sessions() -> Result<()> {
    const ESTABLISHED: &str = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client().clone();
    let (concert, _) = client.seat_map(0).await?;
    let before = count(&installation, ESTABLISHED).await?;
    for _ in 0..300 {
        for path in [format!("/seats/concert/{concert}/events"), "/concerts".to_owned()] {
            hang_up(&client, "GET", &path).await?;
        }
    }
    // Some of a concert that there is not.
    for n in 0..300 {
        hang_up(&client, "GET", &format!("/seats/concert/00000000-0000-4000-8000-{n:012}/events")).await?;
    }
    assert_eq!(client.get("/concerts").await?.status, 200);
    wait_until("no session works any more", async || {
        let active = count(
            &installation,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND application_name LIKE 'hamro-api%' AND state <> 'idle'",
        );
        Ok((active.await? == 0).then_some(()))
    })
    .await?;
    let opened = count(&installation, ESTABLISHED).await? - before;
    ensure!(opened <= 20, "{opened} sessions were opened");
    installation.close().await
}

#[tokio::test]
async fn a_booking_whose_plans_are_out_of_date_is_settled_at_once() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let seats = client.seat_ids(0).await?;
    assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
    // The results of statements that are prepared in the api and in the worker change their types.
    sqlx::raw_sql(
        "ALTER TABLE seats ALTER COLUMN seat_number TYPE varchar(20);
         ALTER TABLE concerts ALTER COLUMN title TYPE varchar(200);
         ALTER TABLE ticket_tiers ALTER COLUMN price TYPE numeric(13, 2)",
    )
    .execute(&installation.pool)
    .await?;
    assert_eq!(client.get("/concerts").await?.status, 200);
    let booked = client.book_seats("bob", &seats[1..2]).await?;
    assert_eq!(booked.status, 201, "{booked:?}");
    installation.close().await
}
