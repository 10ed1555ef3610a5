//! Bookings from the request to the outcome, through real processes.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_e2e::client::ApiResponse;
use hamro_e2e::{Deployment, Setup};
use serde_json::{Value, json};

fn statuses(answers: &[ApiResponse]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[tokio::test]
async fn an_accepted_booking_has_a_ticket_that_reports_its_outcome() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;

        let accepted = client.create_booking("alice", &seats[20..22]).await?;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        assert_eq!(accepted.body["status"], "queued");
        let queue = accepted.body["queue"].as_object().context("no queue")?;
        assert!(queue.contains_key("ahead") && queue.contains_key("etaSeconds"), "{queue:?}");
        assert!(accepted.header("retry-after").is_some());
        let ticket = accepted.body["ticketId"].as_str().context("no ticketId")?;
        assert_eq!(accepted.location()?, format!("/ticket-bookings/{ticket}"));

        let status = client.final_status(accepted.location()?).await?;
        assert_eq!(status["status"], "confirmed");
        assert_eq!(status["ticketId"], ticket);
        assert_eq!(status["booking"]["seatIds"], json!(seats[20..22]));
        assert_eq!(status["booking"]["userEmail"], "alice@example.com");
        assert!(status["settledAt"].as_str() >= status["submittedAt"].as_str());

        // A final status does not change when another client wants the seats.
        let late = client.create_booking("bob", &seats[21..23]).await?;
        let late = client.final_status(late.location()?).await?;
        assert_eq!(late["status"], "rejected");
        assert_eq!(late["problem"]["code"], "seats-taken");
        assert_eq!(late["problem"]["seatIds"], json!([seats[21]]));
        assert_eq!(client.final_status(accepted.location()?).await?, status);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_waiting_endpoint_responds_like_the_earlier_system() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seat = |n: usize| map["seats"][n]["id"].as_i64().context("no such seat");

        let answer = client.book_seats("Alice", &[seat(20)?, seat(21)?, seat(40)?]).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        let mut body = answer.body.clone();
        let sold_at = body["ticketData"][0]["createdAt"].as_str().context("no createdAt")?.to_owned();
        assert!(sold_at.len() == "2026-11-22T16:56:03.990Z".len() && sold_at.ends_with('Z'), "{sold_at}");
        for line in body["ticketData"].as_array_mut().context("no ticketData")? {
            assert_eq!(line["createdAt"].take(), sold_at.as_str());
        }
        let line = |tier: usize, quantity: u32, price: &str, total: &str, numbers: Value| {
            json!({"concertId": concert, "ticketTierId": map["seats"][tier]["ticketTierId"], "quantity": quantity,
                   "pricePerTicket": price, "totalAmount": total, "status": "SUCCESS", "createdAt": null,
                   "seatNumbers": numbers})
        };
        let expected = json!({
            "id": body["id"],
            "userName": "Alice",
            "userEmail": "Alice@example.com",
            "ticketData": [
                line(20, 2, "50.00", "100.00", json!(["F-1", "F-2"])),
                line(40, 1, "10.00", "10.00", json!(["G-1"])),
            ],
            "seatIds": [seat(20)?, seat(21)?, seat(40)?],
            "seats": [
                {"id": seat(20)?, "section": "front", "row": 1, "seatNumber": "F-1"},
                {"id": seat(21)?, "section": "front", "row": 1, "seatNumber": "F-2"},
                {"id": seat(40)?, "section": "ga", "row": 4, "seatNumber": "G-1"},
            ],
        });
        assert_eq!(body, expected);
        assert!(body["id"].is_i64());

        // The status of its ticket shows the same booking, which is read from the database.
        let status = client.get(answer.location()?).await?;
        assert_eq!(status.body["booking"], answer.body);

        let (_, map) = client.seat_map(0).await?;
        assert_eq!(
            (&map["totalSeats"], &map["availableSeats"], &map["bookedSeats"]),
            (&json!(100), &json!(97), &json!(3))
        );
        assert_eq!(map["seats"][20]["isBooked"], true);
        assert_eq!(map["seats"][20]["bookedAt"], sold_at.as_str());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_instance_receives_every_outcome() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let accepted = deployment.client().create_booking("alice", &seats[..1]).await?;
        let status = deployment.apis[1].client.final_status(accepted.location()?).await?;
        assert_eq!(status["status"], "confirmed");
        let answers = try_join_all([
            deployment.apis[0].client.book_seats("bob", &seats[1..2]),
            deployment.apis[1].client.book_seats("carol", &seats[2..3]),
        ])
        .await?;
        assert_eq!(statuses(&answers), [201, 201]);
        Ok(())
    })
    .await
}
