//! Clients that want the same seats, or seats that overlap.

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use hamro_e2e::{Deployment, Setup, tables};
use serde_json::json;

#[tokio::test]
async fn exactly_one_of_100_clients_gets_a_seat() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::queueing() }, async |deployment| {
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
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 100);
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
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201]);
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
        assert_eq!(i64::try_from(sold)?, tables::count(&deployment.pool, "sale_seats").await?);
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
