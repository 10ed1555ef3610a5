//! The difference between the database's clock and the clock of a journal.
//!
//! Sales have times by the database's clock, and requests have times by the client's. To compare them, the database's
//! clock is read during the run: its time lies between the sending of the query and the receipt of its result. Each
//! reading therefore gives a lower and an upper bound of the difference. The clocks may drift apart, so the bounds of a
//! run are the widest of its readings, which should include one at the start and one at the end.

use std::time::Instant;

use anyhow::{Context, Result};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::journal::ClockReading;
use crate::run_log::RunLog;

/// The database's clock is read this often in a row, because the fastest reading is the most precise.
const READINGS: usize = 5;

/// How far the database's time (since the Unix epoch) is ahead of the journal's (since its start), in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBounds {
    ahead_min: i64,
    ahead_max: i64,
}

impl ClockBounds {
    /// `None` without a reading.
    pub fn of(readings: &[ClockReading]) -> Option<Self> {
        let bounds = readings.iter().map(|reading| {
            let sent = to_signed(reading.sent);
            let received = to_signed(reading.sent.saturating_add(reading.took));
            Self { ahead_min: reading.database - received, ahead_max: reading.database - sent }
        });
        bounds.reduce(|a, b| Self {
            ahead_min: a.ahead_min.min(b.ahead_min),
            ahead_max: a.ahead_max.max(b.ahead_max),
        })
    }

    /// The earliest time of the database's clock at this time of the journal.
    pub fn database_earliest(self, at: u64) -> i64 {
        to_signed(at).saturating_add(self.ahead_min)
    }

    /// The latest time of the database's clock at this time of the journal.
    pub fn database_latest(self, at: u64) -> i64 {
        to_signed(at).saturating_add(self.ahead_max)
    }

    /// The uncertainty of a comparison, in microseconds.
    pub fn width(self) -> u64 {
        self.ahead_max.abs_diff(self.ahead_min)
    }
}

fn to_signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// Reads the database's clock and records the most precise reading.
pub async fn read_clock(run_log: &RunLog, options: &PgConnectOptions) -> Result<()> {
    let mut connection = options.connect().await.context("connecting to DATABASE_URL")?;
    let mut best: Option<ClockReading> = None;
    for _ in 0..READINGS {
        let sent = Instant::now();
        let database: i64 =
            sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
                .fetch_one(&mut connection)
                .await?;
        let read = run_log.status_read(0, sent, Instant::now());
        let reading = ClockReading { sent: read.sent, took: read.took, database };
        if best.is_none_or(|best| reading.took < best.took) {
            best = Some(reading);
        }
    }
    if let Some(reading) = best {
        run_log.record_clock(reading);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_bounds_the_difference_by_its_round_trip() {
        let bounds = ClockBounds::of(&[ClockReading { sent: 1_000, took: 200, database: 51_100 }]).unwrap();
        assert_eq!((bounds.database_earliest(0), bounds.database_latest(0)), (49_900, 50_100));
        assert_eq!(bounds.width(), 200);
    }

    #[test]
    fn clocks_that_drift_apart_widen_the_bounds() {
        let start = ClockReading { sent: 0, took: 100, database: 50_000 };
        let end = ClockReading { sent: 1_000_000, took: 50, database: 1_050_300 };
        let bounds = ClockBounds::of(&[start, end]).unwrap();
        assert_eq!((bounds.database_earliest(0), bounds.database_latest(0)), (49_900, 50_300));
        assert_eq!(ClockBounds::of(&[]), None);
    }
}
