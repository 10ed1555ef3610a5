//! What running instances do when the database is restored under them.

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Events, Setup, wait_until};
use serde_json::json;

use super::check;

#[tokio::test]
async fn a_running_instance_forgets_outcomes_and_seat_maps_of_another_epoch() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        let map = format!("/seats/concert/{concert}");
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        let ticket = accepted.location()?;
        assert_eq!(client.final_status(ticket).await?["status"], "confirmed");
        let mut events = Events::open(&client, &format!("{map}/events")).await?;
        // The map was loaded before the sale, which may arrive as a change after the snapshot.
        while events.next().await?.context("no sale")?.data["bookedSeatIds"] != json!(&seats[..1]) {}
        // The stream may be ahead of the documents.
        let tag = wait_until("the seat map shows the sale", async || {
            let read = client.get(&map).await?;
            let is_booked = read.body["seats"][0]["isBooked"] == true;
            Ok(if is_booked { read.header("etag").map(str::to_owned) } else { None })
        })
        .await?;

        // A history in which another buyer has got another seat of the tier. The counters, and even the versions of the tiers,
        // are the same.
        let history = format!(
            "WITH other AS (SELECT overlay(gen_random_uuid()::text PLACING '0190' FROM 1 FOR 4)::uuid AS ticket),
                  booking AS (UPDATE bookings SET ticket_id = ticket FROM other),
                  sale AS (UPDATE sales SET ticket_id = ticket FROM other),
                  sold AS (UPDATE sale_seats SET seat_id = {1})
             UPDATE seats SET booked_at = CASE WHEN id = {1} THEN now() END WHERE id IN ({0}, {1})",
            seats[0], seats[1]
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(history)).execute(&deployment.pool).await?;
        assert_eq!(client.get(ticket).await?.body["status"], "confirmed");
        assert_eq!(client.get(&map).await?.header("etag"), Some(tag.as_str()));

        let (status, printed, _) = check(deployment, &["--after-restore"]).await?;
        assert_eq!(status, Some(0), "{printed}");
        deployment.apis[0].process.line_after("the database has a new epoch").await?;
        let change = events.next().await?.context("no change")?;
        assert_eq!(
            change.data,
            json!({"availableSeats": 99, "bookedSeatIds": &seats[1..2], "freedSeatIds": &seats[..1]})
        );
        assert_ne!(client.get(&map).await?.header("etag"), Some(tag.as_str()));
        wait_until("the lost booking is forgotten", async || {
            Ok((client.get(ticket).await?.body["status"] == "queued").then_some(()))
        })
        .await
    })
    .await
}
