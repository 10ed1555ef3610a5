//! The restore drill: a load, a backup in the middle of it, more load, the loss of the server, and a restore to a moment before,
//! while all programs run.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use hamro_e2e::restorable_postgres::RestorablePostgres;
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use serde_json::Value;

use super::{check, wait_until_seats_are_free};

const MOMENT: &str = "before the mistake";

/// The seats that are booked in one phase, each in a booking of its own.
const PHASE: usize = 30;

/// A booking that was confirmed.
struct Sold {
    ticket: String,
    status: Value,
}

/// Books each of these seats, and waits until all are confirmed.
async fn sell(client: &Client, customer: &str, seats: &[i64]) -> Result<Vec<Sold>> {
    let mut accepted = Vec::new();
    for seat in seats {
        let response = client.create_booking(customer, &[*seat]).await?;
        ensure!(response.status == 202, "{response:?}");
        accepted.push(response.location()?.to_owned());
    }
    let mut sold = Vec::new();
    for ticket in accepted {
        let status = client.final_status(&ticket).await?;
        ensure!(status["status"] == "confirmed", "{status}");
        sold.push(Sold { ticket, status });
    }
    Ok(sold)
}

fn number(sold: &Sold) -> Result<i64> {
    sold.status["booking"]["id"].as_i64().with_context(|| format!("no number: {}", sold.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_to_a_moment_while_programs_run_keeps_what_was_sold_before_and_sells_nothing_twice()
-> Result<()> {
    let postgres = RestorablePostgres::start("restore-drill").await?;
    let variables =
        vec![("DATABASE_URL", postgres.url()), ("BOOKING_DEADLINE", "30s"), ("AUDIT_EVERY", "1s")];
    // Losing the database is logged as an error.
    let setup = Setup { apis: 2, workers: 2, variables, expects_errors: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let clients: Vec<Client> = deployment.apis.iter().map(|api| api.client.clone()).collect();
        let client = &clients[0];
        let mut seats = Vec::new();
        for concert in 0..3 {
            seats.extend(client.seat_ids(concert).await?);
        }
        let mut phases = seats.chunks(PHASE);
        let mut next = || phases.next().context("no seats");

        let mut kept = sell(client, "before", next()?).await?;
        let (during, backup) = tokio::join!(sell(client, "during", next()?), postgres.back_up());
        backup?;
        kept.extend(during?);
        kept.extend(sell(client, "after", next()?).await?);
        postgres.name_this_moment(MOMENT).await?;
        let lost_seats = next()?;
        let lost = sell(client, "lost", lost_seats).await?;

        postgres.destroy()?;
        // Accepted while there is no database.
        let queued_seats = next()?;
        let queued = client.create_booking("queued", &queued_seats[..1]).await?;
        assert_eq!(queued.status, 202, "{queued:?}");
        postgres.restore(MOMENT).await?;
        let (status, printed, error) = check(deployment, &["--after-restore"]).await?;
        assert_eq!(status, Some(0), "{printed}{error}");
        for api in &mut deployment.apis {
            api.process.line_after("the database has a new epoch").await?;
        }

        // What was queued is settled: it is confirmed if a worker was faster than the command, which releases all unsold seats for
        // later bookings. What was sold before the moment is as it was.
        let settled = client.final_status(queued.location()?).await?;
        let is_released = settled["problem"]["code"] == "seats-taken";
        assert!(settled["status"] == "confirmed" || is_released, "{settled}");
        for client in &clients {
            client.wait_until_ready().await?;
            for Sold { ticket, status } in &kept {
                assert_eq!(client.get(ticket).await?.body, *status);
            }
        }
        // What was sold after it is lost on every instance. Its seats are sold again, under other numbers.
        for client in &clients {
            for Sold { ticket, .. } in &lost {
                let status = client.get(ticket).await?.body;
                assert_ne!(status["status"], "confirmed", "{status}");
            }
        }
        wait_until_seats_are_free(deployment).await?;
        let again = sell(client, "again", lost_seats).await?;
        let numbers: BTreeSet<i64> =
            kept.iter().chain(&lost).chain(&again).map(number).collect::<Result<_>>()?;
        assert_eq!(numbers.len(), kept.len() + lost.len() + again.len(), "a number was given out twice");
        for Sold { ticket, .. } in &lost {
            assert_eq!(client.final_status(ticket).await?["status"], "expired");
        }
        for seat in lost_seats {
            let refused = client.book_seats("late", &[*seat]).await?;
            assert!(["seats-taken", "sold-out"].contains(&refused.code()), "{refused:?}");
        }
        auditor_finds_nothing(deployment).await?;
        let (status, printed, _) = check(deployment, &[]).await?;
        assert_eq!(status, Some(0), "{printed}");
        Ok(())
    })
    .await
}

/// Waits for a pass of the auditor that began after now.
async fn auditor_finds_nothing(deployment: &mut Deployment) -> Result<()> {
    let now: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM now())::float8").fetch_one(&deployment.pool).await?;
    let worker = &mut deployment.workers[0];
    let metrics = wait_until("the auditor has checked everything", async || {
        let metrics = worker.metrics().await?;
        let completed = metrics.value("hamro_audit_last_completed_timestamp_seconds", &[]);
        Ok(completed.is_some_and(|completed| completed > now + 2.0).then_some(metrics))
    })
    .await?;
    assert_eq!(metrics.value("hamro_audit_mismatches", &[]), Some(0.0));
    assert_eq!(metrics.value("hamro_audit_double_sold_seats", &[]), Some(0.0));
    Ok(())
}
