//! Database sessions whose requester, connection or query plan is lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn concert(title: &str) -> Value {
    json!({
        "title": title, "artist": "Everybody", "date": "2099-06-01", "time": "20:00", "venue": "Dasarath Stadium",
        "city": "Kathmandu", "image": "https://example.com/open-air.jpg",
    })
}

/// Sends a request. Dropping the returned stream closes the connection.
async fn send(client: &Client, method: &str, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(client.address()).await?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Waits until the api has processed what other clients have sent, and that they have disconnected.
async fn has_seen_the_others(client: &Client) -> Result<()> {
    for _ in 0..20 {
        assert_eq!(client.get("/health/live").await?.status, 200);
    }
    Ok(())
}

async fn count(deployment: &Deployment, query: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(&deployment.pool).await?)
}

const IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
     AND application_name LIKE 'hamro-api%' AND state LIKE 'idle in transaction%'";

#[tokio::test]
async fn clients_that_disconnect_during_a_write_leave_no_open_transaction() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let (proxy, url) = deployment.database_behind_proxy().await?;
        let api = deployment.start_api(&[("DATABASE_URL", &url), ("DATABASE_CONNECTIONS", "1")]).await?;
        let client = deployment.apis[api].client.clone();
        for moment in ["BEGIN", "COMMIT"] {
            proxy.hold_responses_from(moment);
            let request = send(&client, "DELETE", "/ticket-tiers/999999").await?;
            wait_until(&format!("{moment} is sent"), async || Ok(proxy.is_holding().then_some(()))).await?;
            drop(request);
            has_seen_the_others(&client).await?;
            proxy.release();
            let created = client.write(Method::POST, "/concerts", &concert(moment)).await?;
            assert_eq!(created.status, 201, "{created:?}");
            let id = created.body["id"].as_str().context("no id")?;
            // Another session sees it.
            let found: i64 = sqlx::query_scalar("SELECT count(*) FROM concerts WHERE id::text = $1")
                .bind(id)
                .fetch_one(&deployment.pool)
                .await?;
            assert_eq!(found, 1, "after {moment}, the api responded 201, but the concert does not exist");
        }
        assert_eq!(count(deployment, IN_TRANSACTION).await?, 0);
        Ok(())
    })
    .await
}

/// A session that was used within the last second is not checked before it is used again.
const UNCHECKED_FOR: Duration = Duration::from_millis(1_100);

async fn settled_some_time_ago(deployment: &Deployment) -> Result<()> {
    wait_until("the worker has not used its session for a while", async || {
        let query = "SELECT max(settled_at) < clock_timestamp() - $1 FROM bookings";
        let settled: bool = sqlx::query_scalar(query).bind(UNCHECKED_FOR).fetch_one(&deployment.pool).await?;
        Ok(settled.then_some(()))
    })
    .await
}

#[tokio::test]
async fn sessions_with_a_dead_connection_fail_no_request() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let (proxy, url) = deployment.database_behind_proxy().await?;
        let api = deployment.start_api(&[("DATABASE_URL", &url)]).await?;
        deployment.start_worker(&[("DATABASE_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        let seats = client.seat_ids(0).await?;
        // Opens several sessions, in the api and in the worker.
        let reads = (0..8).map(|_| client.get("/concerts"));
        for answer in futures_util::future::try_join_all(reads).await? {
            assert_eq!(answer.status, 200);
        }
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        settled_some_time_ago(deployment).await?;

        // Checks the versions of the catalogue, and again with the same session, which has just been used, after it has died.
        assert_eq!(client.get("/concerts").await?.status, 200);
        proxy.freeze_open();
        let frozen = Instant::now();
        wait_until("the versions are checked again", async || {
            assert_eq!(client.get("/concerts").await?.status, 200);
            Ok((frozen.elapsed() > Duration::from_millis(400)).then_some(()))
        })
        .await?;
        // Pages that are not in the api's memory.
        for limit in 1..=100 {
            let answer = client.get(&format!("/concerts?limit={limit}")).await?;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let created = client.write(Method::POST, "/concerts", &concert("Afterwards")).await?;
        assert_eq!(created.status, 201, "{created:?}");
        settled_some_time_ago(deployment).await?;
        let booked = client.book_seats("bob", &seats[1..2]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn clients_that_disconnect_open_no_extra_sessions() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let (proxy, url) = deployment.database_behind_proxy().await?;
        let api = deployment.start_api(&[("DATABASE_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        let (concert, _) = client.seat_map(0).await?;
        // The delay makes clients disconnect while their queries run.
        proxy.delay(Duration::from_millis(5));
        let before = proxy.accepted();
        for round in 0..20 {
            let mut requests = Vec::new();
            for n in 0..10 {
                requests.push(send(&client, "GET", "/concerts").await?);
                requests.push(send(&client, "GET", &format!("/seats/concert/{concert}/events")).await?);
                // This concert does not exist.
                let other = format!("/seats/concert/00000000-0000-4000-8000-{round:06}{n:06}/events");
                requests.push(send(&client, "GET", &other).await?);
            }
            has_seen_the_others(&client).await?;
        }
        proxy.delay(Duration::ZERO);
        assert_eq!(client.get("/concerts").await?.status, 200);
        // The size of the pool.
        let opened = proxy.accepted() - before;
        ensure!(opened <= 10, "{opened} sessions were opened");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_is_settled_at_once_despite_outdated_query_plans() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        // Changes the result types of statements that the api and the worker have prepared.
        sqlx::raw_sql(
            "ALTER TABLE seats ALTER COLUMN seat_number TYPE varchar(20);
         ALTER TABLE concerts ALTER COLUMN title TYPE varchar(200);
         ALTER TABLE ticket_tiers ALTER COLUMN price TYPE numeric(13, 2)",
        )
        .execute(&deployment.pool)
        .await?;
        // A page that is not in the api's memory.
        assert_eq!(client.get("/concerts?limit=7").await?.status, 200);
        let booked = client.book_seats("bob", &seats[1..2]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        Ok(())
    })
    .await
}
