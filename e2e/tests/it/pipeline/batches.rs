//! Which bookings a worker settles in one batch, and in which order.

use std::collections::BTreeSet;

use anyhow::Result;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use hamro_shared::domain::TicketId;
use hamro_shared::queue::{Envelope, Parcel};

/// Publishes the bookings in one parcel, and returns the paths of their statuses.
async fn publish(deployment: &Deployment, bookings: &[Envelope]) -> Result<Vec<String>> {
    let mut parcel = Parcel::default();
    for envelope in bookings {
        parcel.push(&envelope.clone().encode());
    }
    deployment.publish(&parcel.encode()).await?;
    Ok(bookings.iter().map(|envelope| format!("/ticket-bookings/{}", envelope.ticket.id)).collect())
}

async fn is_settled(deployment: &Deployment, ticket: TicketId) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM bookings WHERE ticket_id = $1)")
        .bind(ticket.0)
        .fetch_one(&deployment.pool)
        .await?)
}

#[tokio::test]
async fn bookings_that_arrive_during_a_batch_are_settled_together() -> Result<()> {
    let variables = vec![("RUST_LOG", "info,hamro_worker=debug")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let holder = deployment.hold_seat(seats[0]).await?;
        let first = client.create_booking("alice", &seats[..1]).await?;
        deployment.worker_waits_for_a_lock().await?;
        let mut others = Vec::new();
        for seat in &seats[1..11] {
            let accepted = client.create_booking("bob", &[*seat]).await?;
            others.push(accepted.location()?.to_owned());
        }
        deployment.workers[0].line_after("10 bookings are buffered").await?;
        holder.rollback().await?;
        assert_eq!(client.final_status(first.location()?).await?["status"], "confirmed");
        let mut moments = BTreeSet::new();
        for other in &others {
            let status = client.final_status(other).await?;
            assert_eq!(status["status"], "confirmed");
            moments.insert(status["settledAt"].to_string());
        }
        assert_eq!(moments.len(), 1, "{moments:?}");
        Ok(())
    })
    .await
}

/// Each booking shares a seat with the previous one, so every second booking is sold if they are settled in order.
#[tokio::test]
async fn a_worker_with_two_batches_in_flight_sells_in_order_of_arrival() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let mut seats = Vec::new();
        for concert in 0..3 {
            seats.extend(deployment.client().seat_ids(concert).await?);
        }
        let bookings: Vec<Envelope> =
            seats.windows(2).map(|pair| envelope("alice", pair)).collect::<Result<_>>()?;
        let mut locations = Vec::new();
        for pair in bookings.chunks(2) {
            locations.extend(publish(deployment, pair).await?);
        }
        deployment.start_worker(&[("BATCH_MAX", "2")]).await?;
        let mut statuses = Vec::new();
        for location in &locations {
            let status = deployment.client().final_status(location).await?;
            statuses.push(status["status"].as_str().unwrap_or_default().to_owned());
        }
        let expected = ["confirmed", "rejected"].into_iter().cycle();
        assert!(statuses.iter().zip(expected).all(|(status, expected)| status == expected), "{statuses:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_batch_locks_its_seats_only_after_the_previous_batch_has_locked_its_own() -> Result<()> {
    let variables = vec![("RUST_LOG", "info,hamro_worker=debug"), ("BATCH_MAX", "2")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let holder = deployment.hold_seat(seats[0]).await?;
        // This batch waits for its first seat and has not locked the second one yet.
        let first =
            publish(deployment, &[envelope("alice", &seats[..2])?, envelope("bob", &seats[2..3])?]).await?;
        deployment.worker_waits_for_a_lock().await?;
        let later = ["carol", "dave", "erin"].map(|customer| envelope(customer, &seats[1..2]));
        let later = later.into_iter().collect::<Result<Vec<_>>>()?;
        let second = publish(deployment, &later).await?;
        deployment.workers[0].line_after("settling a batch of 3").await?;
        for _ in 0..200 {
            assert!(
                !is_settled(deployment, later[0].ticket.id).await?,
                "it locked a seat that the previous batch wants"
            );
        }
        holder.rollback().await?;
        assert_eq!(deployment.client().final_status(&first[0]).await?["status"], "confirmed");
        for location in &second {
            assert_eq!(deployment.client().final_status(location).await?["status"], "rejected");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_full_batch_overtakes_a_blocked_one_but_is_acknowledged_after_it() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.start_worker(&[("BATCH_MAX", "2")]).await?;
        let (here, elsewhere) =
            (deployment.client().seat_ids(0).await?, deployment.client().seat_ids(1).await?);
        let blocked = [envelope("alice", &here[..1])?, envelope("bob", &here[1..2])?];
        let overtaking = [envelope("carol", &elsewhere[..1])?, envelope("dave", &elsewhere[1..2])?];
        // A batch locks tiers last. Its seats are locked by then, so the next batch may start.
        let mut holder = deployment.pool.begin().await?;
        sqlx::query(
            "SELECT FROM ticket_tiers tier JOIN seats ON seats.ticket_tier_id = tier.id \
             WHERE seats.id = $1 FOR UPDATE OF tier",
        )
        .bind(i32::try_from(here[0])?)
        .execute(&mut *holder)
        .await?;
        let mut locations = publish(deployment, &blocked).await?;
        deployment.worker_waits_for_a_lock().await?;
        locations.extend(publish(deployment, &overtaking).await?);
        wait_until("the second batch is settled", async || {
            Ok(is_settled(deployment, overtaking[1].ticket.id).await?.then_some(()))
        })
        .await?;
        assert!(!is_settled(deployment, blocked[0].ticket.id).await?);

        // A parcel that was already acknowledged would not be redelivered.
        deployment.kill_worker(0).await?;
        holder.rollback().await?;
        deployment.start_worker(&[]).await?;
        for location in &locations {
            assert_eq!(deployment.client().final_status(location).await?["status"], "confirmed");
        }
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 4);
        Ok(())
    })
    .await
}
