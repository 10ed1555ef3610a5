//! The limit of seats per customer and concert.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_e2e::client::{ApiResponse, Client, booking};
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// The concert at this index of the list, as the body of a `PUT` with this limit.
async fn with_limit(client: &Client, concert: usize, limit: Value) -> Result<ApiResponse> {
    let concerts = client.get("/concerts").await?;
    let mut body = concerts.body["data"][concert].clone();
    body["seatsPerCustomer"] = limit;
    client.write(Method::PUT, "/concerts", &body).await
}

#[tokio::test]
async fn a_concert_limits_the_seats_of_each_customer_over_all_bookings() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.status, 201, "before there was a limit");
        assert_eq!(with_limit(client, 0, json!(3)).await?.body["seatsPerCustomer"], 3);

        let refused = client.book_seats("ALICE", &seats[2..4]).await?;
        assert_eq!((refused.status, refused.code()), (409, "limit-reached"), "{refused:?}");
        let members = ["concertId", "limit", "heldSeats"].map(|member| refused.body[member].clone());
        assert_eq!(members, [json!(concert), json!(3), json!(2)]);
        let detail = refused.body["detail"].as_str().context("no detail")?;
        assert!(detail.ends_with("already has 2. Choose at most 1 seat."), "{detail}");
        let too_many = client.book_seats("bob", &seats[2..6]).await?;
        assert_eq!((too_many.code(), too_many.body.get("heldSeats")), ("limit-reached", None));

        // The other endpoint, under a key: the key is free afterwards.
        let request = |seats: &[i64]| {
            let request = client.request(Method::POST, "/ticket-bookings");
            request.header("Idempotency-Key", "k").header("Prefer", "wait=20").json(&booking("alice", seats))
        };
        let refused = Client::send(request(&seats[2..4])).await?;
        assert_eq!((refused.status, refused.code()), (409, "limit-reached"), "{refused:?}");
        let booked = Client::send(request(&seats[2..3])).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        assert_eq!(client.book_seats("alice", &seats[3..4]).await?.body["heldSeats"], 3);
        let other_concert = client.seat_ids(1).await?;
        assert_eq!(client.book_seats("alice", &other_concert[..4]).await?.status, 201);

        assert_eq!(with_limit(client, 0, Value::Null).await?.body.get("seatsPerCustomer"), None);
        assert_eq!(client.book_seats("alice", &seats[3..4]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_limit_of_a_concert_is_a_whole_number_from_1_and_replaces_that_of_the_workers() -> Result<()> {
    let variables = vec![("SEATS_PER_CUSTOMER", "1"), ("IGNORE_EMAIL_TAGS", "true")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        for wrong in [json!(0), json!(-1), json!("4"), json!(1.5), json!(2_147_483_648_i64)] {
            let refused = with_limit(client, 0, wrong).await?;
            assert_eq!(
                (refused.status, &refused.body["errors"][0]["field"]),
                (422, &json!("seatsPerCustomer"))
            );
        }
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.code(), "limit-reached");
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        let tagged = client.book_seats("alice+friends", &seats[1..2]).await?;
        assert_eq!((tagged.code(), &tagged.body["heldSeats"]), ("limit-reached", &json!(1)));
        assert_eq!(with_limit(client, 0, json!(2.0)).await?.body["seatsPerCustomer"], 2);
        assert_eq!(client.book_seats("alice+friends", &seats[1..2]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_who_books_everywhere_at_once_never_exceeds_the_limit() -> Result<()> {
    const LIMIT: i64 = 7;
    let variables = vec![("SEATS_PER_CUSTOMER", "7"), ("BATCH_MAX", "4")];
    let setup = Setup { apis: 2, workers: 3, variables, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let clients: Vec<Client> = deployment.apis.iter().map(|api| api.client.clone()).collect();
        // Of each two bookings, one is Alice's.
        let bookings = seats.iter().enumerate().map(|(n, seat)| {
            let customer = if n % 2 == 0 { "alice".to_owned() } else { format!("customer{n}") };
            let client = clients[n / 2 % 2].clone();
            async move { client.create_booking(&customer, &[*seat]).await }
        });
        let accepted = try_join_all(bookings).await?;
        // Its locks end with its transaction.
        let mut killed = deployment.workers.remove(0);
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        let (mut confirmed, mut limited) = (0, 0);
        for (n, answer) in accepted.iter().enumerate() {
            let status = deployment.client().final_status(answer.location()?).await?;
            match (status["status"].as_str(), status["problem"]["code"].as_str()) {
                (Some("confirmed"), _) if n % 2 == 0 => confirmed += 1,
                (Some("confirmed"), _) => {}
                (_, Some("limit-reached")) if n % 2 == 0 => limited += 1,
                _ => panic!("{status}"),
            }
        }
        assert_eq!((confirmed, confirmed + limited), (LIMIT, i64::try_from(seats.len().div_ceil(2))?));
        let held = "SELECT count(*) FROM sale_seats JOIN sales ON sales.id = sale_id WHERE user_email LIKE 'alice@%'";
        assert_eq!(sqlx::query_scalar::<_, i64>(held).fetch_one(&deployment.pool).await?, LIMIT);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deleted_concert_leaves_no_lock_on_a_customer() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let locks =
            "INSERT INTO customer_locks (concert_id, customer_digest) SELECT id, 'digest' FROM concerts";
        sqlx::query(locks).execute(&deployment.pool).await?;
        let (concert, _) = client.seat_map(0).await?;
        let deleted = client.write(Method::DELETE, &format!("/concerts/{concert}"), &json!({})).await?;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        let left = "SELECT count(*) FROM customer_locks";
        assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&deployment.pool).await?, 2);
        Ok(())
    })
    .await
}
