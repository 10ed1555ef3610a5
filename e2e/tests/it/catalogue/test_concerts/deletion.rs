//! The deletion of test concerts with their sales, also while workers settle bookings.

use anyhow::{Context, Result};
use hamro_e2e::client::{Client, booking};
use hamro_e2e::{Deployment, Events, Setup, tables};
use hyper::Method;
use serde_json::{Value, json};

use super::TestConcert;
use crate::catalogue::{api_sessions_wait_for_locks, hold_tier};

#[tokio::test]
async fn a_test_concert_is_deleted_with_the_sales_that_were_released() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let test = TestConcert::create(client, 1, 3).await?;
        for (customer, seats) in [("alice", &test.seats[..2]), ("bob", &test.seats[2..])] {
            let booked = client.book_seats(customer, seats).await?;
            let path = format!("{}/release", booked.location()?);
            let body = json!({"seatIds": &seats[..1], "reason": "Refund"});
            assert_eq!(client.write(Method::POST, &path, &body).await?.status, 200);
        }
        assert_eq!(test.delete(client).await?.status, 204);
        assert_nothing_is_sold(deployment).await?;
        for table in ["bookings", "releases"] {
            assert_eq!(tables::count(&deployment.pool, table).await?, 0, "{table}");
        }
        Ok(())
    })
    .await
}

async fn assert_nothing_is_sold(deployment: &Deployment) -> Result<()> {
    for table in ["sales", "sale_seats"] {
        assert_eq!(tables::count(&deployment.pool, table).await?, 0, "{table}");
    }
    Ok(())
}

#[tokio::test]
async fn a_test_concert_is_deleted_with_its_sales_and_other_sales_stay() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client();
        // More seats than one transaction deletes.
        let test = TestConcert::create(client, 5, 500).await?;
        let (first, last) = (test.seats[0], test.seats[2_499]);
        let listed = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &[first, last]).await?.status, 201);
        for _ in 0..2 {
            let retry =
                client.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", "bob-1");
            let answer = Client::send(retry.json(&booking("bob", &test.seats[1..3]))).await?;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        let mixed = client.book_seats("carol", &[test.seats[3], listed[0]]).await?;
        let other = client.book_seats("dave", &listed[1..2]).await?;
        assert_eq!((mixed.status, other.status), (201, 201));
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 5);
        let mut events = Events::open(client, &format!("/seats/concert/{}/events", test.id)).await?;
        assert_eq!(events.next().await?.context("no snapshot")?.data["totalSeats"], 2_500);

        assert_eq!(test.delete(client).await?.status, 204);
        let map = client.get(&format!("/seats/concert/{}", test.id)).await?;
        assert_eq!((map.status, test.delete(client).await?.status), (404, 404));
        while events.next().await?.is_some() {}
        let booked = client.book_seats("erin", &[first]).await?;
        assert_eq!((booked.status, booked.code()), (404, "seats-not-found"));
        // The booking that also has a seat of a listed concert keeps that seat.
        let left: Vec<(String, i32)> = sqlx::query_as(
            "SELECT user_name, seat_id FROM sales JOIN sale_seats ON sale_id = sales.id ORDER BY user_name",
        )
        .fetch_all(&deployment.pool)
        .await?;
        assert_eq!(
            left,
            [("carol".to_owned(), i32::try_from(listed[0])?), ("dave".to_owned(), i32::try_from(listed[1])?)]
        );
        let names: Vec<String> = sqlx::query_scalar("SELECT user_name FROM bookings ORDER BY user_name")
            .fetch_all(&deployment.pool)
            .await?;
        assert_eq!(names, ["carol", "dave", "erin"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sold_seat_of_a_test_concert_is_deleted_only_after_its_sale() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let test = TestConcert::create(client, 1, 2).await?;
        assert_eq!(client.book_seats("alice", &test.seats[..1]).await?.status, 201);
        let path = format!("/ticket-tiers/{}", test.tier);
        let tier = client.write(Method::DELETE, &path, &Value::Null).await?;
        assert_eq!((tier.status, tier.code()), (409, "has-sales"), "{tier:?}");
        // As earlier versions of the api delete a concert.
        let deleted = sqlx::query("DELETE FROM concerts WHERE id::text = $1")
            .bind(&test.id)
            .execute(&deployment.pool)
            .await;
        let error = deleted.err().context("the concert was deleted")?;
        assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("seats_sold"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sold_seat_of_a_listed_concert_is_not_deleted_even_after_its_sale() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        let mut transaction = deployment.pool.begin().await?;
        sqlx::query("DELETE FROM sale_seats").execute(&mut *transaction).await?;
        let deleted = sqlx::query("DELETE FROM seats").execute(&mut *transaction).await;
        let error = deleted.err().context("the seats were deleted")?;
        assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("seats_sold"));
        transaction.rollback().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deletion_waits_for_a_sale_in_progress_and_removes_it() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let test = TestConcert::create(client, 1, 2).await?;
        let holder = hold_tier(deployment, test.tier).await?;
        let ticket = client.create_booking("alice", &test.seats[..1]).await?;
        deployment.worker_waits_for_a_lock().await?;
        let deletion = test.spawn_delete(client);
        api_sessions_wait_for_locks(deployment, 1).await?;
        holder.rollback().await?;
        assert_eq!(deletion.await??.status, 204);
        // The worker announced the sale, so it was committed.
        assert_eq!(client.final_status(ticket.location()?).await?["status"], "confirmed");
        assert_nothing_is_sold(deployment).await?;
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_waits_for_a_deletion_is_rejected() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let test = TestConcert::create(client, 1, 2).await?;
        let holder = hold_tier(deployment, test.tier).await?;
        let deletion = test.spawn_delete(client);
        api_sessions_wait_for_locks(deployment, 1).await?;
        let ticket = client.create_booking("alice", &test.seats[..1]).await?;
        deployment.worker_waits_for_a_lock().await?;
        holder.rollback().await?;
        assert_eq!(deletion.await??.status, 204);
        let status = client.final_status(ticket.location()?).await?;
        assert_eq!(
            (&status["status"], &status["problem"]["code"]),
            (&json!("rejected"), &json!("seats-not-found")),
            "{status}"
        );
        assert_nothing_is_sold(deployment).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_is_queued_during_a_deletion_is_rejected() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let test = TestConcert::create(&client, 1, 2).await?;
        let ticket = client.create_booking("alice", &test.seats[..1]).await?;
        assert_eq!(test.delete(&client).await?.status, 204);
        deployment.start_worker(&[]).await?;
        let status = client.final_status(ticket.location()?).await?;
        assert_eq!(status["problem"]["code"], "seats-not-found", "{status}");
        assert_nothing_is_sold(deployment).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sale_of_two_test_concerts_is_removed_when_both_are_deleted_at_once() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let one = TestConcert::create(client, 1, 1).await?;
        let two = TestConcert::create(client, 1, 1).await?;
        assert_eq!(client.book_seats("alice", &[one.seats[0], two.seats[0]]).await?.status, 201);
        let mut holder = deployment.pool.begin().await?;
        // Both deletions remove their seat from the sale before one of them sees the result of the other.
        sqlx::query("SELECT FROM sales FOR UPDATE").execute(&mut *holder).await?;
        let deletions = [one.spawn_delete(client), two.spawn_delete(client)];
        api_sessions_wait_for_locks(deployment, 2).await?;
        holder.rollback().await?;
        for deletion in deletions {
            assert_eq!(deletion.await??.status, 204);
        }
        assert_nothing_is_sold(deployment).await?;
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn seats_that_are_added_and_sold_during_a_deletion_are_deleted_too() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let test = TestConcert::create(client, 1, 2).await?;
        // The deletion removes the seats, and then waits for the concert.
        let mut holder = deployment.pool.begin().await?;
        sqlx::query("SELECT FROM concerts WHERE id::text = $1 FOR KEY SHARE")
            .bind(&test.id)
            .execute(&mut *holder)
            .await?;
        let deletion = test.spawn_delete(client);
        api_sessions_wait_for_locks(deployment, 1).await?;
        let added = test.add_seats(client, 1, 5).await?;
        assert_eq!(client.book_seats("alice", &added).await?.status, 201);
        holder.rollback().await?;
        assert_eq!(deletion.await??.status, 204);
        assert_nothing_is_sold(deployment).await?;
        assert_eq!(client.get(&format!("/concerts/{}", test.id)).await?.status, 404);
        Ok(())
    })
    .await
}
