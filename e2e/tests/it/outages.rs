//! The api during outages of Postgres and RabbitMQ. These tests stop servers that all tests share, so they run alone.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::client::{ADMIN_TOKEN, Client};
use hamro_e2e::outage::Outage;
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;
use serde_json::json;
use tokio::time::timeout;

/// Far longer than any response takes, and shorter than any timeout.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A timeout that must not elapse.
const LONG_TIMEOUT: (&str, &str) = ("CONFIRM_TIMEOUT", "10s");

async fn accepts_bookings(client: &Client) -> Result<bool> {
    Ok(client.get("/queue").await?.body["accepting"] == true)
}

/// Checks that bookings are refused without a wait.
async fn is_refused_at_once(client: &Client, seats: &[i64]) -> Result<()> {
    for answer in [
        timeout(AT_ONCE, client.create_booking("bob", seats))
            .await
            .context("the response took too long")??,
        timeout(AT_ONCE, client.book_seats("bob", seats)).await.context("the response took too long")??,
    ] {
        assert_eq!((answer.status, answer.code()), (503, "broker-unavailable"), "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        assert!(answer.body["ticketId"].is_null(), "nothing was sent: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn while_the_broker_is_away_bookings_are_refused_at_once_and_accepted_afterwards() -> Result<()> {
    Deployment::run(Setup { variables: vec![LONG_TIMEOUT], ..Setup::default() }, async |deployment| {
        // lapin logs a lost connection as an error.
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);

        let outage = Outage::of_broker(deployment).await?;
        wait_until("the api has noticed", async || Ok((!accepts_bookings(&client).await?).then_some(())))
            .await?;
        is_refused_at_once(&client, &seats[1..2]).await?;
        assert_eq!(client.get("/health/ready").await?.code(), "not-ready");

        outage.end()?;
        client.wait_until_ready().await?;
        deployment.reconnect().await?;
        // Until the queue has elected a leader, the broker may refuse messages.
        let after = wait_until("a booking is accepted", async || {
            let answer = client.create_booking("carol", &seats[2..3]).await?;
            Ok((answer.status == 202).then_some(answer))
        })
        .await?;
        assert_eq!(client.final_status(after.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn while_the_broker_is_short_of_memory_bookings_are_refused_at_once_and_accepted_afterwards()
-> Result<()> {
    Deployment::run(Setup { variables: vec![LONG_TIMEOUT], ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let outage = Outage::memory_alarm()?;
        // The broker reports its alarm to a connection that publishes. It stores the message once the alarm is over.
        let pending = {
            let (client, seats) = (client.clone(), seats[..1].to_vec());
            tokio::spawn(async move { client.create_booking("alice", &seats).await })
        };
        wait_until("the api has noticed", async || Ok((!accepts_bookings(&client).await?).then_some(())))
            .await?;
        is_refused_at_once(&client, &seats[1..2]).await?;

        outage.end()?;
        let pending = pending.await??;
        // The confirm came in time, or the response names the ticket. If a heartbeat was sent before the booking, the api
        // knew of the alarm and did not send it.
        let is_unsent = pending.code() == "broker-unavailable" && pending.body["ticketId"].is_null();
        assert!(is_unsent || pending.status == 202 || pending.body["ticketId"].is_string(), "{pending:?}");
        wait_until("the api has noticed", async || Ok(accepts_bookings(&client).await?.then_some(())))
            .await?;
        let after = client.create_booking("carol", &seats[2..3]).await?;
        assert_eq!(after.status, 202, "{after:?}");
        for accepted in [pending, after].iter().filter(|answer| answer.location().is_ok()) {
            assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        }
        Ok(())
    })
    .await
}

/// Waits until the api uses Postgres again. Until then some requests get what its last attempt got.
async fn database_is_back(client: &Client) -> Result<()> {
    wait_until("readiness reports that the database is back", async || {
        Ok(client.get("/health/ready").await?.body["database"].is_null().then_some(()))
    })
    .await
}

#[tokio::test]
async fn while_postgres_is_away_bookings_are_accepted_and_known_outcomes_are_reported() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        let concerts = client.get("/concerts").await?;
        let never_asked_for = concerts.body["data"][1]["id"].as_str().context("no second concert")?;
        let settled = client.book_seats("alice", &seats[..1]).await?;
        assert_eq!(settled.status, 201);

        let outage = Outage::of("postgres")?;
        let accepted = client.create_booking("bob", &seats[1..2]).await?;
        assert_eq!(accepted.status, 202);
        assert_eq!(client.get(settled.location()?).await?.body["status"], "confirmed");
        let unknown = wait_until("the watermark is too old", async || {
            let answer = client.get(accepted.location()?).await?;
            Ok((answer.status != 200).then_some(answer))
        })
        .await?;
        assert_eq!((unknown.status, unknown.code()), (503, "database-unavailable"));
        assert!(unknown.header("retry-after").is_some());
        for document in ["", "/available", "/status"] {
            let path = format!("/seats/concert/{concert}{document}");
            let answer =
                timeout(AT_ONCE, client.get(&path)).await.context("the response took too long")??;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert!(answer.header("age").is_some(), "{path} does not say how old it is: {answer:?}");
        }
        // What is not in the api's memory.
        for path in [format!("/seats/concert/{never_asked_for}"), "/concerts?limit=7".to_owned()] {
            let answer =
                timeout(AT_ONCE, client.get(&path)).await.context("the response took too long")??;
            assert_eq!((answer.status, answer.code()), (503, "database-unavailable"), "{path}");
        }
        let ready = client.get("/health/ready").await?;
        assert_eq!(ready.status, 200, "the api accepts bookings");
        assert_eq!(ready.body["database"], "unavailable", "readiness reports the database");

        outage.end()?;
        database_is_back(&client).await?;
        let status = wait_until("the booking is settled", async || {
            let answer = client.get(accepted.location()?).await?;
            Ok((answer.body["status"] == "confirmed").then_some(answer))
        })
        .await?;
        assert_eq!(status.status, 200);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pause_holds_while_postgres_is_away() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let pause = json!({"intakePaused": true, "acceptPerSecond": null, "reason": "a test", "revision": 0});
        assert_eq!(client.write(Method::PUT, "/ops/controls", &pause).await?.status, 200);
        let controls = async || {
            let request = client.request(Method::GET, "/ops/controls").bearer_auth(ADMIN_TOKEN);
            anyhow::Ok(Client::send(request).await?.body)
        };

        let outage = Outage::of("postgres")?;
        // It says so once it has not read them for a while.
        wait_until("the controls are the last known ones", async || {
            let controls = controls().await?;
            assert_eq!((&controls["intakePaused"], &controls["revision"]), (&true.into(), &1.into()));
            assert_eq!(client.create_booking("alice", &seats[..1]).await?.code(), "intake-paused");
            Ok((controls["isStored"] == false).then_some(()))
        })
        .await?;
        let resume =
            json!({"intakePaused": false, "acceptPerSecond": null, "reason": "a test", "revision": 1});
        let refused = client.write(Method::PUT, "/ops/controls", &resume).await?;
        assert_eq!((refused.status, refused.code()), (503, "database-unavailable"));
        outage.end()?;
        wait_until("the intake is resumed", async || {
            Ok((client.write(Method::PUT, "/ops/controls", &resume).await?.status == 200).then_some(()))
        })
        .await?;
        assert!(accepts_bookings(&client).await?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pause_of_a_concert_holds_while_postgres_is_away() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let (seats, others) = (client.seat_ids(0).await?, client.seat_ids(1).await?);
        let path = format!("/ops/controls/concerts/{concert}");
        let pause = json!({"paused": true, "acceptPerSecond": null, "reason": "a test", "revision": 0});
        assert_eq!(client.write(Method::PUT, &path, &pause).await?.status, 200);
        wait_until("the concert is paused", async || {
            Ok((client.create_booking("alice", &seats[..1]).await?.code() == "intake-paused").then_some(()))
        })
        .await?;
        let controls = async || {
            let request = client.request(Method::GET, "/ops/controls").bearer_auth(ADMIN_TOKEN);
            anyhow::Ok(Client::send(request).await?.body)
        };
        let outage = Outage::of("postgres")?;
        wait_until("the controls are the last known ones", async || {
            assert_eq!(client.create_booking("alice", &seats[1..2]).await?.code(), "intake-paused");
            Ok((controls().await?["isStored"] == false).then_some(()))
        })
        .await?;
        let accepted = client.create_booking("bob", &others[..1]).await?;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        let resume = json!({"paused": false, "acceptPerSecond": null, "reason": "a test", "revision": 1});
        let refused = client.write(Method::PUT, &path, &resume).await?;
        assert_eq!((refused.status, refused.code()), (503, "database-unavailable"));
        outage.end()?;
        database_is_back(&client).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        wait_until("the controls are read again", async || {
            assert_eq!(client.create_booking("alice", &seats[1..2]).await?.code(), "intake-paused");
            Ok((controls().await?["isStored"] == true).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn sessions_that_become_read_only_are_replaced_within_the_request() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (one, other) = tokio::try_join!(
            client.book_seats("alice", &seats[..1]),
            client.book_seats("bob", &seats[1..2])
        )?;
        assert_eq!((one.status, other.status), (201, 201));

        // As after a failover: open sessions can no longer write, and new sessions can.
        let name = deployment.name();
        let writable = format!("ALTER DATABASE {name} SET default_transaction_read_only = off");
        sqlx::raw_sql(sqlx::AssertSqlSafe(writable)).execute(&deployment.pool).await?;
        let outage = Outage::read_only()?;
        wait_until("open sessions are read-only", async || {
            let setting: String =
                sqlx::query_scalar("SHOW default_transaction_read_only").fetch_one(&deployment.pool).await?;
            Ok((setting == "on").then_some(()))
        })
        .await?;
        let tier = serde_json::json!({"name": "Balcony"});
        let created = client.write(Method::POST, "/ticket-types", &tier).await?;
        assert_eq!(created.status, 201, "{created:?}");
        for (customer, seat) in [("carol", 2), ("dave", 3), ("erin", 4)] {
            let booked = client.book_seats(customer, &seats[seat..=seat]).await?;
            assert_eq!(booked.status, 201, "{booked:?}");
        }
        outage.end()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_channel_closed_by_the_broker_during_a_stuck_batch_is_noticed_at_once() -> Result<()> {
    let outage = Outage::impatience_with_consumers()?;
    Deployment::run(Setup::default(), async |deployment| {
        // The AMQP library logs a channel that the broker closes.
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let mut holder = deployment.pool.begin().await?;
        sqlx::raw_sql("LOCK TABLE bookings IN EXCLUSIVE MODE").execute(&mut *holder).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        // The connection is lost while the batch is still stuck.
        deployment.workers[0].line_after("broker connection for consuming lost").await?;
        outage.end()?;
        holder.rollback().await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}
