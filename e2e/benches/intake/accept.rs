//! Bookings accepted a second.

use std::time::Duration;

use anyhow::Result;
use hamro_e2e::figures::{median, say};
use hamro_e2e::{Installation, Setup};

use crate::bare::{BareServer, publish_rate};
use crate::wrk;

/// The three are measured in turns, so that a machine that has better and worse moments is fair to all.
const ROUNDS: usize = 3;

/// As many messages as bookings that wrk has on their way.
const IN_FLIGHT: usize = 256;

pub async fn run() -> Result<()> {
    let (mut intake, mut server, mut broker) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        // Anew each time: a queue that is long is slower.
        let installation = start().await?;
        intake.push(wrk::rate(&installation.apis[0].client.url("/"), Some(wrk::BOOK)).await?);
        installation.close().await?;

        let installation = start().await?;
        let bare = BareServer::start(&installation).await?;
        server.push(wrk::rate(&bare.url, Some(wrk::BOOK)).await?);
        broker.push(publish_rate(&installation, IN_FLIGHT, Duration::from_secs(wrk::SECONDS.into())).await?);
        installation.close().await?;
        let last = |figures: &[f64]| figures.last().copied().unwrap_or_default();
        say(format!(
            "accept, round {round}: intake {:.0}/s, server without broker {:.0}/s, bare publisher {:.0}/s",
            last(&intake),
            last(&server),
            last(&broker)
        ));
    }
    let (intake, server, broker) = (median(intake), median(server), median(broker));
    say(format!(
        "accept, medians: intake {intake:.0} bookings/s = {:.2} of the server without broker ({server:.0}/s; wanted 0.5) \
         = {:.2} of a bare publisher, a message a booking ({broker:.0}/s; wanted 0.7)",
        intake / server,
        intake / broker
    ));
    Ok(())
}

async fn start() -> Result<Installation> {
    let variables = vec![("QUEUE_MAX", "100000000")];
    let mut installation = Installation::start(Setup { workers: 0, variables, ..Setup::default() }).await?;
    // What is booked is of no use to anybody.
    installation.expects_leftovers = true;
    Ok(installation)
}
