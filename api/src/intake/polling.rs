//! Reads the controls once a second, because their announcement may have been lost, and the seats of the concerts that have
//! controls.

use std::time::Duration;

use hamro_shared::database::{Database, sold_seats};
use hamro_shared::domain::ConcertId;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::seats::{KnownSeats, SeatIndex, read_runs};
use super::stored::StoredControls;
use super::{Intake, stored};

const POLL_EVERY: Duration = Duration::from_secs(1);

/// The SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Keeps the controls current until `stop` is cancelled.
pub async fn run(intake: Intake, database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seats = KnownSeats::default();
    let mut is_failing = false;
    let mut next = async || {
        tokio::select! {
            _ = ticks.tick() => {}
            () = intake.concerts_changed() => {}
        }
    };
    let polling = async {
        loop {
            next().await;
            match poll(&intake, &database, &mut seats).await {
                Ok(()) => {
                    if is_failing {
                        info!("the controls of the intake can be read again");
                    }
                    is_failing = false;
                }
                // One line for each outage.
                Err(error) if !is_failing => {
                    warn!("cannot read the controls of the intake, so the last known ones hold: {error}");
                    is_failing = true;
                }
                Err(_) => {}
            }
        }
    };
    stop.run_until_cancelled(polling).await;
    Ok(())
}

async fn poll(intake: &Intake, database: &Database, seats: &mut KnownSeats) -> Result<(), sqlx::Error> {
    let began_at = Instant::now();
    intake.on_stored(read_controls(database).await?, began_at);
    let concerts = intake.controlled_concerts();
    let seats = if concerts.is_empty() {
        *seats = KnownSeats::default();
        Some(SeatIndex::default())
    } else {
        read_changed_seats(database, seats, concerts).await?
    };
    if let Some(seats) = seats {
        intake.on_seats(seats);
    }
    Ok(())
}

async fn read_controls(database: &Database) -> Result<StoredControls, sqlx::Error> {
    match database.query(|connection| Box::pin(stored::read(connection))).await {
        // The schema is older than this program, so nobody can have paused the intake.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => {
            Ok(StoredControls::default())
        }
        result => result,
    }
}

/// The seats of these concerts; `None` if they are as they were.
async fn read_changed_seats(
    database: &Database,
    known: &mut KnownSeats,
    concerts: Vec<ConcertId>,
) -> Result<Option<SeatIndex>, sqlx::Error> {
    // Before the seats: if these change in between, they are read again.
    let compared = concerts.clone();
    let found = database
        .query(move |connection| {
            let concerts = compared.clone();
            Box::pin(async move { sold_seats::versions(connection, &concerts).await })
        })
        .await?;
    let outdated = known.outdated(&concerts, found.as_ref());
    if outdated.is_empty() {
        return Ok(None);
    }
    let wanted = outdated.clone();
    let runs = database
        .query_large(move |connection| {
            let concerts = wanted.clone();
            Box::pin(async move { read_runs(connection, &concerts).await })
        })
        .await?;
    Ok(Some(known.update(&concerts, found, &outdated, runs)))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::fixtures::assert_ends_at_once;

    #[tokio::test]
    async fn a_database_that_does_not_respond_does_not_delay_the_end() {
        assert_ends_at_once(|database, stop| run(Intake::new(Uuid::nil()), database, stop)).await;
    }
}
