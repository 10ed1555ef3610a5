//! The settings `RETENTION` and `REJECTED_RETENTION`.

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Setup};
use hamro_shared::database::tickets;
use hamro_shared::domain::{TicketId, Timestamp};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;

use super::booking;

/// Moves what was sold and decided so far three years back, but not the dates of the concerts.
async fn age(pool: &PgPool) -> Result<()> {
    for statement in [
        "UPDATE sales SET created_at = created_at - interval '3 years'",
        "UPDATE bookings SET settled_at = settled_at - interval '3 years'",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    // A ticket's id contains its time of issue.
    let tickets: Vec<TicketId> = sqlx::query_scalar("SELECT ticket_id FROM bookings").fetch_all(pool).await?;
    for ticket in tickets {
        let earlier = earlier(ticket)?;
        for statement in [
            "UPDATE bookings SET ticket_id = $2 WHERE ticket_id = $1",
            "UPDATE bookings SET alias_of = $2 WHERE alias_of = $1",
            "UPDATE sales SET ticket_id = $2 WHERE ticket_id = $1",
        ] {
            sqlx::query(statement).bind(ticket.0).bind(earlier.0).execute(pool).await?;
        }
    }
    Ok(())
}

/// The id that [`age`] gives to a ticket.
fn earlier(ticket: TicketId) -> Result<TicketId> {
    let millis = ticket.issued_at().unix_millis() - 3 * 365 * 86_400_000;
    Ok(TicketId::last_of(Timestamp::from_unix_millis(millis).context("no time")?))
}

/// The customers of all sales, or of all bookings, in the order of their seats or tickets.
async fn customers(pool: &PgPool, query: &'static str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(query).fetch_all(pool).await?)
}

const OF_SALES: &str = "SELECT user_name || ' ' || user_email FROM sales ORDER BY id";
const OF_BOOKINGS: &str = "SELECT user_name || ' ' || user_email FROM bookings ORDER BY ticket_id";

#[tokio::test]
async fn customers_of_past_concerts_are_erased_after_the_retention_period() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client().clone();
        let (past, coming) = (client.seat_ids(0).await?, client.seat_ids(1).await?);
        let book = async |name: &str, seats: &[i64]| -> Result<(u16, Value)> {
            let address = format!("{}@example.com", name.to_lowercase());
            let response = client.post("/ticket-bookings/seats", &booking(name, &address, seats)).await?;
            Ok((response.status, response.body))
        };
        assert_eq!(book("Old", &past[..1]).await?.0, 201);
        assert_eq!(book("Rejected", &past[..1]).await?.0, 409);
        let ticket: String =
            sqlx::query_scalar("SELECT ticket_id::text FROM sales").fetch_one(&deployment.pool).await?;
        let path = format!("/ticket-bookings/{ticket}/release");
        let released = client.write(Method::POST, &path, &json!({"reason": "Old has called"})).await?;
        assert_eq!(released.status, 200, "{released:?}");
        assert_eq!(book("Early", &coming[..1]).await?.0, 201);
        assert_eq!(book("Both", &[past[1], coming[1]]).await?.0, 201);
        age(&deployment.pool).await?;
        assert_eq!(book("Recent", &past[2..3]).await?.0, 201);
        let moved = "UPDATE concerts SET date = date - 3 * 365 WHERE id = (SELECT concert_id FROM seats WHERE id = $1)";
        sqlx::query(moved).bind(i32::try_from(past[0])?).execute(&deployment.pool).await?;
        let locks = "INSERT INTO customer_locks (concert_id, customer_digest) SELECT id, 'digest' FROM concerts";
        sqlx::query(locks).execute(&deployment.pool).await?;
        let before = statuses(&deployment.pool).await?;

        // Without the setting, nothing is erased: this instance has run all the time.
        assert!(customers(&deployment.pool, OF_SALES).await?[0].starts_with("Old "));
        let erasing = deployment.start_api(&[("RETENTION", "400d")]).await?;
        let line = deployment.apis[erasing].process.line_after("erased the customers of ").await?;
        assert!(line.starts_with("1 sales and 2 bookings"), "{line}");

        let erased = "Erased customer erased@customer.invalid";
        let kept = ["Early early@example.com", "Both both@example.com", "Recent recent@example.com"];
        assert_eq!(customers(&deployment.pool, OF_SALES).await?, [&[erased], &kept[..]].concat());
        assert_eq!(customers(&deployment.pool, OF_BOOKINGS).await?, [&[erased, erased], &kept[..]].concat());
        assert_eq!(statuses(&deployment.pool).await?, before);
        for (what, query, expected) in [
            ("sales without a digest", "SELECT count(*) FROM sales WHERE customer_digest IS NULL", 1),
            ("locks of coming concerts", "SELECT count(*) FROM customer_locks", 2),
        ] {
            let count: i64 = sqlx::query_scalar(query).fetch_one(&deployment.pool).await?;
            assert_eq!(count, expected, "{what}");
        }
        let reason: String =
            sqlx::query_scalar("SELECT reason FROM releases").fetch_one(&deployment.pool).await?;
        assert_eq!(reason, "erased");

        let again = deployment.start_api(&[("RETENTION", "400d")]).await?;
        let line = deployment.apis[again].process.line_after("erased the customers of ").await?;
        assert!(line.starts_with("0 sales and 0 bookings"), "{line}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn old_rejections_are_deleted_and_their_tickets_never_get_another_status() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let book = async |name: &str| -> Result<TicketId> {
            let accepted = client.create_booking(name, &seats[..1]).await?;
            client.final_status(accepted.location()?).await?;
            Ok(TicketId(serde_json::from_value(accepted.body["ticketId"].clone())?))
        };
        let (sold, rejected) = (book("alice").await?, book("bob").await?);
        age(&deployment.pool).await?;
        let recent = book("carol").await?;
        let rejected_long_ago = earlier(rejected)?;

        let deleting = deployment.start_api(&[("REJECTED_RETENTION", "30d")]).await?;
        let line = deployment.apis[deleting].process.line_after("deleted ").await?;
        assert!(line.starts_with("1 rejected bookings"), "{line}");
        let left: Vec<TicketId> = sqlx::query_scalar("SELECT ticket_id FROM bookings ORDER BY ticket_id")
            .fetch_all(&deployment.pool)
            .await?;
        assert_eq!(left, [earlier(sold)?, recent]);

        // Neither a client's request nor the duplicate of a message gives a deleted ticket another status.
        let mut connection = deployment.pool.acquire().await?;
        let deadline = rejected_long_ago.issued_at();
        assert_eq!(tickets::expire(&mut connection, rejected_long_ago, deadline).await?, None);
        assert!(tickets::may_be_deleted(&mut connection, rejected_long_ago).await?);
        assert!(!tickets::may_be_deleted(&mut connection, recent).await?);
        assert!(tickets::expire(&mut connection, earlier(sold)?, deadline).await?.is_some());

        // Its ticket is unknown, on every instance.
        sqlx::query("DELETE FROM bookings WHERE ticket_id = $1")
            .bind(recent.0)
            .execute(&deployment.pool)
            .await?;
        tickets::announce_deletion(&mut connection, recent.issued_at()).await?;
        let variables = [("BOOKING_DEADLINE", "1s"), ("BOOKING_WAIT", "1s")];
        let other = deployment.start_api(&variables).await?;
        let response = deployment.apis[other].client.get(&format!("/ticket-bookings/{}", recent.0)).await?;
        assert_eq!((response.status, response.code()), (404, "ticket-not-found"), "{response:?}");
        Ok(())
    })
    .await
}

/// What must not change: everything but names and addresses.
async fn statuses(pool: &PgPool) -> Result<Vec<String>> {
    let query = "SELECT concat_ws(' ', ticket_id, status, settled_at, encode(request_hash, 'hex'),
                        encode(idempotency_digest, 'hex'), alias_of, sale_id, rejection) FROM bookings ORDER BY ticket_id";
    Ok(sqlx::query_scalar(query).fetch_all(pool).await?)
}
