//! The database clock, which decides all deadlines and sales windows.
//!
//! Instances run on machines whose clocks differ, so a deadline set by one clock must not be judged by another. Each
//! process measures the offset between its own clock and the database clock, and corrects every timestamp that it takes
//! by it. While the database is unreachable, the last measurement stays in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Database;
use crate::domain::{Clock, Timestamp};
use crate::telemetry::metrics::MetricsRegistry;

/// How often to measure: a clock that is set while the process runs stays uncorrected for this long.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

/// A slower measurement is too imprecise to replace an earlier one.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);

/// The offset above which an operator is alerted.
const ALERT_BEYOND: Duration = Duration::from_secs(2);

/// How often the alert is repeated while the offset lasts.
const ALERT_EVERY: Duration = Duration::from_mins(1);

/// The database clock, as this process has measured it.
#[derive(Clone)]
pub struct DatabaseClock {
    system: Clock,
    /// How many milliseconds the database clock is ahead of the system clock.
    offset: Arc<AtomicI64>,
    measured: watch::Sender<bool>,
}

impl DatabaseClock {
    /// An unmeasured clock, which shows the time of `system` until the first measurement.
    pub fn new(system: Clock) -> Self {
        Self { system, offset: Arc::default(), measured: watch::Sender::new(false) }
    }

    /// A clock that shows the corrected time.
    pub fn clock(&self) -> Clock {
        let (system, offset) = (self.system.clone(), self.offset.clone());
        Clock::new(move || shifted(system.now(), offset.load(Ordering::Relaxed)))
    }

    /// Whether the clock has been measured at least once.
    pub fn is_measured(&self) -> bool {
        *self.measured.borrow()
    }

    /// How many milliseconds the database clock is ahead of the system clock. `None` before the first measurement.
    pub fn offset_millis(&self) -> Option<i64> {
        self.is_measured().then(|| self.offset.load(Ordering::Relaxed))
    }

    /// Exports the offset, once it is measured.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let clock = self.clone();
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        registry.read_gauge(
            "database_clock_offset_seconds",
            "How far the database clock is ahead of the system clock, as last measured",
            move || clock.is_measured().then(|| clock.offset.load(Ordering::Relaxed) as f64 / 1e3),
        );
    }

    /// Waits for the first measurement.
    pub async fn measured(&self) {
        // Fails only if the sender is dropped, and `self` holds it.
        let _ = self.measured.subscribe().wait_for(|measured| *measured).await;
    }

    /// Measures every two seconds until `stop` is cancelled.
    pub async fn keep_measuring(self, database: Database, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(MEASURE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alerted: Option<Instant> = None;
        let measuring = async {
            loop {
                ticks.tick().await;
                match self.measure(&database).await {
                    Ok(()) => self.alert(&mut alerted),
                    // The last measurement stays in use, and the parts that need the database log its failures.
                    Err(error) if self.is_measured() => debug!("cannot read the database clock: {error}"),
                    Err(error) => warn!("cannot read the database clock: {error}"),
                }
            }
        };
        stop.run_until_cancelled(measuring).await;
        Ok(())
    }

    /// Measures once. A slow measurement counts only if it is the first.
    pub async fn measure(&self, database: &Database) -> Result<(), sqlx::Error> {
        let system = self.system.clone();
        let reading = database.query(move |connection| Box::pin(read_clock(connection, system.clone())));
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
                info!("system clock agrees with the database clock again");
            }
        } else if alerted.is_none_or(|at| at.elapsed() >= ALERT_EVERY) {
            *alerted = Some(Instant::now());
            let direction = if offset < 0 { "ahead of" } else { "behind" };
            error!(
                clock.offset_ms = offset,
                "system clock is {difference:.1?} {direction} the database clock: correct it. Until then the database clock \
                 decides deadlines"
            );
        }
    }
}

struct Reading {
    offset: i64,
    round_trip: Duration,
}

async fn read_clock(connection: &mut PgConnection, system: Clock) -> Result<Reading, sqlx::Error> {
    let (before, started) = (system.now(), Instant::now());
    let database_time =
        sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!: Timestamp""#).fetch_one(connection).await?;
    let round_trip = started.elapsed();
    let offset = database_time.unix_millis() - (before + round_trip / 2).unix_millis();
    Ok(Reading { offset, round_trip })
}

/// `moment` plus `offset` milliseconds; unchanged if that is out of range.
fn shifted(moment: Timestamp, offset: i64) -> Timestamp {
    Timestamp::from_unix_millis(moment.unix_millis().saturating_add(offset)).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_clock_that_is_ahead_is_corrected_to_the_database_clock() {
        let system = Timestamp::from_unix_millis(1_000_000).unwrap();
        let clock = DatabaseClock::new(Clock::stopped_at(system));
        assert_eq!(clock.clock().now(), system);
        clock.offset.store(-16_000, Ordering::Relaxed);
        assert_eq!(clock.clock().now(), Timestamp::from_unix_millis(984_000).unwrap());
    }
}
