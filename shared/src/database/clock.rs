//! The database's clock, which judges all deadlines and sales windows.
//!
//! Instances run on machines whose clocks differ, and one machine's clock must not decide what another's has promised. So
//! each process measures how far its own clock is from the database's, and corrects every moment that it takes by that.
//! While the database is away the last measurement stays in use: a clock that was right a minute ago is still the best there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Database;
use crate::domain::{Clock, Timestamp};

/// How often to measure. A clock that is set while the process runs is wrong for so long.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// A measurement that took longer than this says too little.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);

/// A difference that a person should see to.
const ALERT_BEYOND: Duration = Duration::from_secs(2);

/// How often that person is told while it lasts.
const ALERT_EVERY: Duration = Duration::from_mins(1);

/// The database's clock, as this process knows it.
#[derive(Clone)]
pub struct DatabaseClock {
    machine: Clock,
    /// By how many milliseconds the database's clock is ahead of the machine's.
    offset: Arc<AtomicI64>,
    measured: watch::Sender<bool>,
}

impl DatabaseClock {
    /// Not measured yet: until then it shows what `machine` does.
    pub fn new(machine: Clock) -> Self {
        Self { machine, offset: Arc::default(), measured: watch::Sender::new(false) }
    }

    /// The time by the database's clock.
    pub fn clock(&self) -> Clock {
        let (machine, offset) = (self.machine.clone(), self.offset.clone());
        Clock::new(move || shifted(machine.now(), offset.load(Ordering::Relaxed)))
    }

    /// Whether it has been measured at least once.
    pub fn is_measured(&self) -> bool {
        *self.measured.borrow()
    }

    /// Waits until it has been measured.
    pub async fn measured(&self) {
        // Fails only if the sender is gone, which `self` holds.
        let _ = self.measured.subscribe().wait_for(|measured| *measured).await;
    }

    /// Measures again and again until `stop` is cancelled.
    pub async fn keep_measuring(self, database: Database, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(MEASURE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alerted: Option<Instant> = None;
        let measuring = async {
            loop {
                ticks.tick().await;
                match self.measure(&database).await {
                    Ok(()) => self.alert(&mut alerted),
                    // Who needs the database says so; a measurement that fails changes nothing.
                    Err(error) if self.is_measured() => {
                        debug!("cannot read the database's clock: {error}");
                    }
                    Err(error) => warn!("cannot read the database's clock: {error}"),
                }
            }
        };
        stop.run_until_cancelled(measuring).await;
        Ok(())
    }

    /// Measures once. A measurement that took too long counts only if there is no other.
    pub async fn measure(&self, database: &Database) -> Result<(), sqlx::Error> {
        let machine = self.machine.clone();
        let reading = database.query(move |connection| Box::pin(read_clock(connection, machine.clone())));
        let Reading { offset, round_trip } = reading.await?;
        if round_trip < ROUND_TRIP_MAX || !self.is_measured() {
            self.offset.store(offset, Ordering::Relaxed);
            self.measured.send_if_modified(|measured| !std::mem::replace(measured, true));
        }
        Ok(())
    }

    fn alert(&self, alerted: &mut Option<Instant>) {
        let offset = self.offset.load(Ordering::Relaxed);
        let difference = Duration::from_millis(offset.unsigned_abs());
        if difference <= ALERT_BEYOND {
            if alerted.take().is_some() {
                info!("the clock of this machine agrees with the database's again");
            }
        } else if alerted.is_none_or(|at| at.elapsed() >= ALERT_EVERY) {
            *alerted = Some(Instant::now());
            let direction = if offset < 0 { "ahead of" } else { "behind" };
            error!(
                clock.offset_ms = offset,
                "the clock of this machine is {difference:.1?} {direction} the database's: correct it. Until then deadlines \
                 are judged by the database's"
            );
        }
    }
}

struct Reading {
    offset: i64,
    round_trip: Duration,
}

async fn read_clock(connection: &mut PgConnection, machine: Clock) -> Result<Reading, sqlx::Error> {
    let (before, asked) = (machine.now(), Instant::now());
    let there = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(connection).await?;
    let round_trip = asked.elapsed();
    let offset = Timestamp::from(there).unix_millis() - (before + round_trip / 2).unix_millis();
    Ok(Reading { offset, round_trip })
}

/// `moment` moved by so many milliseconds.
fn shifted(moment: Timestamp, millis: i64) -> Timestamp {
    let moment: DateTime<Utc> = moment.datetime();
    moment.checked_add_signed(TimeDelta::milliseconds(millis)).unwrap_or(moment).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_ahead_shows_the_time_of_the_database() {
        let machine = Timestamp::from_unix_millis(1_000_000).unwrap();
        let clock = DatabaseClock::new(Clock::stopped_at(machine));
        assert_eq!(clock.clock().now(), machine);
        clock.offset.store(-16_000, Ordering::Relaxed);
        assert_eq!(clock.clock().now(), Timestamp::from_unix_millis(984_000).unwrap());
    }
}
