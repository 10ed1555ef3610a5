//! Bookings from the request to the outcome, through real processes.

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use hamro_e2e::client::{Answer, booking};
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup, ledger, wait_until};
use hamro_shared::queue::Parcel;
use serde_json::{Value, json};

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[tokio::test]
async fn an_accepted_booking_has_a_ticket_that_reports_its_outcome() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
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
async fn exactly_one_of_100_clients_gets_a_seat() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let seat = client.seat_ids(0).await?[0];

        let customers: Vec<String> = (0..100).map(|n| format!("customer{n}")).collect();
        let answers = try_join_all(
            customers.iter().map(|customer| client.book_seats(customer, std::slice::from_ref(&seat))),
        )
        .await?;

        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(won.len(), 1);
        assert_eq!(lost.len(), 99);
        for answer in &lost {
            assert_eq!((answer.status, answer.code()), (409, "seats-taken"), "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.body["seatIds"], json!([seat]));
        }
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
        assert_eq!(ledger::count(&deployment.pool, "bookings").await?, 100);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_clients_that_want_different_seats_both_get_them() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let (alice, bob) = (seats[..1].to_vec(), seats[1..2].to_vec());
        let answers =
            try_join_all([client.book_seats("alice", &alice), client.book_seats("bob", &bob)]).await?;
        assert_eq!(statuses(&answers), [201, 201]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn overlapping_bookings_in_opposite_order_neither_deadlock_nor_share_a_seat() -> Result<()> {
    // Batches of one booking, so that the workers' transactions often conflict.
    let setup =
        Setup { workers: 4, variables: vec![("BATCH_MAX", "1"), ("PREFETCH", "1")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;

        let mut bookings = Vec::new();
        for n in 0..60 {
            let mut wanted = seats[n % 8..n % 8 + 5].to_vec();
            if n % 2 == 1 {
                wanted.reverse();
            }
            bookings.push(async move { client.book_seats(&format!("customer{n}"), &wanted).await });
        }
        let answers = join_all(bookings).await.into_iter().collect::<Result<Vec<_>>>()?;
        for answer in &answers {
            assert!([201, 409].contains(&answer.status), "{answer:?}");
        }
        let sold: usize = answers
            .iter()
            .filter_map(|answer| answer.body["seatIds"].as_array().filter(|_| answer.status == 201))
            .map(Vec::len)
            .sum();
        assert_eq!(i64::try_from(sold)?, ledger::count(&deployment.pool, "sale_seats").await?);
        assert!(sold >= 5, "nothing was sold");

        let deadlocks: i64 =
            sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
                .fetch_one(&deployment.pool)
                .await?;
        assert_eq!(deadlocks, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_redelivered_message_changes_nothing() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let envelope = envelope("alice", &seats[..2])?;
        let location = format!("/ticket-bookings/{}", envelope.ticket.id);
        let mut parcel = Parcel::default();
        parcel.push(&envelope.clone().encode());
        parcel.push(&envelope.encode());
        let parcel = parcel.encode();

        for _ in 0..5 {
            deployment.publish(&parcel).await?;
        }
        let status = client.final_status(&location).await?;
        assert_eq!(status["status"], "confirmed");
        deployment.publish(&parcel).await?;
        deployment.drained().await?;

        assert_eq!(client.final_status(&location).await?, status);
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
        // The other row is the marker of `drained`.
        assert_eq!(ledger::count(&deployment.pool, "bookings").await?, 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn unreadable_messages_become_dead_letters_and_affect_no_other_booking() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let good = envelope("alice", &seats[..1])?;
        let bad = envelope("bob", &seats[1..2])?;
        let (good_location, bad_location) =
            (format!("/ticket-bookings/{}", good.ticket.id), format!("/ticket-bookings/{}", bad.ticket.id));
        let unreadable = String::from_utf8(bad.encode())?.replace("bob@example.com", "nobody");
        let mut parcel = Parcel::default();
        parcel.push(unreadable.as_bytes());
        parcel.push(&good.encode());

        deployment.publish(b"no parcel").await?;
        deployment.publish(&parcel.encode()).await?;

        assert_eq!(client.final_status(&good_location).await?["status"], "confirmed");
        let failed = client.final_status(&bad_location).await?;
        assert_eq!(failed["status"], "failed");
        assert_eq!(failed["problem"]["code"], "internal");
        let kept = wait_until("both dead letters are stored", async || {
            let letters: Vec<(String, Vec<u8>)> =
                sqlx::query_as("SELECT reason, payload FROM dead_letters ORDER BY reason")
                    .fetch_all(&deployment.pool)
                    .await?;
            Ok((letters.len() == 2).then_some(letters))
        })
        .await?;
        assert_eq!(kept[0], ("unreadable-envelope".to_owned(), unreadable.into_bytes()));
        assert_eq!(kept[1], ("unreadable-parcel".to_owned(), b"no parcel".to_vec()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_has_expired_cannot_be_sold_later() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("BOOKING_WAIT", "200ms")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;

        let answer = deployment.client().book_seats("alice", &seats[..1]).await?;
        assert_eq!((answer.status, answer.code()), (503, "expired-in-queue"), "{answer:?}");
        let location = answer.location()?.to_owned();
        let expired = deployment.client().final_status(&location).await?;
        assert_eq!(expired["status"], "expired");
        let mut problem = expired["problem"].clone();
        assert_eq!(problem["code"].take(), "expired-in-queue");

        deployment.start_worker(&[]).await?;
        deployment.drained().await?;
        assert_eq!(deployment.client().final_status(&location).await?, expired);
        // The seat can still be sold to another customer.
        let next = deployment.client().create_booking("bob", &seats[..1]).await?;
        assert_eq!(deployment.client().final_status(next.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_status_read_expires_a_ticket_past_its_deadline() -> Result<()> {
    let setup = Setup {
        workers: 0,
        variables: vec![("BOOKING_DEADLINE", "300ms"), ("BOOKING_WAIT", "200ms")],
        ..Setup::default()
    };
    Deployment::run(setup, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let accepted = deployment.client().create_booking("alice", &seats[..1]).await?;
        assert_eq!(deployment.client().final_status(accepted.location()?).await?["status"], "expired");
        deployment.start_worker(&[]).await?;
        deployment.drained().await?;
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

#[tokio::test]
async fn an_idempotency_key_of_spaces_is_valid() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let request = client
            .request(reqwest::Method::POST, "/ticket-bookings/seats")
            .header("Idempotency-Key", "\"   \"");
        let answer = hamro_e2e::Client::send(request.json(&booking("alice", &seats[..1]))).await?;
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
            let request = client
                .request(reqwest::Method::POST, "/ticket-bookings/seats")
                .header("Idempotency-Key", "\"k1\"");
            hamro_e2e::Client::send(request.json(&booking("alice", seats))).await
        };
        let attempts = (0..20).map(|_| book(&seats[..2]));
        let answers = try_join_all(attempts).await?;
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
        }
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);

        let other = book(&seats[5..6]).await?;
        assert_eq!((other.status, other.code()), (422, "idempotency-key-reused"));
        Ok(())
    })
    .await
}
