//! Bookings accepted per second.

use std::time::Duration;

use anyhow::Result;
use hamro_e2e::stats::{median, print};
use hamro_e2e::{Deployment, Setup};

use hamro_verification::baseline::publish::confirmed_rate;

use crate::bare::BareServer;
use crate::wrk;

/// The three measurements alternate, so that a varying machine affects all of them equally.
const ROUNDS: usize = 3;

/// As many outstanding confirms as wrk has concurrent bookings.
const IN_FLIGHT: usize = 256;

pub async fn run() -> Result<()> {
    let (mut intake, mut server, mut broker) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        // A new queue each time, because a long queue is slower.
        Deployment::run(without_workers(), async |deployment| {
            intake.push(wrk::rate(&deployment.apis[0].client.url("/"), Some(wrk::BOOK)).await?);
            Ok(())
        })
        .await?;

        Deployment::run(without_workers(), async |deployment| {
            let bare = BareServer::start(deployment).await?;
            server.push(wrk::rate(&bare.url, Some(wrk::BOOK)).await?);
            let duration = Duration::from_secs(wrk::SECONDS.into());
            let (channel, topology) = (&deployment.channel, &deployment.topology);
            broker.push(confirmed_rate(channel, topology, 1, duration, IN_FLIGHT).await?);
            Ok(())
        })
        .await?;
        let last = |figures: &[f64]| figures.last().copied().unwrap_or_default();
        print(format!(
            "accept, round {round}: intake {:.0}/s, server without broker {:.0}/s, bare publisher {:.0}/s",
            last(&intake),
            last(&server),
            last(&broker)
        ));
    }
    let (intake, server, broker) = (median(intake), median(server), median(broker));
    print(format!(
        "accept, medians: intake {intake:.0} bookings/s = {:.2} of the server without broker ({server:.0}/s; target 0.5) \
         = {:.2} of a bare publisher, one booking per message ({broker:.0}/s; target 0.7)",
        intake / server,
        intake / broker
    ));
    Ok(())
}

/// Nothing settles the bookings.
fn without_workers() -> Setup {
    let variables = vec![("QUEUE_MAX", "100000000")];
    Setup { workers: 0, variables, expects_leftovers: true, ..Setup::default() }
}
