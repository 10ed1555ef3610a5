//! Changing `TICKET_KEYS` one instance after another ("Change a key or a token" in docs/RUNBOOK.md).

use anyhow::Result;
use hamro_e2e::{Deployment, Setup};

const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// The statuses of a status request to the instance `reader` for a ticket of the instance `issuer`.
async fn status_of_ticket(deployment: &Deployment, issuer: usize, reader: usize) -> Result<u16> {
    let issuer = &deployment.apis[issuer].client;
    let accepted = issuer.create_booking("alice", &issuer.seat_ids(0).await?[..1]).await?;
    Ok(deployment.apis[reader].client.get(accepted.location()?).await?.status)
}

#[tokio::test]
async fn each_step_of_a_key_rotation_keeps_every_ticket_valid_on_every_instance() -> Result<()> {
    let setup = Setup { apis: 0, workers: 0, expects_leftovers: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let (both, swapped) = (format!("{OLD},{NEW}"), format!("{NEW},{OLD}"));
        for keys in [OLD, both.as_str(), swapped.as_str(), NEW] {
            deployment.start_api(&[("TICKET_KEYS", keys)]).await?;
        }
        // While a step is taken, some instances have the keys of that step and some those of the step before.
        for (before, after) in [(0, 1), (1, 2), (2, 3)] {
            for (issuer, reader) in [(before, before), (before, after), (after, before), (after, after)] {
                let status = status_of_ticket(deployment, issuer, reader).await?;
                // In the last step, tickets of the old key are given up. None are issued any more.
                assert_eq!(status, 200, "a ticket of instance {issuer} on instance {reader}");
            }
        }
        // The wrong order: the first step adds the new key in front.
        assert_eq!(status_of_ticket(deployment, 2, 0).await?, 404);
        // The last step before the old tickets are over.
        assert_eq!(status_of_ticket(deployment, 1, 3).await?, 404);
        Ok(())
    })
    .await
}
