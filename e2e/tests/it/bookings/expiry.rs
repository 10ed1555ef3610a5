//! Tickets whose deadline passes before they are settled.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup};

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
