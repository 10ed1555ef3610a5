//! Stored rows that violate the current input rules.

use anyhow::{Context, Result};
use hamro_e2e::dead_letter_setup::parcel;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Events, Setup, wait_until};
use hamro_shared::domain::CustomerName;
use serde_json::{Value, json};

async fn run(deployment: &Deployment, statements: &'static str) -> Result<()> {
    sqlx::raw_sql(statements).execute(&deployment.pool).await?;
    Ok(())
}

#[tokio::test]
async fn an_api_reports_tickets_whose_rows_violate_the_input_rules() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let sold = client.book_seats("alice", &seats[..2]).await?;
        let refused = client.book_seats("bob", &seats[..1]).await?;
        assert_eq!((sold.status, refused.code()), (201, "seats-taken"));
        run(
            deployment,
            r#"UPDATE sales SET user_name = '', user_email = 'on request';
               UPDATE bookings SET rejection = '{"code": "limit-exceeded", "limit": 4}' WHERE user_name = 'bob'"#,
        )
        .await?;

        let fresh = deployment.start_api(&[]).await?;
        let fresh = deployment.apis[fresh].client.clone();
        let mut expected = sold.body.clone();
        expected["userName"] = CustomerName::erased().as_str().into();
        expected["userEmail"] = "on request".into();
        let status = fresh.final_status(sold.location()?).await?;
        assert_eq!((&status["status"], &status["booking"]), (&json!("confirmed"), &expected));
        let status = fresh.final_status(refused.location()?).await?;
        assert_eq!(status["status"], "rejected");
        let problem = json!({
            "type": "urn:hamro-concert:problem:limit-exceeded", "title": "The booking was rejected", "status": 409,
            "detail": "The booking was rejected. Nothing was booked.", "code": "limit-exceeded",
        });
        assert_eq!(status["problem"], problem);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unreadable_ticket_is_answered_500_and_delays_no_other_ticket() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.expects_errors = true;
        deployment.expects_leftovers = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (mut tickets, mut streams) = (Vec::new(), Vec::new());
        for customer in ["alice", "bob"] {
            let queued = client.create_booking(customer, &seats[..1]).await?;
            tickets.push(queued.body["ticketId"].as_str().context("no ticketId")?.to_owned());
            let mut events = Events::open(&client, &format!("{}/events", queued.location()?)).await?;
            // An open stream makes the shared lookup query both tickets together.
            assert_eq!(events.next().await?.map(|event| event.id).as_deref(), Some("queued"));
            streams.push(events);
        }
        sqlx::query(
            "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
             VALUES ($1::uuid, 'confirmed', now(), '', 4711), ($2::uuid, 'failed', now(), NULL, NULL)",
        )
        .bind(&tickets[0])
        .bind(&tickets[1])
        .execute(&deployment.pool)
        .await?;

        assert_eq!(streams[1].settled().await?.id, "failed");
        let path = format!("/ticket-bookings/{}", tickets[0]);
        for _ in 0..5 {
            // The watermark of the instance may be slightly old.
            let answer = wait_until("the unreadable ticket is no longer queued", async || {
                let answer = client.get(&path).await?;
                Ok((answer.body["status"] != "queued").then_some(answer))
            })
            .await?;
            assert_eq!((answer.status, answer.code()), (500, "internal"), "{answer:?}");
        }
        streams.clear();
        let printed = deployment.apis[0].process.printed();
        assert_eq!(printed.matches("its sale is missing").count(), 1, "{printed}");
        // The repair that an operator would make.
        run(
            deployment,
            "UPDATE bookings SET status = 'failed', sale_id = NULL, request_hash = NULL \
             WHERE status = 'confirmed'",
        )
        .await?;
        assert_eq!(client.final_status(&path).await?["status"], "failed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invalid_catalogue_row_hides_no_other_row() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let tiers = client.get("/ticket-tiers/all").await?.body.as_array().map_or(0, Vec::len);
        let concerts = client.get("/concerts").await?.body["data"].as_array().map_or(0, Vec::len);
        run(
            deployment,
            "UPDATE ticket_tiers SET price = 'NaN' WHERE id = (SELECT max(id) FROM ticket_tiers);
             UPDATE concerts SET date = 'infinity', sales_close_at = 'infinity'
             WHERE id = (SELECT concert_id FROM ticket_tiers ORDER BY id DESC LIMIT 1);
             UPDATE seats SET updated_at = 'infinity', created_at = '-infinity'
             WHERE id = (SELECT min(id) FROM seats)",
        )
        .await?;
        wait_until("the tier is left out", async || {
            let left = client.get("/ticket-tiers/all").await?;
            assert_eq!(left.status, 200);
            Ok((left.body.as_array().map_or(0, Vec::len) == tiers - 1).then_some(()))
        })
        .await?;
        let page = client.get("/ticket-tiers?limit=2").await?;
        assert_eq!((page.status, &page.body["total"]), (200, &json!(tiers - 1)));
        let last = wait_until("the concert is last", async || {
            let listed = client.get("/concerts").await?;
            assert_eq!((listed.status, listed.body["data"].as_array().map_or(0, Vec::len)), (200, concerts));
            let last: &Value = &listed.body["data"][concerts - 1];
            Ok((last["date"] == "9999-12-31").then(|| last.clone()))
        })
        .await?;
        assert_eq!(last["salesCloseAt"], "9999-12-31T23:59:59.999Z");
        assert_eq!(
            client.get(&format!("/concerts/{}", last["id"].as_str().unwrap_or_default())).await?.status,
            200
        );
        assert_eq!(client.seat_ids(0).await?, seats);
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_most_expensive_booking_is_reported_and_announced() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        run(deployment, "UPDATE ticket_tiers SET price = 9999999999.99").await?;
        let sold = client.book_seats("alice", &seats[..10]).await?;
        assert_eq!(
            (sold.status, &sold.body["ticketData"][0]["totalAmount"]),
            (201, &json!("99999999999.90"))
        );
        let printed = deployment.apis[0].process.printed();
        assert!(!printed.contains("cannot read the announced outcome"), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_retry_of_an_unreadable_ticket_fails_and_later_bookings_are_sold() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let mut first = envelope("alice", &seats[..1])?;
        first.idempotency_key = Some(hamro_shared::domain::IdempotencyKey::new("k1")?);
        deployment.publish(&parcel([&first])).await?;
        deployment.drained().await?;
        run(deployment, "UPDATE sale_seats SET price = 'NaN'").await?;

        let mut retry = envelope("alice", &seats[..1])?;
        retry.idempotency_key.clone_from(&first.idempotency_key);
        deployment.publish(&parcel([&retry, &envelope("bob", &seats[1..2])?])).await?;
        assert_eq!(client.book_seats("carol", &seats[2..3]).await?.status, 201);
        let failed = client.final_status(&format!("/ticket-bookings/{}", retry.ticket.id)).await?;
        assert_eq!((&failed["status"], &failed["problem"]["code"]), (&json!("failed"), &json!("internal")));
        let kept: String = sqlx::query_scalar("SELECT reason FROM dead_letters WHERE ticket_id = $1")
            .bind(retry.ticket.id.0)
            .fetch_one(&deployment.pool)
            .await?;
        assert_eq!(kept, "unreadable-outcome");
        Ok(())
    })
    .await
}
