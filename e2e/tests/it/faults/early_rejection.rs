//! Early rejection under load: no free seat is refused, and no first attempt is sold after its retry was refused.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join;
use hamro_e2e::simulated_clients::{ClientBehaviour, SimulatedClients};
use hamro_e2e::{Deployment, FaultTest, Setup, wait_until};
use hamro_verification::contract::BookingIntent;
use hyper::Method;
use serde_json::json;
use uuid::Uuid;

/// The seats that all buyers want, and how many sales of them are released. A released seat is free three seconds later.
const WANTED: usize = 6;
const RELEASES: usize = 2 * WANTED;

/// Releases all seats of the booking.
pub async fn release(deployment: &Deployment, ticket: Uuid) -> Result<()> {
    wait_until("the booking is released", async || {
        let path = format!("/ticket-bookings/{ticket}/release");
        let body = json!({"reason": "a test"});
        let released = deployment.client().write(Method::POST, &path, &body).await?;
        // The database may be away. A release that is repeated changes nothing.
        ensure!(matches!(released.status, 200 | 500..), "{released:?}");
        Ok((released.status == 200).then_some(()))
    })
    .await
}

/// Waits until a ticket that is issued now could have the seat, and more than any error of a clock has passed since.
pub async fn is_free(deployment: &Deployment, seat: i32) -> Result<()> {
    let query = "SELECT booked_at IS NULL AND free_from < now() - interval '1.5 s' FROM seats WHERE id = $1";
    wait_until("the seat is free", async || {
        let is_free: Option<bool> = sqlx::query_scalar(query).bind(seat).fetch_one(&deployment.pool).await?;
        Ok(is_free.unwrap_or_default().then_some(()))
    })
    .await
}

/// Buyers who want a few seats that are released again and again, each with retries under its key.
async fn rush(deployment: &Deployment, clients: &SimulatedClients) -> Result<usize> {
    let wanted: Vec<BookingIntent> = (0..WANTED).map(|_| clients.intent_for_free_seat()).collect();
    let seats: Vec<i32> = wanted.iter().map(|intent| intent.seats[0]).collect();
    let is_over = AtomicBool::new(false);
    let buying = async {
        let (mut refused, mut next) = (0, 0);
        while !is_over.load(Ordering::Relaxed) {
            let intent = clients.intent_for(seats[next % seats.len()]);
            next += 1;
            for _ in 0..2 {
                let response = clients.try_once(&intent).await;
                refused += usize::from(response.is_early_rejection());
            }
        }
        anyhow::Ok(refused)
    };
    let releasing = async {
        let query = "SELECT sale.ticket_id FROM sales sale JOIN sale_seats sold ON sold.sale_id = sale.id
                     WHERE sold.seat_id = ANY($1) AND sold.released_at IS NULL";
        let mut releases: HashSet<Uuid> = HashSet::new();
        while releases.len() < RELEASES {
            let sold: Vec<Uuid> = sqlx::query_scalar(query).bind(&seats).fetch_all(&deployment.pool).await?;
            for ticket in sold {
                release(deployment, ticket).await?;
                releases.insert(ticket);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    let (refused, ()) = try_join(buying, releasing).await?;
    Ok(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_during_a_rush_refuse_no_free_seat() -> Result<()> {
    FaultTest::start(Setup { apis: 2, workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            rush(deployment, clients).await?;
            // Refusals are the rule once nothing is released any more.
            let seat = clients.intent_for_free_seat();
            clients.book_and_follow(&seat, ClientBehaviour::Poll).await?;
            wait_until("the seat is refused early", async || {
                let response = clients.try_once(&clients.intent_for(seat.seats[0])).await;
                Ok(response.is_early_rejection().then_some(()))
            })
            .await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_announcements_that_lags_behind_refuses_no_free_seat() -> Result<()> {
    FaultTest::start(Setup { apis: 2, workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            deployment.lose_announcements().await?;
            rush(deployment, clients).await.map(drop)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_lost_during_a_rush_refuse_no_free_seat() -> Result<()> {
    FaultTest::start(Setup { apis: 2, workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE datname = current_database() AND application_name LIKE 'hamro-api%'";
            let pool = deployment.pool.clone();
            let losing = async {
                for _ in 0..3 {
                    clients.wait_for_ended(60).await?;
                    sqlx::query(terminate).execute(&pool).await.context("ending the sessions")?;
                }
                anyhow::Ok(())
            };
            try_join(rush(deployment, clients), losing).await.map(drop)
        })
        .await
}
