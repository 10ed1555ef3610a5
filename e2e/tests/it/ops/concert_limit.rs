//! The limit of a single concert's rate, which all instances share.

use anyhow::Result;
use hamro_e2e::{Client, Deployment, Setup, wait_until};

use super::limit::flood;
use super::{get, revision, set_concert_controls, set_controls};

/// Waits until every instance obeys the newest controls.
async fn all_obey(clients: &[Client]) -> Result<()> {
    let newest = revision(&clients[0]).await?;
    for client in clients {
        wait_until("the instance knows the controls", async || {
            Ok((get(client, "/ops/controls").await?.body["revision"] == newest).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn instances_together_accept_what_the_limit_of_a_concert_permits() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::queueing() }, async |deployment| {
        let clients: Vec<Client> = deployment.apis.iter().map(|api| api.client.clone()).collect();
        let (concert, _) = clients[0].seat_map(0).await?;
        let (seats, others) = (clients[0].seat_ids(0).await?, clients[0].seat_ids(1).await?);
        set_concert_controls(&clients[0], &concert, false, Some(50)).await?;
        all_obey(&clients).await?;
        for (asked, rates, seat) in
            [(&clients[..], &[75, 25][..], seats[0]), (&clients[..1], &[100], seats[1])]
        {
            let (accepted, of_others) =
                tokio::try_join!(flood(asked, rates, seat), flood(&clients, &[20, 20], others[0]))?;
            assert!((45.0..=53.0).contains(&accepted), "{accepted} of {rates:?} per second were accepted");
            assert!(
                of_others > 36.0,
                "{of_others} of 40 per second were accepted of a concert without a limit"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn bookings_that_the_limit_of_a_concert_refuses_use_up_nothing_of_the_limit_of_all() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::queueing() }, async |deployment| {
        let clients: Vec<Client> = deployment.apis.iter().map(|api| api.client.clone()).collect();
        let (concert, _) = clients[0].seat_map(0).await?;
        let (seats, others) = (clients[0].seat_ids(0).await?, clients[0].seat_ids(1).await?);
        set_controls(&clients[0], false, Some(60)).await?;
        set_concert_controls(&clients[0], &concert, false, Some(10)).await?;
        all_obey(&clients).await?;
        let (limited, free) =
            tokio::try_join!(flood(&clients, &[60, 60], seats[0]), flood(&clients, &[45, 45], others[0]))?;
        // Otherwise the other concert would get less than half of the limit: it has less than half of the demand.
        assert!((6.0..=11.0).contains(&limited), "{limited} of 120 per second were accepted");
        assert!((40.0..=56.0).contains(&free), "{free} of 90 per second were accepted of the other concert");
        let all = limited + free;
        assert!((52.0..=64.0).contains(&all), "{all} per second were accepted");
        Ok(())
    })
    .await
}
